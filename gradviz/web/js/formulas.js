// A formula is told twice: as nested lists for MathML, and as LaTeX for a paper. Python prints
// those of a program; here they are put together, in both notations at once.

import { axesOf } from "./arrays.js";
import { digitsOf, isNumber, minus, scalar } from "./numbers.js";

/**
 * A formula that is a line of its own; `aligned` is its LaTeX with the place where lines meet.
 * @typedef {Formula & {aligned: string}} Line
 */

/** @type {(math: MathTree, tex: string) => Formula} */
const both = (math, tex) => ({ math, tex });

/** @type {Record<string, string>} */
const COMMANDS = {
  "·": "\\cdot",
  "⊙": "\\odot",
  "×": "\\times",
  "−": "-",
  "…": "\\cdots",
  "∂": "\\partial",
};
/** @type {Record<string, string>} */
const ESCAPES = {
  "\\": "\\textbackslash{}",
  "^": "\\textasciicircum{}",
  "~": "\\textasciitilde{}",
};
/** @type {(text: string) => string} */
const escaped = (text) => text.replace(/[\\{}$&#%_^~]/g, (c) => ESCAPES[c] ?? `\\${c}`);

/** @type {(sign: string) => Formula} */
export const op = (sign) => both(["mo", sign], COMMANDS[sign] ?? sign);
/** @type {(words: string) => Formula} */
export const text = (words) => both(["mtext", words], `\\text{${escaped(words)}}`);
/** @type {(...parts: Formula[]) => Formula} */
export const row = (...parts) =>
  both(["mrow", ...parts.map(({ math }) => math)], parts.map(({ tex }) => tex).join(" "));
/** @type {(parts: Formula[], operator: string) => Formula} */
export const joined = (parts, operator) =>
  row(...parts.flatMap((part, i) => (i ? [op(operator), part] : [part])));
/** @type {(inner: Formula) => Formula} */
export const fenced = ({ math, tex }) =>
  both(["mrow", ["mo", "("], math, ["mo", ")"]], `\\left(${tex}\\right)`);

/**
 * ∂a/∂b
 * @type {(a: Formula, b: Formula) => Formula}
 */
export const slope = (a, b) =>
  both(
    ["mfrac", row(op("∂"), a).math, row(op("∂"), b).math],
    `\\frac{\\partial ${a.tex}}{\\partial ${b.tex}}`,
  );
/**
 * ∂₁v: by one operand alone
 * @type {(key: number, v: Formula) => Formula}
 */
export const slopeAt = (key, v) =>
  row(both(["msub", ["mi", "∂"], ["mn", String(key + 1)]], `\\partial_{${key + 1}}`), v);
/**
 * What is written under a brace.
 * @type {(inner: Formula, words: string) => Formula}
 */
export const braced = ({ math, tex }, words) => {
  const below = text(words);
  const tree = /** @type {MathTree} */ (["munder", ["munder", math, ["mo", "⏟"]], below.math]);
  return both(tree, `\\underbrace{${tex}}_{${below.tex}}`);
};

/**
 * A number; where a factor is negative it stands in parentheses.
 * @type {(x: number, factor?: boolean) => Formula}
 */
export function numeral(x, factor = false) {
  const [mantissa, exponent] = digitsOf(x, 6);
  const digits = mantissa.replace("-", "");
  const infinite = digits === "inf";
  const tex = infinite ? "\\infty" : digits === "nan" ? "\\mathrm{nan}" : digits;
  const plain = both(["mn", infinite ? "∞" : digits], tex);
  const power = both(["msup", ["mn", "10"], ["mn", minus(exponent)]], `10^{${exponent}}`);
  const size = exponent ? row(plain, op("×"), power) : plain;
  const negative = mantissa.startsWith("-");
  const whole = negative ? row(op("−"), size) : size;
  return factor && negative ? fenced(whole) : whole;
}
/**
 * An entry of an array, as it is shown.
 * @type {(cell: string) => Formula}
 */
const entry = (cell) => {
  const x = scalar(cell);
  return Number.isNaN(x) && cell !== "nan" ? text(minus(cell)) : numeral(x);
};
/**
 * The entries of a small array: in brackets, those of a matrix row below row.
 * @type {(cells: string[], axes: number[]) => Formula}
 */
function entries(cells, axes) {
  const items = cells.map(entry);
  const [rows, across] = axes.length > 1 ? axes : [1, items.length];
  if (rows === 1) {
    const list = joined(items, ",");
    return both(["mrow", ["mo", "["], list.math, ["mo", "]"]], `\\left[${list.tex}\\right]`);
  }
  const lines = Array.from({ length: rows }, (_, k) => items.slice(k * across, (k + 1) * across));
  /** @type {MathTree} */
  const table = [
    "mtable",
    ...lines.map(
      (line) => /** @type {MathTree} */ (["mtr", ...line.map(({ math }) => ["mtd", math])]),
    ),
  ];
  const tex = lines.map((line) => line.map((item) => item.tex).join(" & ")).join(" \\\\ ");
  return both(["mrow", ["mo", "["], table, ["mo", "]"]], `\\begin{bmatrix} ${tex} \\end{bmatrix}`);
}
/**
 * A quantity: a number, the entries of a small array, from where to where those of a large one go.
 * @type {(q: Quantity | null, factor?: boolean) => Formula}
 */
export function amount(q, factor = false) {
  if (q === null || isNumber(q)) return q === null ? text("") : numeral(scalar(q), factor);
  if (q.listed) return entries(q.cells, axesOf(q.shape));
  const [low, , high] = q.cells;
  return text(high === undefined ? low : minus(`${q.shape}: ${low} … ${high}`));
}

/**
 * A sum, or what begins with a sign, needs parentheses as a factor.
 * @type {(inner: Formula) => Formula}
 */
export function tight(inner) {
  const [tag, ...parts] = inner.math;
  const signs = parts.some(([kind, sign]) => kind === "mo" && "+−".includes(String(sign)));
  return tag === "mrow" && signs ? fenced(inner) : inner;
}

/**
 * left = right = ...
 * @type {(left: Formula, ...rights: Formula[]) => Line}
 */
export function equation(left, ...rights) {
  const whole = row(left, ...rights.flatMap((right) => [op("="), right]));
  return { ...whole, aligned: [`${left.tex} &`, ...rights.map(({ tex }) => tex)].join("= ") };
}
/**
 * A line that goes on from the one before.
 * @type {(sign: string, right: Formula) => Line}
 */
export const continued = (sign, right) => {
  const [tag, ...inside] = right.math;
  // A text counts as space, which would take the sign's own.
  const solid = /** @type {MathTree} */ (tag === "mtext" ? ["mn", ...inside] : right.math);
  const whole = row(op(sign), both(solid, right.tex));
  return { ...whole, aligned: `&${whole.tex}` };
};

/**
 * What nobody would read to its end, cut in the middle.
 * @template T
 * @param {T[]} items
 * @param {...T} gap
 * @returns {T[]}
 */
export const few = (items, ...gap) =>
  items.length > 12 ? [...items.slice(0, 5), ...gap, ...items.slice(-5)] : items;
