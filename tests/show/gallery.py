"""All the models of which pictures are tested: each is captured, drawn and laid out once."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NamedTuple

import numpy_models

import gradviz as gv
from gradviz.show.arrange import arrange
from gradviz.show.layout import Layout

LAYERED: tuple[str, ...] = ()
if importlib.util.find_spec("torch"):
    import torch
    import torch_models

    LAYERED = tuple(torch_models.MODELS)
NAMES = (*numpy_models.MODELS, *LAYERED)


class Shown(NamedTuple):
    model: Any
    graph: gv.Graph
    drawing: gv.Drawing
    place: Layout


@functools.cache
def shown(name: str) -> Shown:
    model = None
    if name in LAYERED:
        torch.manual_seed(0)
        model, args, loss = torch_models.MODELS[name]()
        graph = gv.trace(model, *args, loss=loss, capture="lean")
    else:
        graph = numpy_models.MODELS[name]()
    drawing = graph.draw()
    return Shown(model, graph, drawing, arrange(drawing.view))
