"""The public Graph: a recording, with all that can be asked of it. It alone knows every room."""

# Long: a facade; of its lines more than half are docstrings.

from __future__ import annotations

import ast
import copy
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from gradviz.language import asked, speaking
from gradviz.model import Gradients, Program, Recording
from gradviz.options import Frames, Picture, Saved, Shown, named
from gradviz.words import choose, names_of

if TYPE_CHECKING:
    import networkx

    from gradviz.chain.check import Check
    from gradviz.chain.formula import Explanation
    from gradviz.chain.health import Health
    from gradviz.chain.lesson import Lesson
    from gradviz.chain.reuse import Reuse
    from gradviz.chain.shares import Shares
    from gradviz.chain.statements import Summary as ByNames
    from gradviz.chain.summary import Summary
    from gradviz.chain.table import Table
    from gradviz.show.drawing import Drawing
    from gradviz.web.widget import Widget


class Graph(Recording):
    """A recorded computation with output J.

    Made by `gradviz.trace`, `gradviz.graph` and `gradviz.expression`; immutable.

    Attributes
    ----------
    values : list of Node
        Every value, constants included, in recording order; a value's id is its position here.
    operands : list of tuple of int
        The ids of each value's operands, by position.
    names : list of str
        Unique, shown.
    named : frozenset of int
        The ids whose name the program gave (the others are numbered: v_1, v_2, ...).
    output : int
        The id of J.
    wrt : frozenset of int
        The leaves that gradients are asked for.
    layers : mapping of tuple of str to Layer
        By scope the module that it is, of a PyTorch program; the scope () is the program's own.
    legible : int
        A picture of more values is folded.
    by_operations : bool
        Whether a picture always shows the operations, not the named values: the `statements` are
        this very Graph.
    origin : Summary or None
        Of a Graph by named values, which of the whole one's values each stands for.
    error : Exception or None
        What ended the program before it had computed J; the last value stands for it.
    changed_by_hooks : mapping of int to str
        The ids where a hook of the user put another gradient in place of the one that came, and
        which hook: there the messages do not sum to the gradient, or (of a module's hook) the
        message that goes on is not the local derivative times the gradient.
    memory : mapping of int to int
        By id the bytes that the call of a PyTorch program keeps for the backward pass from J: the
        tensors that autograd has saved for it. Each storage counts once, for the first call that
        keeps it; parameters and buffers do not count, nor do single numbers. Calls of which nothing
        is known, such as those in a checkpoint, are left out.
    elsewhere : set of int
        Of one backward pass of a recorded step: the ids of the parameters whose gradient comes in
        another pass of the same step, and not in this one.
    sharpness : mapping of int to Sharpness
        By id of a fused attention of PyTorch, whose weights p are no value of the program: of how
        many `rows` of them, of how many `entries`, the sums Σp² were looked at, and their `mean`
        and `least`.
    locals, statement_locals : dict or None
        Local derivatives that are known without the operations' rules, by edge (v, key) and, of
        `statements`, by (id of v, id of u): those of a Graph that was loaded from a file.

    Examples
    --------
    >>> import gradviz as gv
    >>> g = gv.expression("z = w*x; (z - 1)**2", w=2, x=3)
    >>> float(g.value("z")), float(g.grad("w"))
    (6.0, 30.0)
    >>> print(g.explain("w").factored)
    δ[z] = 2 · (z - 1) = 10
    ∂J/∂w = δ[z] · x = 30
    >>> bool(g.check())
    True
    """

    __slots__ = ("own",)  # what refers back to its Graph; see `handle`

    origin: ByNames | None = None
    own: dict[str, Any]

    def __getattr__(self, attribute: str) -> Any:
        if attribute != "own":
            return super().__getattribute__(attribute)  # which raises what it has raised
        self.own = {}  # nothing, yet
        return self.own

    def handle(self) -> Graph:
        """This Graph once more, for what it keeps itself: such a reference makes no cycle.

        A Graph of arrays that was drawn is so freed at once, when the last reference goes.
        """
        other = Graph.__new__(Graph)
        other.__dict__ = self.__dict__
        return other

    # --- its derivatives ---------------------------------------------------------------------

    @cached_property
    def derivatives(self) -> Gradients:
        """Gradients and messages of the backward pass from J, computed when first asked for."""
        if self.origin is not None:
            return self.origin.derivatives
        from gradviz.chain.backward import backward
        from gradviz.chain.reads import warn_of

        found = self.__dict__["derivatives"] = backward(self)
        warn_of(self)
        return found

    @cached_property
    def sure(self) -> bool:
        """Whether `returned` was found out by running the program."""
        if self.origin is not None:
            return self.origin.whole.sure
        return self.recorded_program is not None

    @cached_property
    def astray(self) -> str:
        """That the program computes another J on plain arrays, as it asks what it has; else ""."""
        if self.origin is not None:
            return self.origin.whole.astray
        from gradviz.chain.reads import astray

        return astray(self)

    @cached_property
    def returned(self) -> dict[int, str]:
        """By id the values whose plain number, read by the program, came back into J; how, where.

        The gradient lacks what should have come back with it.
        """
        if self.origin is not None:
            return self.origin.told(self.origin.whole.returned)
        from gradviz.chain.reads import returned

        return returned(self)

    def backward(self) -> Graph:
        """Compute every gradient and message now (later calls cost nothing); returns the Graph.

        Raises
        ------
        TraceError
            J is no real scalar, or a gradient would have to pass an operation without a rule.
        """
        _ = self.derivatives
        return self

    def grad(self, name: str) -> Any:
        """The gradient (adjoint) ∂J/∂name, of the value's own shape and dtype.

        Zeros where no path leads to J.

        Raises
        ------
        TraceError
            The gradient cannot be computed, or was not asked for (`wrt`).
        """
        return self.adjoint(self.id(name))

    def adjoint(self, i: int) -> Any:
        """The gradient of the value with the id `i`; zeros where no path leads to J."""
        from gradviz.chain.backward import adjoint

        return adjoint(self, i)

    @cached_property
    def ends(self) -> dict[int, str]:
        """Those of `reads` after which a history goes on to J, or may."""
        if self.origin is not None:
            return self.origin.told(self.origin.whole.ends)
        unknown = (i for i in self.reads if isinstance(getattr(self.values[i], "read", 0), tuple))
        return {i: self.reads[i] for i in unknown} | self.returned

    @cached_property
    def reads(self) -> dict[int, str]:
        """By id the values that the program read as plain numbers: how and where.

        Their history ends there: what the program computes from such a number is a constant.
        """
        if self.origin is not None:
            return self.origin.told(self.origin.whole.reads)
        from gradviz.chain.reads import reads

        return reads(self)

    def grad_state(self, i: int) -> str:
        """One of: not computed, disconnected, zero, underflown, non-finite, number."""
        from gradviz.chain.backward import state

        return state(self, i)

    def message(self, v: int, key: int, upstream: ast.expr, everywhere: bool = False) -> ast.expr:
        """See `Recording.message`."""
        from gradviz.chain.backward import no_zero

        return no_zero(self, v, key, upstream, super().message(v, key, upstream, everywhere))

    def stops(self, v: int) -> bool:
        """See `Recording.stops`."""
        from gradviz.chain.backward import unbounded

        return self.values[v].operation.stops(lambda: unbounded(self, v))

    @cached_property
    def underflown(self) -> frozenset[int]:
        """The ids whose gradient is zero only because a product became too small for a number."""
        if self.origin is not None:
            return self.origin.underflown
        from gradviz.chain.backward import underflown

        return underflown(self)

    def gradients(self) -> dict[str, Any]:
        """The gradient of each leaf that was asked for, by name."""
        from gradviz.chain.backward import adjoint

        names = self.names
        return {names[i]: adjoint(self, i) for i in sorted(self.wrt)}

    # --- as NetworkX graphs ------------------------------------------------------------------

    @cached_property
    def dag(self) -> networkx.MultiDiGraph:
        """The computation as a `networkx.MultiDiGraph`: a node per value, an edge per operand.

        The schema (version 1). Graph attributes: ``schema``, ``output`` (id of J), ``name``.
        Node attributes: ``name``, ``op``, ``kind`` (input, parameter, constant, operation),
        ``value``, ``shape``, ``dtype``, ``grad`` (None where there is none), ``grad_state`` (not
        computed, disconnected, zero, underflown, non-finite, number), ``changed_by_hook`` (the hook
        that put this gradient in place of the one that came; else ""), ``scope`` (tuple),
        ``source`` (file, line, text; or None), ``expression`` (plain text). Edge (u, v,
        key=operand position): ``local`` (None for a linear map), ``message`` (None before
        backward), ``symbol`` (the local derivative's: ∂v/∂u, or ∂₁v, by the operand's position,
        where u reaches v in another way too), ``derivative`` (plain text, "" for a linear map),
        ``vjp`` (the message of a linear map in plain text, a bar over a name meaning its gradient;
        else "").
        """
        return self.table.dag()

    @cached_property
    def backward_dag(self) -> networkx.MultiDiGraph:
        """The backward pass in the same schema: a node per gradient, an edge per message.

        A cached upstream term that is read three times is a node with three out-edges. The node
        attribute ``of`` is the id of the forward value; an edge's ``key`` tells parallel edges
        apart.
        """
        return self.backward_table.dag()

    @property
    def table(self) -> Table:
        """What `dag` holds, as plain rows: pictures need no more."""
        if "table" not in self.own:
            from gradviz.chain.table import forward

            self.own["table"] = forward(self.handle())
        table: Table = self.own["table"]
        return table

    @cached_property
    def backward_table(self) -> Table:
        """What `backward_dag` holds, as plain rows."""
        from gradviz.chain.table import backward

        return backward(self)

    # --- explained and drawn -----------------------------------------------------------------

    @property
    def statements(self) -> Graph:
        """The same computation with one value per name: unnamed steps are part of the named one."""
        if "statements" not in self.own:
            self.own["statements"] = self._by_names()
        found: Graph | None = self.own["statements"]
        return self if found is None else found

    def _by_names(self) -> Graph | None:
        """The same; None for this very Graph."""
        from gradviz.chain.statements import summarize

        summary = summarize(self.handle())
        return None if summary is None else summary.graph(Graph)

    def explain(
        self,
        name: str,
        *,
        after: str | Sequence[str] = (),
        detail: str | None = None,
        language: str = "",
    ) -> Explanation:
        """The chain rule for ∂J/∂name, in symbols and in numbers.

        Parameters
        ----------
        name : str
            Of a value, or of one number of an array: ``W[0,1]``.
        after : str or sequence of str, optional
            Targets whose gradients are already computed; the factors that they share are marked
            as reused.
        detail, language : str, optional
            What counts as a step, and what it is told in, see `draw`.
        """
        from gradviz.chain.formula import explain

        with speaking(language):
            return explain(self.detailed(detail), name, names_of(after, "after"))

    def reuse(self, *targets: str, detail: str | None = None, language: str = "") -> Reuse:
        """The ledger of upstream terms computed and reused, target by target.

        Parameters
        ----------
        *targets : str
            Names, in the order in which their gradients are computed; default: every leaf asked
            for, from the output backwards.
        detail, language : str, optional
            What counts as a step, and what it is told in, see `draw`.
        """
        from gradviz.chain.reuse import reuse

        with speaking(language):
            return reuse(self.detailed(detail), targets)

    def lesson(
        self,
        *targets: str,
        title: str = "",
        language: str = "",
        tolerance: float = 0.01,
        detail: str | None = None,
    ) -> Lesson:
        """Questions in which a student predicts numbers before they are shown.

        Parameters
        ----------
        *targets : str
            The lesson asks for all that their gradients take (`Lesson.about`). Without any it is
            empty: its methods add what you ask, ``g.lesson().value("z").gradient("w")``.
        title, detail : str, optional
        language : {"", "en", "zh"}
            Default: the one that is set, else the reader's own.
        tolerance : float
            So far, relative to the right number, an answer may be off.
        """
        from gradviz.chain.lesson import Lesson

        empty = Lesson(self, detail, (), title, asked(language), tolerance)
        return empty.about(*targets) if targets else empty

    def detailed(self, detail: str | None = None) -> Graph:
        """This Graph at the wanted level of detail (see `draw`)."""
        if detail not in (None, "names", "operations"):
            raise ValueError(f"detail={detail!r}: write 'names' or 'operations'")
        if detail == "operations":
            return self
        return self.statements

    def elements(self, *names: str, limit: int = 2000, products: bool = False) -> Graph:
        """The same computation with arrays opened into their numbers: ``W[0,1]``, ``z[0]`` ...

        Everything works on it as on any Graph: `explain` ("W[0,1]"), `reuse`, `draw`, `save` ...

        Parameters
        ----------
        *names : str
            The arrays to open; default: all, but those of indices and of complex numbers. The
            others stay arrays: an array that reads opened ones has an edge from each of their
            numbers, whose local derivative has the shape of the array; a number that reads a
            whole array has one edge from it.
        limit : int, optional
            Of so many numbers at most.
        products : bool, optional
            Whether the products that a product of matrices sums are values of their own.

        Raises
        ------
        ValueError
            There are more numbers.
        TraceError
            The arrays were not kept (a lean capture), or a hook changed a gradient.
        """
        from gradviz.chain.lens import elements

        return elements(self, names, limit, products, Graph)

    def inside(self, name: str) -> Graph:
        """What is in one call of a library that JAX computes in several operations.

        A Graph like any other: its leaves are what the call reads, ``name`` is its result, and its
        J is what that contributes to J to first order, the sum of its gradient times it, so that
        every gradient in it is ∂J/∂ that value.

        Parameters
        ----------
        name : str

        Raises
        ------
        TraceError
            It is one operation, arrays were not kept, J does not depend on it, or it has a
            derivative rule of its own, which its operations do not have.

        Examples
        --------
        >>> g.inside("logp").draw()  # doctest: +SKIP
        """
        from gradviz.chain.inside import inside

        return inside(self, name)

    def check(
        self,
        *,
        entries: int | None = None,
        step: float | None = None,
        tolerance: float | None = None,
        detail: str | None = None,
        language: str = "",
    ) -> Check:
        """Every gradient computed another way; the options: `gradviz.chain.check.check`.

        By central finite differences, as the sum of its messages, and as the sum over its paths.
        """
        from gradviz.chain.check import check

        with speaking(language):
            return check(self.detailed(detail), entries=entries, step=step, tolerance=tolerance)

    def diagnose(self, *, rate: float | None = None, language: str = "") -> Health:
        """What is wrong with the numbers of this computation, where, why, and what to do.

        The first value and the first gradient that are not finite, and what made them; gradients
        that vanish or explode, and by which operation; parameters without a gradient, and why;
        dead and saturated units; parameters that are ill scaled.

        Parameters
        ----------
        rate : float, optional
            The learning rate: a step of gradient descent is then compared with the parameters.
        language : {"", "en", "zh"}, optional
            The language of the result; default: the one that is set.

        Returns
        -------
        Health
            True if nothing is wrong. `findings`, `text` and `draw` tell what is.
        """
        from gradviz.chain.health import diagnose

        with speaking(language):
            return diagnose(self, rate)

    def summary(self, depth: int | None = None, *, language: str = "") -> Summary:
        """The layers of the program in a table: class, result, parameters, gradients, memory.

        Parameters
        ----------
        depth : int, optional
            So many levels of scopes; default: all.

        Returns
        -------
        Summary
            `text` and `rows` tell, for each scope with all that is in it, what module it is, the
            shape of its result, its parameters and their share, the norms of their values and
            gradients, and the bytes that it keeps for the backward pass. Of a program without
            scopes there is a row for each value.
        """
        from gradviz.chain.summary import summary

        with speaking(language):
            return summary(self, depth)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each value, by id; needs the extra ``pandas``.

        Its columns: ``name``, ``op``, ``kind``, ``scope`` (joined by "/"), ``shape``, ``dtype``,
        ``size``, ``norm``, ``min``, ``mean``, ``max``, ``grad_norm``, ``grad_state``, ``memory``
        (bytes kept for the backward pass, <NA> where not known) and ``source`` (file and line).
        """
        from gradviz.chain.frame import frame

        return frame(self)

    def shares(self, *, detail: str | None = None, language: str = "") -> Shares:
        """Each leaf's share in the first-order change of J by one step of gradient descent.

        J changes by -η Σ (∂J/∂w)²: a leaf's share is its part of this sum. Backpropagation gives
        each parameter its own derivative; it does not divide a blame among them, and a share says
        only how much of the next step's gain is due to a parameter.
        """
        from gradviz.chain.shares import shares

        with speaking(language):
            return shares(self.detailed(detail))

    @named(Picture)
    def draw(self, **options: Unpack[Picture]) -> Drawing:
        """The picture; of a large Graph, folded into boxes that ``unfold=`` opens.

        Parameters
        ----------
        **options
            See `gradviz.options.Picture`.
        """
        from gradviz.show.drawing import draw

        more: dict[str, Any] = {**options}
        detail = more.pop("detail", None)
        with speaking(more.pop("language", "")):
            if self.returned and more.get("highlight") is None:
                from gradviz.chain.health.findings import read_marks

                more["highlight"] = read_marks(self, detail)
            return draw(self.detailed(detail), **more)

    @named(Saved)
    def save(self, path: Any, **options: Unpack[Saved]) -> None:
        """Write a picture, a page, or the Graph itself: the suffix says what.

        Parameters
        ----------
        path : path-like
            ``.svg``, ``.png``, ``.pdf``, ``.dot``, ``.tex`` and ``.txt`` are pictures. An ``.html``
            is a page of its own that steps through both passes, explains every value and
            recomputes. A ``.json`` holds the whole Graph, for `gradviz.load`. A ``.gif`` or
            ``.mp4`` (extra ``film``) plays both passes.
        **options
            Of a picture, see `draw`; of a page, `gradviz.options.Page`; of a film, `frames`, with
            ``targets=`` and ``seconds=`` for a step.
        """
        suffix = os.path.splitext(path)[1].lower()
        given: dict[str, Any] = {**options}
        if suffix == ".json":
            from gradviz.keep.writing import save

            save(self, path, **given)
        elif suffix == ".html":
            from gradviz.files import write_atomic
            from gradviz.web.page import to_html

            write_atomic(path, to_html(self, **given))
        elif suffix in (".gif", ".mp4"):
            from gradviz.web.frames import save_film

            save_film(self, path, suffix, **given)
        else:
            from gradviz.files import PICTURES

            choose("file type", suffix, (*PICTURES, ".html", ".json", ".gif", ".mp4"))
            self.draw(**given).save(path)

    @named(Frames)
    def frames(self, *targets: str, **options: Unpack[Frames]) -> list[str]:
        """Both passes as SVG pictures, one a step, for slides: all of one layout.

        Parameters
        ----------
        *targets : str
            The backward pass is then their ledger, in its order.
        **options
            As in `draw`; the theme is "light" or "dark".
        """
        from gradviz.web.frames import frames

        return frames(self, targets, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is not None:
            return getattr, (self.origin.whole, "statements")
        from gradviz.keep.pickles import parts

        return unpickled, parts(self)

    def __copy__(self) -> Graph:
        return self  # never changes

    def __deepcopy__(self, memo: Any) -> Graph:
        from gradviz.keep.writing import pack

        return unpickled(copy.deepcopy(pack(self), memo), self.recorded_program)

    @named(Shown)
    def widget(self, **options: Unpack[Shown]) -> Widget:
        """The Jupyter widget (see `gradviz.web.widget.Widget`); needs the extra ``widget``.

        Parameters
        ----------
        **options
            As of a page, see `gradviz.options.Page`; and ``rate``, the learning rate.
        """
        from gradviz.web.widget import Widget

        given: dict[str, Any] = {**options}
        return Widget(self, **given)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.draw()._repr_mimebundle_(include, exclude)

    # --- run again ---------------------------------------------------------------------------

    @property
    def program(self) -> Program:
        """The traced function; else the recorded operations, evaluated again in their order."""
        from gradviz.chain.replay import Replay

        return self.recorded_program or Replay(self)

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> Graph:
        """A new Graph: the same program with new values for some leaves.

        Parameters
        ----------
        values : mapping of str to array_like, optional
            New values by leaf name; names that are identifiers may be given as keywords too.

        Raises
        ------
        KeyError
            No leaf has the name.
        ValueError
            A value has another shape than the leaf.
        TypeError
            A value is more than an array of numbers: masked, a matrix, of units.
        """
        from gradviz.chain.replay import leaves_with, once_more

        graph: Graph = once_more(self.program.record, leaves_with(self, dict(values or {}) | more))
        return graph

    def step(self, rate: float = 0.1) -> Graph:
        """One step of gradient descent, w ← w - rate · ∂J/∂w, as a new Graph.

        The parameters move; where there are none, every leaf that gradients are asked for.
        """
        from gradviz.chain.replay import downhill

        return self.update(downhill(self, rate))


def unpickled(document: dict[str, Any], program: Program | None, functions: Any = ()) -> Graph:
    """The Graph in a pickle; to unpickle added operations' `functions` has added them here."""
    from gradviz.keep.reading import unpack

    return unpack(document, program, Graph)
