"""What the watch reports is reported in Chinese too, with the same numbers."""

import contextlib
import re
from html import unescape

import pytest

torch = pytest.importorskip("torch", reason="it watches trainings of PyTorch")

import sick_trainings
from chinese import assert_chinese

import gradviz as gv

OWN = {"loss", "loop", "sequential", "bool"}  # names: of a function, a part of it, a class, a dtype


def told(training, folder, language):
    """All that a training's report says, without where it lies."""
    torch.manual_seed(0)
    gv.set_language(language)
    try:
        with gv.watch(folder) as watch, contextlib.suppress(RuntimeError):
            training(True)
    finally:
        gv.set_language()
    (report, *_) = watch.reports
    lines = [line for line in report.text.splitlines() if "File " not in line]
    source = report.finding.source.text if report.finding and report.finding.source else ""
    text = "\n".join(line for line in lines[:-1] if line.strip() != source)
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"(?s)<style.*?</style>|<metadata.*?</metadata>|<[^>]*>", " ", page)
    page = unescape(page)
    return text, (report.folder / "report.txt").read_text(encoding="utf-8"), page, report.graph


@pytest.mark.parametrize("training", sick_trainings.SAMPLE, ids=lambda t: t.__name__)
def test_a_report_is_in_chinese_with_the_same_numbers(training, tmp_path):
    if training in sick_trainings.HEADS:
        training = sick_trainings.by_head(training)
    english = told(training, tmp_path / "en", "en")
    chinese = told(training, tmp_path / "zh", "zh")
    graph = english[-1]
    own = set(OWN)
    if graph is not None:
        own |= {*graph.names, *(node.operation.name for node in graph.values)}
        own |= {part for node in graph.values for part in (*node.scope, *node.keywords)}
    for one, other in zip(english[:3], chinese[:3], strict=True):
        assert_chinese(one, other, own)
