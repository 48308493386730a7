"""On which line of the program a call of PyTorch is made."""

from __future__ import annotations

from sys import _getframe
from typing import Any

from gradviz.record import names

_OWN, _ENTRY, _AGAIN, _USER = range(4)


def site_of_call() -> Any:
    """The line of the program; None where a module is called that has none of its own."""
    frame: Any = _getframe(1)
    last: Any = None
    while frame is not None:
        if frame.f_globals is not last:  # several frames of one module follow each other
            last = frame.f_globals
            module = last.get("__name__")
            whose = _whose.get(module)
            if whose is None:
                whose = _USER if not module or names.is_user(frame) else _OWN
                _whose[module] = whose
            if whose == _USER:
                return names.site(frame)
            if whose == _ENTRY:
                return None
            if whose == _AGAIN:
                return frame.f_locals["event"].site
        frame = frame.f_back
    return None


def variable_of(thing: Any) -> str:
    """What the program's innermost function calls an object; "" where it has no name for it."""
    frame = names.user_frame(_getframe(1))
    own = frame.f_locals.items() if frame is not None else ()
    return next((name for name, value in own if value is thing), "")


_whose: dict[Any, int] = {
    "gradviz.record.torch.trace": _ENTRY,
    "gradviz.record.torch.watch.replay": _AGAIN,  # a call of the program's, made again
}
"""By module's name whose frames they are."""
