// Numbers as they travel and as they are read.
//
// What JSON lacks (NaN, infinities) travels as text; an array travels as what is shown of it.

const WRITTEN = /-?\d+(\.\d*)?(e[+-]?\d+)?/g; // numbers as Python writes them

/**
 * What is not told yet.
 * @type {Shown}
 */
export const UNKNOWN = { cells: ["?"], full: "?", shape: "", norm: "NaN" };

export const finite = Number.isFinite;
/** @type {(q: Quantity | null) => q is number | string} */
export const isNumber = (q) => typeof q === "number" || typeof q === "string";
/** @type {(q: Quantity | null | undefined) => number} */
export const scalar = (q) =>
  typeof q === "string" ? Number(q.replace("inf", "Infinity")) : typeof q === "number" ? q : NaN;
/** @type {(x: number) => number | string} */
export const wire = (x) => (finite(x) ? x : Number.isNaN(x) ? "NaN" : x > 0 ? "inf" : "-inf");

/** Rounded half to even, as Python does. @type {(x: number, digits: number) => string} */
function rounded(x, digits) {
  const near = x.toExponential(digits - 1);
  const [exact, exponent] = x.toExponential(digits + 30).split("e");
  const kept = exact.slice(0, exact.length - 31);
  const tie = /^50*$/.test(exact.slice(-31)) && "02468".includes(kept.slice(-1));
  return tie ? `${kept.replace(/\.$/, "")}e${exponent}` : near;
}

/**
 * As Python's format(x, ".5g"): mantissa, and exponent or "".
 * @type {(x: number, digits: number) => [string, string]}
 */
export function digitsOf(x, digits) {
  if (Number.isNaN(x)) return ["nan", ""];
  if (!finite(x)) return [x > 0 ? "inf" : "-inf", ""];
  if (x === 0) return ["0", ""];
  const trim = (/** @type {string} */ text) =>
    text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  const near = rounded(x, digits);
  const [mantissa, exponent] = near.split("e");
  if (+exponent >= -4 && +exponent < digits) return [trim(Number(near).toPrecision(digits)), ""];
  return [trim(mantissa), String(Number(exponent))];
}

/**
 * A number as somebody types it: a minus of print, 8×10⁻³ as it is shown, 1/3; undefined where it
 * is none, infinite where it is too large for one.
 * @type {(text: string) => number | undefined}
 */
export function typed(text) {
  const [over, ...under] = text.split("/").map(decimal);
  if (!under.length || over === undefined) return over;
  return under.length === 1 && under[0] ? over / under[0] : undefined;
}
/** @type {(text: string) => number | undefined} */
function decimal(text) {
  const plain = text
    .replace(/(?<=10)(?=[⁻⁰¹²³⁴-⁹])/, "^")
    .normalize("NFKC") // (１ of a Chinese keyboard)
    .trim()
    .replaceAll("−", "-")
    .replace(/\s*[×x*·]\s*10\s*\^\s*/, "e");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : undefined;
}

/** @type {(text: string) => string} */
export const minus = (text) => text.replaceAll("-", "−");
/** @type {(text: string) => string} */
const raised = (text) => [...text].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c])).join("");
/** @type {(n: number) => string} */
export const lowered = (n) => [...String(n)].map((c) => "₀₁₂₃₄₅₆₇₈₉"[+c]).join("");

/** @type {(x: number, digits?: number) => string} */
export function short(x, digits = 5) {
  const [mantissa, exponent] = digitsOf(x, digits);
  return minus(mantissa) + (exponent && `×10${raised(exponent)}`);
}

/**
 * All cells that a card shows of a quantity.
 * @type {(q: Quantity | null) => string[]}
 */
export const cells = (q) =>
  q === null ? [""] : isNumber(q) ? [short(scalar(q))] : q.cells.map(minus);
/**
 * A small array as a list; nothing for any other quantity.
 * @type {(q: Quantity | null) => string}
 */
export const listed = (q) => (q === null || isNumber(q) ? "" : minus(q.listed ?? ""));
/**
 * A number with all its digits, and what is listed with six of each: the panel tells each alone.
 * @type {(q: Quantity | null) => string}
 */
export function full(q) {
  if (q === null) return "";
  if (isNumber(q)) return minus(String(scalar(q)));
  const isList = q.full.startsWith("[");
  return minus(isList ? q.full.replace(WRITTEN, (x) => short(Number(x), 6)) : q.full);
}
/** @type {(q: Quantity | null) => number} */
export const norm = (q) => (q === null ? 0 : isNumber(q) ? Math.abs(scalar(q)) : scalar(q.norm));
