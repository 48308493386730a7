"""What a traced program makes plainly: buffers to write into, arrays built of recorded numbers.

``S = np.zeros(n)`` and ``np.array([x, 1.0])`` have no protocol by which NumPy would ask us. So
while a program is traced, its own code gets functions in their place (`traced`). Those that make
arrays return a `Buffer`: it computes with the plain array that it holds, and nothing is recorded,
until a recorded value is written into it. From then on it is an `Array`, and so are its views.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Set
from contextvars import ContextVar
from functools import lru_cache, wraps
from operator import is_
from sys import _getframe
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary, ref

import numpy as np

from gradviz.errors import TraceError
from gradviz.model import LEAVES
from gradviz.ops import arrays
from gradviz.ops.operation import Operation
from gradviz.ops.special import WRITTEN_OUT
from gradviz.ops.table import IN_PLACE, has_recorded, named_out
from gradviz.record.array import Array, compose
from gradviz.record.held import Held
from gradviz.record.in_place import Flat, stacked
from gradviz.record.names import calls_itself, is_user, where
from gradviz.record.snapshots import frozen
from gradviz.record.tape import start

_alive: ContextVar[list[WeakValueDictionary[int, Buffer]] | None] = ContextVar(
    "alive", default=None
)
"""While a program is traced, the buffers that it made; empty as long as there is none."""


class Buffer(Held):
    """A plain array of floats that becomes a recorded one when such values are written into it."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The program has an array here, as ``isinstance`` says."""
        return np.ndarray

    @classmethod
    def of(cls, array: Any, root: Buffer | None = None, index: Any = None) -> Buffer:
        """A buffer that holds an array; a view of `root`, at `index` of it, if one is given."""
        made = cls()
        made.value, made.views, made.keywords = array, [], {"index": index}
        if root is not None:
            made.viewed = root
            root.views.append(ref(made))
        if (alive := _alive.get()) is not None:
            if not alive:
                alive.append(WeakValueDictionary())
            alive[0][id(made)] = made
        return made

    def become(self) -> None:
        """Stand for recorded values from now on, as do all views of the same memory."""
        if not self.value.flags.writeable:
            raise ValueError("assignment destination is read-only")
        root: Any = self.viewed if hasattr(self, "viewed") else self
        views = [view for known in root.views if (view := known()) is not None]
        if _references(root) > _ALONE + len(views):
            raise TraceError(
                "a recorded value is written into an array here which something else holds as a "
                "plain one, that would miss it: hand on a copy of the array, or write into it "
                f"first, at {where(_getframe(1))}"
            )
        made = [_made_by(root.value, view.value, view.keywords["index"]) for view in views]
        root.views = []
        _turn(root, LEAVES["constant"], (), {})
        for view, (operation, keywords) in zip(views, made, strict=True):
            _turn(view, operation, (root,), keywords)
            root.views.append(ref(view))
            if np.ndim(view.value):
                del view.views

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if copy or dtype not in (None, self.value.dtype):
            return np.array(self.value, dtype)
        return self.value[...]  # as long as it lives, it counts as a reference to the memory

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        out = keywords.pop("out", ())
        targets = (*out, *inputs[:1]) if method == "at" else out
        if has_recorded((*inputs, *out), Array):
            for target in targets:
                if type(target) is Buffer:
                    target.become()
        if out:
            keywords["out"] = _plain(out)
        result = getattr(ufunc, method)(*_plain(inputs), **_plain(keywords))
        return (out[0] if len(out) == 1 else out) if out else _held(result, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = named_out(function, args, kwargs)
        out = args[0] if function in IN_PLACE else kwargs.get("out")
        if has_recorded([args, kwargs], Array):
            if type(out) is Buffer:
                out.become()
            return _dispatch(function, args, kwargs)
        result = function(*_plain(args), **_plain(kwargs))
        if function in IN_PLACE:
            return None
        return out if out is not None else _held(result, (*args, *kwargs.values()))

    def __getitem__(self, key: Any) -> Any:
        result = self.value[key]
        if type(result) is not np.ndarray:
            return result
        if result.base is self.value:
            return Buffer.of(result, self, frozen(key))
        return _held(result, (self,))

    def __setitem__(self, key: Any, value: Any) -> None:
        kind = type(value)
        if kind is not float and kind is not np.float64 and has_recorded(value, Array):
            self.become()
            whole: Any = self
            whole[key] = stacked(value)
        else:
            self.value[key] = value

    def __iter__(self) -> Iterator[Any]:
        if not self.value.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self.value)))

    @property
    def flat(self) -> Flat:
        """See `numpy.ndarray.flat`."""
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        Flat(self)[:] = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.value.__reduce_ex__(protocol)


def _references(root: Buffer) -> int:
    """How many references to the memory there are, with those of views."""
    return sys.getrefcount(root.value)


_ALONE = _references(Buffer.of(np.zeros(1)))


def _made_by(whole: Any, view: Any, index: Any) -> tuple[Operation, dict[str, Any]]:
    """The operation that makes a view of an array, and its keywords."""
    if index is not None:
        return arrays.GETITEM, {"index": index}
    size = whole.itemsize
    return arrays.STRIDED, {
        "start": (view.ctypes.data - whole.ctypes.data) // size,
        "shape": view.shape,
        "steps": tuple(step // size for step in view.strides),
        "order": "F" if whole.flags.fnc else "C",
    }


_set_class = vars(object)["__class__"].__set__


def _turn(held: Any, operation: Operation, operands: Any, keywords: Any) -> None:
    """Make a buffer an array that was recorded by this operation."""
    _set_class(held, Array)
    held.operation, held.operands, held.keywords = operation, operands, keywords
    held.value, held.name, held.site = held.value[()], "", None
    start(held)


def _plain(value: Any) -> Any:
    """Arguments with the plain arrays in place of buffers."""
    kind = type(value)
    if kind is Buffer:
        return value.value
    if kind is list or kind is tuple:
        return kind(map(_plain, value))
    if kind is dict:
        return {key: _plain(part) for key, part in value.items()}
    return value


def _held(result: Any, sources: Any) -> Any:
    """A result with a buffer in place of each new array of floats, and of each view."""
    kind = type(result)
    if kind is tuple or kind is list:
        return kind(_held(part, sources) for part in result)
    if kind is not np.ndarray or result.dtype.kind not in "fc":
        return result
    if result.base is None:
        same = next(
            (s for s in sources if s is result or (type(s) is Buffer and s.value is result)), None
        )
        if same is None:
            return Buffer.of(result)
        return same
    for source in sources:
        if type(source) is Buffer:
            root: Any = source.viewed if hasattr(source, "viewed") else source
            if source.value is result:
                return source
            if root.value is result.base and root.value.dtype == result.dtype:
                return Buffer.of(result, root)
    if sys.getrefcount(result.base) <= _UNSHARED:  # made for this result
        return Buffer.of(np.array(result))
    return result


_view = np.zeros((2, 2)).reshape(4)
_UNSHARED = sys.getrefcount(_view.base)


_WRITE = {"fill", "put", "sort", "partition", "resize", "itemset", "setfield", "byteswap"} | {
    f"__i{name}__"
    for name in "add sub mul truediv floordiv mod pow matmul lshift rshift and or xor".split()
}
_NOT_TAKEN = frozenset(
    "__array_interface__ __array_struct__ __array_finalize__ __array_prepare__ __array_wrap__ "
    "__new__ __init__ __getattribute__ __setattr__ __delattr__ __dir__ __doc__ __hash__ "
    "__init_subclass__ __subclasshook__ __reduce__ __setstate__ __getstate__ __sizeof__ "
    "__class_getitem__ __buffer__ __release_buffer__".split()
)


def _method(name: str) -> Any:
    """A method of NumPy's arrays, called on the plain array."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if has_recorded((args, kwargs), Array):
            if name in _WRITE:
                self.become()
                return getattr(self, name)(*map(stacked, args), **kwargs)
            function = getattr(np, name, None)
            if function is not None:
                return function(self, *args, **kwargs)
        result = getattr(self.value, name)(*_plain(args), **_plain(kwargs))
        if name in _WRITE:
            return self if name.startswith("__") else result
        out = kwargs.get("out")
        return out if out is not None else _held(result, (self,))

    return method


def _attribute(name: str) -> Any:
    def put(self: Any, value: Any) -> None:
        if recorded := has_recorded(value, Array):
            self.become()
        setattr(self if recorded else self.value, name, value)

    return property(lambda self: _held(getattr(self.value, name), (self,)), put)


for _name in dir(np.ndarray):
    if _name not in vars(Buffer) and _name not in _NOT_TAKEN:
        _taken = _method if callable(getattr(np.ndarray, _name)) else _attribute
        setattr(Buffer, _name, _taken(_name))

# --- what a traced program calls -----------------------------------------------------------------

_MAKERS = (
    "zeros ones empty full eye identity arange linspace zeros_like ones_like empty_like full_like "
    "array asarray asanyarray ascontiguousarray asfortranarray copy tri geomspace logspace "
    "hanning hamming blackman bartlett kaiser"
)
_BUILT = frozenset("array asarray asanyarray ascontiguousarray asfortranarray".split())
_JOINING = "concatenate concat hstack vstack dstack column_stack stack row_stack"
_LISTS_ARE_LISTS = "block select piecewise choose multi_dot lexsort histogramdd trim_zeros"


def _listed_in(module: Any) -> list[str]:
    """The functions of a module that take a list of numbers as an array."""
    others = {*_MAKERS.split(), *_JOINING.split(), *_LISTS_ARE_LISTS.split()}
    return [
        name
        for name, function in vars(module).items()
        if hasattr(function, "_implementation") and name not in others and function not in IN_PLACE
    ]


_LISTED_IN = {module: _listed_in(module) for module in (np, np.linalg, np.fft)}
LISTED = frozenset(name for names in _LISTED_IN.values() for name in names)
"""What stands for these has to do with lists of recorded values alone."""
_LISTS = frozenset((list, tuple))


def _asked(function: Any, recorded: Callable[..., Any], makes: bool = False) -> Any:
    """What stands for a function of NumPy's while a program is traced.

    Others' calls, and calls without recorded values, go to the function itself.
    """

    @wraps(function)
    def asked(*args: Any, **kwargs: Any) -> Any:
        if not makes:
            # (NumPy itself asks those arguments that are arrays, and no lists of them.)
            for argument in (*args, *kwargs.values()) if kwargs else args:
                if type(argument) in _LISTS:
                    break
            else:
                return function(*args, **kwargs)
        if _alive.get() is None or not is_user(_getframe(1)):
            return function(*args, **kwargs)
        if has_recorded((args, kwargs), Array):
            return recorded(function, args, kwargs)
        if not makes:
            return function(*args, **kwargs)
        made = function(*_plain(args), **_plain(kwargs))
        # (C code goes on with the memory of what it makes.)
        return _held(made, args) if calls_itself(_getframe(1), function) else made

    return asked


def _made(function: Any, args: Any, kwargs: Any) -> Any:
    """A new array whose arguments are recorded."""
    name = function.__name__
    if name == "array":
        kwargs.setdefault("copy", True)
    if name == "copy" and type(args[0]) is Array:
        whole, order = args[0], kwargs.get("order", (*args, "K")[1])
        return whole._copied(_getframe(1)) if whole._is_scalar() else whole.copy(order)
    if name in _BUILT or name == "copy":
        return compose(_built, (name, *args), kwargs)
    if name == "full":
        return compose(_full, args, kwargs)
    return _held(_dispatch(function, *_stacked(args, kwargs)), ())


def _dispatch(function: Any, args: Any, kwargs: Any) -> Any:
    """A call with a recorded value in a place where NumPy would not ask it."""
    return Array.__array_function__(None, function, (), _plain(args), _plain(kwargs))  # type: ignore[arg-type]


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **_: Any) -> Any:
    filled = np.broadcast_to(fill_value, shape)
    made: Any = filled.astype(dtype or filled.dtype, order=order)
    return made._copied(_getframe(1)) if made._is_scalar() else made


def _built(
    name: str,
    parts: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    copy: Any = None,
    subok: Any = False,
    ndmin: int = 0,
    **_: Any,
) -> Any:
    """An array of recorded numbers and arrays; of one array a copy of it, or itself."""
    whole = stacked(parts)
    if whole is parts and whole._is_scalar():
        whole = whole._copied(_getframe(1))
    if dtype is not None and np.dtype(dtype) != whole.dtype:
        whole = whole.astype(dtype)
    order = {"ascontiguousarray": "C", "asfortranarray": "F"}.get(name, order)
    if order not in (None, "K"):
        whole = whole.astype(whole.dtype, order=order, copy=False)
    if name == "ascontiguousarray":
        ndmin = 1
    if whole is parts and copy:
        whole = whole.copy(order or "K")
    if copy is False and whole is not parts:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    missing = ndmin - np.ndim(whole)
    return np.reshape(whole, (1,) * missing + np.shape(whole)) if missing > 0 else whole


def _joined(function: Any, args: Any, kwargs: Any) -> Any:
    parts, *others = args or (kwargs.pop(next(iter(kwargs))),)
    if type(parts) in (list, tuple):
        parts = [stacked(part) if type(part) in (list, tuple) else part for part in parts]
    return function(parts, *others, **kwargs)


def _listed(function: Any, args: Any, kwargs: Any) -> Any:
    args, kwargs = _stacked(args, kwargs)
    return function(*args, **kwargs)


def _stacked(args: Any, kwargs: Any) -> Any:
    """Arguments with an array in place of each list of recorded values."""
    args = tuple(stacked(a) if has_recorded(a, Array) else a for a in args)
    return args, {k: stacked(v) if has_recorded(v, Array) else v for k, v in kwargs.items()}


class _Along:
    """``np.r_`` or ``np.c_``, of recorded arrays too."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: Any) -> Any:
        if not has_recorded(key, Array):
            result = self.original[_plain(key)]
            return (
                _held(result, ()) if _alive.get() is not None and is_user(_getframe(1)) else result
            )
        keys = key if type(key) is tuple else (key,)
        if any(isinstance(k, str) for k in keys):
            raise TraceError(
                "np.r_ and np.c_ of recorded arrays take no directions in a string; use "
                f"np.concatenate or np.stack, at {where(_getframe(1))}"
            )
        return compose(self._join, (keys,), {})

    def _join(self, keys: Any) -> Any:
        parts = [self.original[k] if isinstance(k, slice) else stacked(k) for k in keys]
        if self.original is _R:
            return np.concatenate([np.atleast_1d(part) for part in parts])
        columns = [np.reshape(p, (-1, 1)) if np.ndim(p) < 2 else p for p in parts]
        return np.concatenate(columns, axis=-1)


_R = np.r_


def _written_out(function: Any, substitute: Any) -> Any:
    @wraps(function)
    def asked(*args: Any, **kwargs: Any) -> Any:
        if has_recorded((args, kwargs), Array):
            args = tuple(stacked(a) if type(a) in (list, tuple) else a for a in args)
            result = compose(substitute, args, kwargs)
            if result is not NotImplemented:
                return result
        return function(*args, **kwargs)

    return asked


StandIns = tuple[dict[str, Any], dict[str, Any]]
"""Functions by their names, and what stands for them."""


def _stand_ins(pairs: Iterable[tuple[str, Any, Any]]) -> StandIns:
    found = list(pairs)
    return {name: f for name, f, _ in found}, {name: instead for name, _, instead in found}


def _of_numpy() -> Iterator[tuple[str, Any, Any]]:
    ways: Any = (
        (_MAKERS.split(), _made, True),
        (_JOINING.split(), _joined, True),
        (_LISTED_IN.pop(np), _listed, False),
    )
    for names, recorded, makes in ways:
        for name in names:
            if (function := vars(np).get(name)) is not None:
                yield name, function, _asked(function, recorded, makes)
    yield "r_", np.r_, _Along(np.r_)
    yield "c_", np.c_, _Along(np.c_)


_homes: list[tuple[dict[str, Any], StandIns]] = [
    (vars(np), _stand_ins(_of_numpy())),
    *(
        (
            vars(module),
            _stand_ins((n, f, _asked(f, _listed)) for n in names for f in [getattr(module, n)]),
        )
        for module, names in _LISTED_IN.items()
    ),
]
_OURS = len(_homes)
_lock = threading.Lock()
_replaced: list[tuple[dict[str, Any], StandIns]] = []
_running = 0


class traced:
    """While the block runs, a program of the user's gets what stands for NumPy's functions.

    Parameters
    ----------
    function : callable
    names : set of str, optional
        Default: what is called is not known.

    Notes
    -----
    They are put into NumPy's modules, and where the user's modules have them by ``from numpy
    import zeros``; the last of several threads puts the functions back. Calls from other threads,
    and of other libraries, reach the functions themselves.
    """

    __slots__ = ("alive", "function", "homes", "names", "token")

    def __init__(self, function: Any, names: Set[str] | None = None) -> None:
        self.function, self.names = function, names

    def __enter__(self) -> None:
        global _running
        special: Any = sys.modules.get("scipy.special")
        if special is not None and len(_homes) == _OURS:
            written = ((n, getattr(special, n), f) for n, f in WRITTEN_OUT.items())
            _homes.append(
                (vars(special), _stand_ins((n, g, _written_out(g, f)) for n, g, f in written))
            )
        if self.names is None:
            homes, spaces = _homes, _spaces(self.function)
        else:  # what it calls stands in those modules, or it would not stand alone
            homes, spaces = _named(self.names, len(_homes)), []
        self.homes = homes
        if homes:
            with _lock:
                _running += 1
                for home, (originals, instead) in homes:
                    _exchange(home, originals, instead)
                    for space in spaces:
                        if both := originals.keys() & space.keys():
                            theirs = {n: originals[n] for n in both}
                            _exchange(space, theirs, {n: instead[n] for n in both})
        self.alive: list[WeakValueDictionary[int, Buffer]] = []
        self.token = _alive.set(self.alive)

    def __exit__(self, *_: Any) -> None:
        global _running
        alive = self.alive
        _alive.reset(self.token)
        if self.homes:
            with _lock:
                _running -= 1
                while _replaced and not _running:
                    space, (originals, instead) = _replaced.pop()
                    _put(space, instead, originals)
        if alive and _alive.get() is None and (kept := list(alive[0].values())):
            _hand_back(kept)


@lru_cache(maxsize=1000)
def _named(names: Set[str], _: int) -> list[tuple[dict[str, Any], StandIns]]:
    """Of so many `_homes` what has one of these names."""
    found = []
    for home, (originals, instead) in _homes:
        if some := names & originals.keys():
            found.append((home, ({n: originals[n] for n in some}, {n: instead[n] for n in some})))
    return found


def _exchange(space: dict[str, Any], originals: dict[str, Any], instead: dict[str, Any]) -> None:
    """Put what stands for the functions into a module, but where the program has others there."""
    if _put(space, originals, instead):
        _replaced.append((space, (originals, instead)))


def _put(space: dict[str, Any], there: dict[str, Any], new: dict[str, Any]) -> bool:
    if all(map(is_, map(space.get, there), there.values())):
        space.update(new)
        return True
    found = {name: new[name] for name, known in there.items() if space.get(name) is known}
    space.update(found)
    return bool(found)


def _hand_back(kept: list[Buffer]) -> None:
    """Put plain arrays in place of the buffers that the program keeps in its own objects."""
    for holder in gc.get_referrers(*kept):
        if holder is kept:
            continue
        space = holder if isinstance(holder, (dict, list)) else getattr(holder, "__dict__", None)
        items = list(enumerate(space)) if isinstance(space, list) else list((space or {}).items())
        for key, value in items:
            if type(value) is Buffer and not isinstance(space, MappingProxyType):
                space[key] = value.value  # type: ignore[index]


_libraries = tuple(sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib"))
_users: dict[int, list[Any]] = {}


def _spaces(function: Any) -> list[dict[str, Any]]:
    """The names of the user's modules, and of the module of the function."""
    known = _users.get(len(sys.modules))
    if known is None:
        _users.clear()
        known = _users[len(sys.modules)] = [
            vars(module)
            for name, module in list(sys.modules.items())
            if name == "__main__"
            or (
                (file := getattr(module, "__file__", None))
                and not file.startswith(_libraries)
                and name.partition(".")[0] not in ("gradviz", "numpy", "scipy")
            )
        ]
    own = getattr(function, "__globals__", None)
    return [*known, own] if own is not None and not any(own is k for k in known) else known
