"""The types of what travels between Python and the page, all of it plain JSON.

`scripts/page_types.py` writes them for TypeScript, which checks the page's modules against them.
What Python cannot say of JSON's lists, `Annotated` says as TypeScript has it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

Scalar = float | str
"""A number; what JSON lacks travels as text: "NaN", "inf", "-inf"."""
MathTree = Annotated[list[Any], "[string, ...(string | MathTree)[]]"]
"""MathML as nested lists: an element's name and its children."""
ProgramTree = Annotated[Any, "number | string | [string, ...ProgramTree[]]"]
"""A rule as data: a number, a name, or a function and its arguments."""
ProgramNode = Annotated[list[Any], "[string | null, number[], Settings?]"]
"""The row of an operation, null for a leaf, its operands, and what its formulas name besides."""
Settings = Annotated[dict[str, Any], "Record<string, any>"]
"""Numbers, texts, `Entries`, and lists of these."""
ShownSteps = Annotated[list[Any], "[number, number[], number[]]"]
"""The operation that gives a shown value, all those it stands for, and what they read."""
StepKind = Literal["given", "value", "seed", "message", "done"]
Step = Annotated[list[Any], "[StepKind, ...number[]]"]
"""An event of the passes: of a value, the node's number; of a message, the edge's."""
GradientState = Literal[
    "not computed", "disconnected", "zero", "underflown", "non-finite", "number"
]
Reason = Literal[
    "", "one", "constant", "linear", "own", "curved", "map", "mean", "product", "spread"
]
Kind = Literal["input", "parameter", "constant", "operation", "output"]


class Formula(TypedDict):
    """A formula in both notations."""

    math: MathTree
    tex: str


class StructureNode(TypedDict):
    """A value, as far as it does not change."""

    id: str
    name: str
    label: Formula | None
    kind: Kind
    shape: str
    dtype: str
    scope: list[str]
    source: str
    expression: Formula | None
    computed: bool
    wrt: bool
    leaf: bool


class Slope(TypedDict):
    """The formulas of a local derivative and of the message."""

    derivative: Formula | None
    vjp: Formula | None


class StructureEdge(TypedDict):
    """An operand of an operation; `alone` where it reaches the result in another way too.

    `moved` holds where values are changed, too: at a tie, at 0.
    """

    u: int
    v: int
    key: int
    alone: bool
    carries: bool
    derivative: Formula | None
    vjp: Formula | None
    why: Reason
    moved: NotRequired[Slope]


class Entries(TypedDict):
    """An array: its numbers in a row, little-endian, in base64."""

    shape: list[int]
    kind: Literal["u1", "f4", "f8"]
    data: str


class Row(TypedDict):
    """The formulas of an operation.

    Its value; by operand its local derivative, if it is elementwise, and its message in terms of
    the upstream term g, where that is no product of both. What serves every operand of a variadic
    operation stands there once.
    """

    value: ProgramTree
    locals: list[ProgramTree | None]
    messages: list[ProgramTree | None]
    variadic: bool


class Guard(TypedDict):
    """What the program asked of recorded values: where the answer is another, so is the program."""

    row: str
    operands: list[int]
    settings: dict[str, Any]
    place: str


class Program(TypedDict):
    """The recorded operations, for a page that computes by itself.

    Constants, and the leaves as they were recorded, by node; the dtype of what is not float64.
    """

    rows: dict[str, Row]
    nodes: list[ProgramNode]
    constants: dict[int, Scalar | Entries]
    leaves: dict[int, Scalar | Entries]
    types: dict[int, str]
    varying: list[int]
    output: int
    shown: list[ShownSteps]
    guards: list[Guard]


class Structure(TypedDict):
    """The structure of a graph, which stays while its numbers change."""

    title: str
    output: int
    nodes: list[StructureNode]
    edges: list[StructureEdge]
    steps: list[Step]
    scopes: list[str]
    moving: list[int]
    program: Program | None
    refusal: dict[str, str]
    numbersAway: bool
    untold: int


class HeatMap(TypedDict):
    """The entries of an array, a byte each, 0 to 254 from -top to top; 255 is not finite."""

    rows: int
    columns: int
    cells: str
    top: float
    averaged: bool
    sampled: bool


class Shown(TypedDict):
    """What is shown of an array; `first` are its first numbers, of a small array all."""

    cells: list[str]
    full: str
    shape: str
    norm: Scalar
    short: NotRequired[str]
    listed: NotRequired[str]
    first: NotRequired[list[Scalar]]
    heat: NotRequired[HeatMap]


Quantity = Scalar | Shown


class Numbers(TypedDict):
    """All that changes with a leaf, by node and by edge; whether it has changed."""

    values: list[Quantity]
    grads: list[Quantity | None]
    states: list[GradientState]
    locals: list[Quantity | None]
    messages: list[Quantity | None]
    trouble: str
    moved: NotRequired[bool]


class Drawing(TypedDict):
    """A picture; the boxes of hidden nodes, the folds of closed boxes and, by scope, of frames.

    Of these, the sealed ones are those that no picture of the page shows open. Nodes are hidden in
    runs: the first, the last, and the one whose box they are in. Its columns (of a picture from
    left to right: its rows) part at the cuts. By fold, what takes its place.
    """

    svg: str
    direction: Literal["LR", "TB"]
    folded: list[str]
    scopes: list[str]
    inside: Annotated[list[tuple[int, int, int]], "[number, number, number][]"]
    closed: dict[int, str]
    sealed: list[str]
    frames: dict[str, str]
    cuts: list[float]
    insides: NotRequired[dict[str, Inside]]


class Inside(TypedDict):
    """What is seen in place of a closed fold: its parts; in place of an open one: its box.

    The runs of the values in it; the edges that enter and leave: their numbers, and where they do;
    of those that do so across the picture the box, too.
    """

    drawing: Drawing
    values: Annotated[list[tuple[int, int]], "[number, number][]"]
    ports: Annotated[list[tuple[int, float, float]], "[number, number, number][]"]
    across: dict[int, str]


class SetRequest(TypedDict):
    """New values for some leaves."""

    kind: Literal["set"]
    values: dict[str, Any]


class TrainRequest(TypedDict):
    """Steps of gradient descent."""

    kind: Literal["train"]
    steps: int
    rate: float


class AtRequest(TypedDict):
    """Back to a step of the training."""

    kind: Literal["at"]
    index: int


class FoldRequest(TypedDict):
    """Other folds, because the one with this key is to open or to close."""

    kind: Literal["fold"]
    folded: list[str]
    key: str


class TurnRequest(TypedDict):
    """The same picture from left to right, or from top to bottom."""

    kind: Literal["turn"]
    direction: Literal["LR", "TB"]


class GoRequest(TypedDict):
    """Undo the last change of values, do it again, or go back to what was recorded."""

    kind: Literal["undo", "redo", "reset"]


ViewRequest = SetRequest | TrainRequest | AtRequest | FoldRequest | TurnRequest | GoRequest


class Answer(TypedDict):
    """What became of a request; what the view can do by itself now, it is to try again."""

    serial: NotRequired[str]
    trouble: NotRequired[str]
    again: NotRequired[ViewRequest | None]


class QuestionTold(TypedDict):
    """What a lesson asks; `edge` is the edge's number, or -1."""

    kind: Literal["value", "local", "message", "gradient", "reused", "paths"]
    node: int
    edge: int
    after: list[int]
    targets: list[str]
    text: str
    hint: str


class LessonTold(TypedDict):
    """A lesson: the page computes what is right from its graph."""

    title: str
    tolerance: float
    questions: list[QuestionTold]


class Attempt(TypedDict):
    """What became of a question: the answers in their order, each with what was said of it."""

    answers: list[list[str]]
    hints: int
    right: bool
    shown: bool


class Progress(TypedDict):
    """Where a student is in a lesson."""

    name: str
    at: int
    attempts: list[Attempt]


class State(TypedDict):
    """The traits of the model that the view reads."""

    structure: Structure
    numbers: Numbers
    drawing: Drawing
    drawings: str
    words: dict[str, dict[str, Any]]
    answer: Answer
    settled: str
    kernel: bool
    direction: NotRequired[str]
    theme: str
    language: str
    selected: list[str]
    targets: list[str]
    step: int
    folded: list[str]
    rate: float
    history: list[Quantity]
    at: int
    lesson: LessonTold | None
    limit: int | None
    compact: bool
    progress: Progress
    edits: Annotated[list[int], "[number, number]"]


class Column(TypedDict):
    """A step of a recorded run; `passes` backward passes were made in it."""

    step: int
    loss: Scalar | None
    passes: int
    stepped: bool
    note: str


class FoundOverTime(TypedDict):
    """A finding of a run, in each language: the step it began at, the columns it was seen in."""

    kind: dict[str, str]
    severity: str
    where: str
    text: dict[str, str]
    first: int
    at: list[int]


class Recorded(TypedDict):
    """A recorded run; of the curve each part's first step, least, greatest, and what is none."""

    title: str
    total: int
    what: dict[str, str]
    curve: list[list[Any]]
    columns: list[Column]
    rows: list[str]
    cells: dict[str, list[list[Any]]]
    findings: list[FoundOverTime]


class OpenedPass(TypedDict):
    """The Graph of a step's backward pass, compressed; which it is, and its structure's key."""

    index: int
    structure: str
    packed: str
