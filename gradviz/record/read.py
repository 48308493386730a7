"""A recorded value where the program takes it for a plain number: noted, or refused."""

from __future__ import annotations

import dis
from sys import _getframe
from types import FrameType
from typing import Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import Node
from gradviz.record import names
from gradviz.record.asked import asked
from gradviz.record.held import Held
from gradviz.record.names import site, user_frame, where
from gradviz.record.tape import forget, next_order, recording

latest_read: list[Any] = [None]
"""How, and in which frame, a value was last read as a plain number; a new object every time."""
# What of `math` only asks a question; and NumPy's names for the rest.
_ASKS = frozenset(("isnan", "isinf", "isfinite", "isclose", "floor", "ceil", "trunc"))
_TWINS = {
    **{name: f"arc{name[1:]}" for name in "acos acosh asin asinh atan atan2 atanh".split()},
    "pow": "power", "fsum": "sum", "prod": "prod", "dist": "linalg.norm", "phase": "angle",
}  # fmt: skip
# What SciPy's functions that turn their arguments into plain arrays are written as.
INSTEAD = {
    "logsumexp": "write np.logaddexp.reduce(x, axis)",
    "softmax": "write np.exp(x - np.logaddexp.reduce(x))",
    "log_softmax": "write x - np.logaddexp.reduce(x)",
    "polygamma": "write (-1)**(n + 1) * special.gamma(n + 1) * special.zeta(n + 1, x)",
    "multigammaln": "write np.sum(special.gammaln(a - np.arange(d) / 2)) "
    "+ d * (d - 1) / 4 * np.log(np.pi)",
    "factorial": "write special.gamma(n + 1)",
}
HANDED_OUT = {
    **dict.fromkeys(
        ("data", "ctypes", "base", "getfield", "__array_interface__", "__array_struct__"),
        "use the array itself, indices and NumPy's functions",
    ),
    **dict.fromkeys(("byteswap", "newbyteorder"), "use the array itself"),
    **dict.fromkeys(("to_device", "__dlpack__", "__dlpack_device__"), "use NumPy alone"),
}
"""NumPy's attributes that are refused, and what to do instead."""
STORES = {dis.opmap[name] for name in ("STORE_SUBSCR", "STORE_SLICE") if name in dis.opmap}


def into_plain(frame: FrameType) -> TraceError:
    """The error of a program that writes a recorded value into a plain array."""
    return TraceError(
        "a recorded value is written into a plain array here, which would forget its history; "
        "make the array in the traced function (np.array(a) copies one), or collect values in a "
        f"list and use np.stack, at {where(frame)}"
    )


class Read(Held):
    """What gives plain numbers and texts."""

    __slots__ = ()

    def __repr__(self) -> str:
        if recording.get()[0] is not forget:
            return repr(self._without_us_noted("repr()", _getframe(1)))
        operation = self.operation.name
        label = self.name or names.assigned(self.site, operation) or operation
        return f"<{label} = {np.array2string(np.asarray(self.value), threshold=8, precision=6)}>"

    def __str__(self) -> str:
        if recording.get()[0] is not forget:
            return str(self._without_us_noted("str()", _getframe(1)))
        return repr(self)

    def __format__(self, spec: str) -> str:
        if spec or recording.get()[0] is not forget:
            return format(self._without_us_noted("format", _getframe(1)), spec)
        return repr(self)

    def __bytes__(self) -> bytes:
        return bytes(self._without_us_noted("bytes()", _getframe(1)))

    def __bool__(self) -> bool:
        answer = bool(self.value)
        asked("bool", (self,), answer, {}, _getframe(1))
        return answer

    def __float__(self) -> float:
        # `buffer[i] = x` asks for a float too, but there the history would be lost unseen.
        frame = _getframe(1)
        if frame.f_code.co_code[frame.f_lasti] in STORES:
            raise into_plain(frame)
        return float(self._plain("float()", frame))

    def __int__(self) -> int:
        return int(self._plain("int()", _getframe(1)))

    def __trunc__(self) -> int:
        return int(self._plain("math.trunc()", _getframe(1)))

    def __complex__(self) -> complex:
        return complex(self._plain("complex()", _getframe(1)))

    def _plain(self, how: str, frame: FrameType) -> Any:
        """The value, whose history ends where the program reads it as a plain number.

        This is noted, so that a gradient that misses it can say so. A function that asks for a
        number unseen (`math.exp`, `numpy.fromiter`, `buffer.fill`) is refused.
        """
        called = names.callee(frame)
        module = getattr(called, "__module__", None)
        name = getattr(called, "__name__", "")
        written = isinstance(getattr(called, "__self__", None), np.ndarray)
        if written or module == "numpy" or (module in ("math", "cmath") and name not in _ASKS):
            instead = (
                f"use np.{_TWINS.get(name, name)}"
                if module in ("math", "cmath")
                else ("collect values in a list and use np.stack")
            )
            raise TraceError(
                f"{name}() takes a recorded value as a plain number here, which would forget its "
                f"history; {instead} (or float(), if no gradient is wanted), at {where(frame)}"
            )
        return self._noted(how, frame)

    def _noted(self, how: str, frame: FrameType | None) -> Any:
        """The value; that it was read is noted."""
        if not hasattr(self, "read"):
            self.read = {}
        value = self.value  # of a view, as its array is now; then it has its order again
        Node.noted = max(Node.noted, self.order)
        user = user_frame(frame)
        self.read.setdefault((how, user and site(user)), next_order())
        latest_read[0] = how, user
        return value

    def _without_us_noted(self, how: str, frame: FrameType | None) -> Any:
        self._noted(how, frame)
        return self._without_us()

    def item(self, *args: Any) -> Any:
        """The plain Python number; its history ends here."""
        return self._plain(".item()", _getframe(1)).item(*args)

    def tolist(self) -> Any:
        """Plain Python numbers; their history ends here."""
        return self._plain(".tolist()", _getframe(1)).tolist()


def _read_by(name: str) -> Any:
    """A method that puts the numbers themselves elsewhere; their history ends there."""

    def method(self: Read, *args: Any, **kwargs: Any) -> Any:
        plain = self._without_us_noted(f".{name}()", _getframe(1))
        return getattr(plain, name)(*args, **kwargs)

    method.__doc__ = f"As NumPy's; the history of what is read ends here ({name})."
    return method


for _name in "tobytes tostring dump dumps tofile is_integer as_integer_ratio hex fromhex".split():
    setattr(Read, _name, _read_by(_name))
