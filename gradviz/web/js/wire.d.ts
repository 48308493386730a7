// Written by scripts/page_types.py from gradviz/web/wire.py.

/** A number; what JSON lacks travels as text: "NaN", "inf", "-inf". */
type Scalar = number | string;

/** MathML as nested lists: an element's name and its children. */
type MathTree = [string, ...(string | MathTree)[]];

/** A rule as data: a number, a name, or a function and its arguments. */
type ProgramTree = number | string | [string, ...ProgramTree[]];

/** The row of an operation, null for a leaf, its operands, and what its formulas name besides. */
type ProgramNode = [string | null, number[], Settings?];

/** Numbers, texts, `Entries`, and lists of these. */
type Settings = Record<string, any>;

/** The operation that gives a shown value, all those it stands for, and what they read. */
type ShownSteps = [number, number[], number[]];

type StepKind = "given" | "value" | "seed" | "message" | "done";

/** An event of the passes: of a value, the node's number; of a message, the edge's. */
type Step = [StepKind, ...number[]];

type GradientState = "not computed" | "disconnected" | "zero" | "underflown" | "non-finite" | "number";

type Reason = "" | "one" | "constant" | "linear" | "own" | "curved" | "map" | "mean" | "product" | "spread";

type Kind = "input" | "parameter" | "constant" | "operation" | "output";

/** A formula in both notations. */
interface Formula {
  math: MathTree;
  tex: string;
}

/** A value, as far as it does not change. */
interface StructureNode {
  id: string;
  name: string;
  label: Formula | null;
  kind: Kind;
  shape: string;
  dtype: string;
  scope: string[];
  source: string;
  expression: Formula | null;
  computed: boolean;
  wrt: boolean;
  leaf: boolean;
}

/** The formulas of a local derivative and of the message. */
interface Slope {
  derivative: Formula | null;
  vjp: Formula | null;
}

/** An operand of an operation; `alone` where it reaches the result in another way too.

    `moved` holds where values are changed, too: at a tie, at 0.
     */
interface StructureEdge {
  u: number;
  v: number;
  key: number;
  alone: boolean;
  carries: boolean;
  derivative: Formula | null;
  vjp: Formula | null;
  why: Reason;
  moved?: Slope;
}

/** An array: its numbers in a row, little-endian, in base64. */
interface Entries {
  shape: number[];
  kind: "u1" | "f4" | "f8";
  data: string;
}

/** The formulas of an operation.

    Its value; by operand its local derivative, if it is elementwise, and its message in terms of
    the upstream term g, where that is no product of both. What serves every operand of a variadic
    operation stands there once.
     */
interface Row {
  value: ProgramTree;
  locals: (ProgramTree | null)[];
  messages: (ProgramTree | null)[];
  variadic: boolean;
}

/** What the program asked of recorded values: where the answer is another, so is the program. */
interface Guard {
  row: string;
  operands: number[];
  settings: { [key: string]: any };
  place: string;
}

/** The recorded operations, for a page that computes by itself.

    Constants, and the leaves as they were recorded, by node; the dtype of what is not float64.
     */
interface Program {
  rows: { [key: string]: Row };
  nodes: ProgramNode[];
  constants: { [key: number]: Scalar | Entries };
  leaves: { [key: number]: Scalar | Entries };
  types: { [key: number]: string };
  varying: number[];
  output: number;
  shown: ShownSteps[];
  guards: Guard[];
}

/** The structure of a graph, which stays while its numbers change. */
interface Structure {
  title: string;
  output: number;
  nodes: StructureNode[];
  edges: StructureEdge[];
  steps: Step[];
  scopes: string[];
  moving: number[];
  program: Program | null;
  refusal: { [key: string]: string };
  numbersAway: boolean;
  untold: number;
}

/** The entries of an array, a byte each, 0 to 254 from -top to top; 255 is not finite. */
interface HeatMap {
  rows: number;
  columns: number;
  cells: string;
  top: number;
  averaged: boolean;
  sampled: boolean;
}

/** What is shown of an array; `first` are its first numbers, of a small array all. */
interface Shown {
  cells: string[];
  full: string;
  shape: string;
  norm: Scalar;
  short?: string;
  listed?: string;
  first?: Scalar[];
  heat?: HeatMap;
}

type Quantity = Scalar | Shown;

/** All that changes with a leaf, by node and by edge; whether it has changed. */
interface Numbers {
  values: Quantity[];
  grads: (Quantity | null)[];
  states: GradientState[];
  locals: (Quantity | null)[];
  messages: (Quantity | null)[];
  trouble: string;
  moved?: boolean;
}

/** A picture; the boxes of hidden nodes, the folds of closed boxes and, by scope, of frames.

    Of these, the sealed ones are those that no picture of the page shows open. Nodes are hidden in
    runs: the first, the last, and the one whose box they are in. Its columns (of a picture from
    left to right: its rows) part at the cuts. By fold, what takes its place.
     */
interface Drawing {
  svg: string;
  direction: "LR" | "TB";
  folded: string[];
  scopes: string[];
  inside: [number, number, number][];
  closed: { [key: number]: string };
  sealed: string[];
  frames: { [key: string]: string };
  cuts: number[];
  insides?: { [key: string]: Inside };
}

/** What is seen in place of a closed fold: its parts; in place of an open one: its box.

    The runs of the values in it; the edges that enter and leave: their numbers, and where they do;
    of those that do so across the picture the box, too.
     */
interface Inside {
  drawing: Drawing;
  values: [number, number][];
  ports: [number, number, number][];
  across: { [key: number]: string };
}

/** New values for some leaves. */
interface SetRequest {
  kind: "set";
  values: { [key: string]: any };
}

/** Steps of gradient descent. */
interface TrainRequest {
  kind: "train";
  steps: number;
  rate: number;
}

/** Back to a step of the training. */
interface AtRequest {
  kind: "at";
  index: number;
}

/** Other folds, because the one with this key is to open or to close. */
interface FoldRequest {
  kind: "fold";
  folded: string[];
  key: string;
}

/** The same picture from left to right, or from top to bottom. */
interface TurnRequest {
  kind: "turn";
  direction: "LR" | "TB";
}

/** Undo the last change of values, do it again, or go back to what was recorded. */
interface GoRequest {
  kind: "undo" | "redo" | "reset";
}

type ViewRequest = SetRequest | TrainRequest | AtRequest | FoldRequest | TurnRequest | GoRequest;

/** What became of a request; what the view can do by itself now, it is to try again. */
interface Answer {
  serial?: string;
  trouble?: string;
  again?: ViewRequest | null;
}

/** What a lesson asks; `edge` is the edge's number, or -1. */
interface QuestionTold {
  kind: "value" | "local" | "message" | "gradient" | "reused" | "paths";
  node: number;
  edge: number;
  after: number[];
  targets: string[];
  text: string;
  hint: string;
}

/** A lesson: the page computes what is right from its graph. */
interface LessonTold {
  title: string;
  tolerance: number;
  questions: QuestionTold[];
}

/** What became of a question: the answers in their order, each with what was said of it. */
interface Attempt {
  answers: string[][];
  hints: number;
  right: boolean;
  shown: boolean;
}

/** Where a student is in a lesson. */
interface Progress {
  name: string;
  at: number;
  attempts: Attempt[];
}

/** The traits of the model that the view reads. */
interface State {
  structure: Structure;
  numbers: Numbers;
  drawing: Drawing;
  drawings: string;
  words: { [key: string]: { [key: string]: any } };
  answer: Answer;
  settled: string;
  kernel: boolean;
  direction?: string;
  theme: string;
  language: string;
  selected: string[];
  targets: string[];
  step: number;
  folded: string[];
  rate: number;
  history: Quantity[];
  at: number;
  lesson: LessonTold | null;
  limit: number | null;
  compact: boolean;
  progress: Progress;
  edits: [number, number];
}

/** A step of a recorded run; `passes` backward passes were made in it. */
interface Column {
  step: number;
  loss: Scalar | null;
  passes: number;
  stepped: boolean;
  note: string;
}

/** A finding of a run, in each language: the step it began at, the columns it was seen in. */
interface FoundOverTime {
  kind: { [key: string]: string };
  severity: string;
  where: string;
  text: { [key: string]: string };
  first: number;
  at: number[];
}

/** A recorded run; of the curve each part's first step, least, greatest, and what is none. */
interface Recorded {
  title: string;
  total: number;
  what: { [key: string]: string };
  curve: any[][];
  columns: Column[];
  rows: string[];
  cells: { [key: string]: any[][] };
  findings: FoundOverTime[];
}

/** The Graph of a step's backward pass, compressed; which it is, and its structure's key. */
interface OpenedPass {
  index: number;
  structure: string;
  packed: string;
}
