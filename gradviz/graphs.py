"""Functions of whole Graphs: one is read from a file, two are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradviz.graph import Graph
from gradviz.language import speaking

if TYPE_CHECKING:
    from gradviz.chain.compare import Comparison


def load(path: Any, *, max_bytes: int = 128 * 2**20) -> Graph:
    """The Graph that `Graph.save` wrote to a ``.json`` file.

    It draws and explains as the original did: its gradients are those of the file, not computed
    again. `Graph.update`, `Graph.step` and `Graph.check` evaluate the recorded operations again,
    also where the original was a traced function with branches. An operation that this
    installation does not know is drawn, with what the file says of it.

    Parameters
    ----------
    path : str or path-like
    max_bytes : int, optional
        A larger file is refused; reading one takes a small multiple of its size in memory.

    Returns
    -------
    Graph
        Its arrays are read-only.

    Raises
    ------
    ValueError
        The file is no such Graph; the message says where it is wrong.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import gradviz as gv
    >>> gv.expression("x * y", x=2, y=3).save("product.json")
    >>> float(gv.load("product.json").grad("x"))
    3.0
    """
    from gradviz.keep import reading

    return reading.load(path, max_bytes, Graph)


def compare(
    graph: Graph,
    other: Graph,
    *,
    names: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    language: str = "",
) -> Comparison:
    """Where two traces of one program part: two steps, two seeds, two precisions, two libraries.

    Leaves correspond by name, operations in recording order: those with the same name, scope and
    shape, and unnamed ones with the same operation, scope, shape and line of the program. Where
    one took another branch, or went round a loop more often, what is in only one is listed too. The
    same function written with NumPy and with PyTorch is compared by the values that it names.

    Parameters
    ----------
    graph, other : Graph
    names : mapping of str to str, optional
        Names in `graph` and what they are called in `other`, where that is something else.
    tolerance : float, optional
        On ‖a - b‖ / max(‖a‖, ‖b‖); 0 asks for the same bits. Default: for each value what the
        roundings before it explain, in the coarser of both dtypes.
    language : {"", "en", "zh"}
        In which it is told; default: see `set_language`.

    Returns
    -------
    Comparison
        True if all agree. `first`, `first_gradient`, `text` and `draw` tell where they part.

    Raises
    ------
    TypeError
        One is no Graph.
    ValueError
        The two have nothing in common.
    KeyError
        No value has a name of `names`.

    Notes
    -----
    A whole capture keeps bfloat16 as float32 arrays, so give it a `tolerance`, such as 0.05.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("h = w * x; h ** 2", w=2, x=3)
    >>> gv.compare(g, g.update(w=2.5)).first.name
    'w'
    """
    from gradviz.chain import compare as package

    with speaking(language):
        return package.compare(graph, other, names=names, tolerance=tolerance)
