"""The operators of recorded arrays: ``a + b``, ``-a``, ``a < b``, ``a += b``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.ops.operation import computes_otherwise
from gradviz.ops.table import lookup
from gradviz.record.asked import asked
from gradviz.record.held import NO_KEYWORDS
from gradviz.record.methods import Methods
from gradviz.record.names import Instruction, places, site, where
from gradviz.record.snapshots import snapshot
from gradviz.record.tape import next_order, recording

PLAIN_NUMBERS = frozenset((float, int, np.float64, np.float32))
FLOATS = frozenset((np.ndarray, np.float64, np.float32))
NUMBERS = (int, float, complex, np.generic)
NOWHERE: dict[int, Instruction] = {}


def _binary(ufunc: np.ufunc, compute: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
    operation = lookup(ufunc)
    get_recording = recording.get

    def method(self: Operators, other: Any) -> Any:
        # Everything `apply` does, unrolled: this is the hot path of recording.
        kind, cls = type(other), type(self)
        if kind is cls:
            plain = other.value
        elif kind in PLAIN_NUMBERS:
            plain = other
        elif kind is np.ndarray:
            other = plain = snapshot(other)
            if plain.dtype.kind not in "fiubc":
                raise TraceError(
                    f"{operation.name}: an array of {plain.dtype} cannot be recorded, "
                    f"at {where(_getframe(1))}"
                )
        elif isinstance(other, NUMBERS):
            plain = other
        elif kind is list or kind is tuple or kind is np.memmap or computes_otherwise(kind):
            pair = (other, self) if swapped else (self, other)
            return self._applied(operation, pair, _getframe(1))
        else:
            return NotImplemented
        node = cls()
        if swapped:
            node.value = compute(plain, self.value)
            node.operands = (other, self)
        else:
            node.value = compute(self.value, plain)
            node.operands = (self, other)
        node.operation = operation
        node.keywords = NO_KEYWORDS
        node.order = next_order()
        append, node.scope = get_recording()
        node.name = ""
        frame = _getframe(1)
        sites = places.get(id(frame.f_code), NOWHERE)
        node.site = sites.get(frame.f_lasti) or site(frame)
        append(node)
        return node

    return method


def _unary(ufunc: np.ufunc) -> Any:
    operation = lookup(ufunc)

    def method(self: Operators) -> Any:
        return self._applied(operation, (self,), _getframe(1))

    return method


def _compare(ufunc: np.ufunc, compute: Callable[[Any, Any], Any]) -> Any:
    name = ufunc.__name__

    def method(self: Operators, other: Any) -> Any:
        answer = compute(self.value, other.value if type(other) is type(self) else other)
        asked(name, (self, other), answer, {}, _getframe(1))
        return answer

    return method


def _in_place(compute: Callable[[Any, Any], Any]) -> Any:
    def method(self: Operators, other: Any) -> Any:
        if self._is_scalar():  # immutable: the name is bound anew
            return NotImplemented
        result = compute(self, other)
        if type(result) is type(self):
            result.site = site(_getframe(1))
        return self._overwrite(result, _getframe(1))

    return method


class Operators(Methods):
    """What Python's operators call."""

    __slots__ = ()

    __add__, __radd__ = _binary(np.add, operator.add), _binary(np.add, operator.add, True)
    __sub__, __rsub__ = _binary(np.subtract, operator.sub), _binary(np.subtract, operator.sub, True)
    __mul__, __rmul__ = _binary(np.multiply, operator.mul), _binary(np.multiply, operator.mul, True)
    __truediv__ = _binary(np.divide, operator.truediv)
    __rtruediv__ = _binary(np.divide, operator.truediv, True)
    __pow__, __rpow__ = _binary(np.power, operator.pow), _binary(np.power, operator.pow, True)
    __matmul__ = _binary(np.matmul, operator.matmul)
    __rmatmul__ = _binary(np.matmul, operator.matmul, True)
    __mod__, __rmod__ = (
        _binary(np.remainder, operator.mod),
        _binary(np.remainder, operator.mod, True),
    )
    __floordiv__ = _binary(np.floor_divide, operator.floordiv)
    __rfloordiv__ = _binary(np.floor_divide, operator.floordiv, True)
    __divmod__ = lambda self, other: np.divmod(self, other)  # noqa: E731
    __rdivmod__ = lambda self, other: np.divmod(other, self)  # noqa: E731
    __neg__, __pos__, __abs__ = _unary(np.negative), _unary(np.positive), _unary(np.absolute)

    __iadd__, __isub__ = _in_place(operator.add), _in_place(operator.sub)
    __imul__, __itruediv__ = _in_place(operator.mul), _in_place(operator.truediv)
    __ipow__, __imatmul__ = _in_place(operator.pow), _in_place(operator.matmul)
    __imod__, __ifloordiv__ = _in_place(operator.mod), _in_place(operator.floordiv)

    __lt__, __le__ = _compare(np.less, operator.lt), _compare(np.less_equal, operator.le)
    __gt__, __ge__ = _compare(np.greater, operator.gt), _compare(np.greater_equal, operator.ge)
    __eq__, __ne__ = _compare(np.equal, operator.eq), _compare(np.not_equal, operator.ne)
