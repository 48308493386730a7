// What the formulas of rows are made of: functions of numbers, and how a formula is evaluated.

import { mapped } from "./arrays.js";
import { OF_ARRAYS } from "./wholes.js";

/** @import { Value } from "./arrays.js" */

/** @typedef {Record<string, any>} Names what formulas name: values, and settings of a call */

/** @type {Record<string, (...values: number[]) => number>} */
export const FUNCTIONS = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  // 1**x and x**0 are 1 in IEEE 754 and NumPy, whatever x is; not so in JavaScript.
  "**": (a, b) => (a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) ? 1 : a ** b),
  "%": (a, b) => {
    const r = a % b;
    return r !== 0 && r < 0 !== b < 0 ? r + b : r;
  },
  "//": (a, b) => {
    const quotient = b ? (a - FUNCTIONS["%"](a, b)) / b : a / b,
      low = Math.floor(quotient);
    return quotient - low > 0.5 ? low + 1 : low;
  },
  neg: (a) => -a,
  "<": (a, b) => +(a < b),
  "<=": (a, b) => +(a <= b),
  ">": (a, b) => +(a > b),
  ">=": (a, b) => +(a >= b),
  "==": (a, b) => +(a === b),
  "!=": (a, b) => +(a !== b),
  "&": (...all) => +all.every(Boolean),
  where: (a, b, c) => (a ? b : c),
  abs: Math.abs,
  sign: Math.sign,
  sqrt: Math.sqrt,
  cbrt: Math.cbrt,
  exp: Math.exp,
  exp2: (a) => 2 ** a,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  log1p: Math.log1p,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  arcsin: Math.asin,
  arccos: Math.acos,
  arctan: Math.atan,
  arctan2: Math.atan2,
  hypot: Math.hypot,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  arcsinh: Math.asinh,
  arccosh: Math.acosh,
  arctanh: Math.atanh,
  maximum: Math.max,
  minimum: Math.min,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  rint: (a) => (Math.abs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : Math.round(a)),
  heaviside: (a, b) => (a === 0 ? b : a < 0 ? 0 : a > 0 ? 1 : NaN),
  sinc: (a) => (a ? Math.sin(Math.PI * a) / (Math.PI * a) : 1),
  clip: (a, b, c) => Math.min(Math.max(a, b), c),
  fmod: (a, b) => a % b,
  isnan: (a) => +Number.isNaN(a),
  isfinite: (a) => +Number.isFinite(a),
  copysign: (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
  logaddexp: (a, b) =>
    a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
};

/**
 * A row's formula at some operands; every step is rounded as its type is.
 * @param {ProgramTree} tree
 * @param {Names} names
 * @param {(x: Value) => Value} round
 * @returns {any}
 */
export function evaluate(tree, names, round) {
  if (typeof tree === "number") return tree;
  if (typeof tree === "string") return names[tree];
  const [name, ...parts] = tree;
  const values = parts.map((part) => evaluate(part, names, round));
  const f = FUNCTIONS[String(name)];
  return round(f ? mapped(f, ...values) : OF_ARRAYS[String(name)](...values));
}

/** @type {(x: Value) => Value} */
export const exact = (x) => x;
/** @type {(x: Value) => Value} */
const single = (x) => (typeof x === "number" || x.data ? mapped(Math.fround, x) : x);
/** @type {(dtype: string | undefined) => (x: Value) => Value} */
export const rounding = (dtype) => (dtype === "float32" ? single : exact);
