"""What a PyTorch program reaches: modules, tensors and generators of random numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from types import FunctionType, NoneType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradviz.errors import TraceError
from gradviz.record.arguments import numbered
from gradviz.record.chance import is_generator
from gradviz.record.reach import Found, reach


class Search(NamedTuple):
    """What a program reaches.

    Attributes
    ----------
    found : list of Found
    roots : dict of str to Module
        The modules by name, "" where there is but one; not those inside of others.
    direct : list of Module
        Those of them that the function itself uses.
    tensors : list of Tensor
        All, those of modules too.
    others : dict of int to str
        The names of tensors that are no parameters or buffers, by `id`.
    generators : list
        Of random numbers.
    """

    found: list[Found]
    roots: dict[str, nn.Module]
    direct: list[nn.Module]
    tensors: list[Tensor]
    others: dict[int, str]
    generators: list[Any]


def search(beginnings: Sequence[tuple[str, Any]]) -> Search:
    """Search what can be reached from functions, modules and arguments."""
    found = list(reach(beginnings))
    modules: list[tuple[str, nn.Module, Any]] = []
    others: dict[int, str] = {}
    inner: dict[int, set[int]] = {}  # by module what it registers, by `id`
    for path, value, owner, _ in found:
        if not isinstance(value, (nn.Module, Tensor)):
            continue
        inside = False
        if isinstance(owner, nn.Module):
            if id(owner) not in inner:
                registers = owner._modules, owner._parameters, owner._buffers
                inner[id(owner)] = {id(part) for r in registers for part in r.values()}
            inside = id(value) in inner[id(owner)]
        if isinstance(value, nn.Module):
            if not inside:
                modules.append((path, value, owner))
            continue
        if not inside and path:
            others[id(value)] = path
        if is_lazy(value):
            raise TraceError(
                f"{path or 'a parameter'} has no shape yet: run the model once before it is traced"
            )
    full = [m for m in modules if next(m[1].parameters(), next(m[1].buffers(), None)) is not None]
    alone = full[0] if len(full) == 1 else modules[0] if len(modules) == 1 else ("", None, None)
    taken: Counter[str] = Counter()
    roots = {}
    for path, module, owner in modules:
        variable = path.isidentifier() and isinstance(owner, (FunctionType, partial))
        path = "" if module is alone[1] and variable else path
        roots[numbered(path, taken)] = module
    return Search(
        found,
        roots,
        [m for _, m, owner in modules if isinstance(owner, (FunctionType, partial, NoneType))],
        [item.value for item in found if isinstance(item.value, Tensor)],
        others,
        [item.value for item in found if is_generator(item.value)],
    )
