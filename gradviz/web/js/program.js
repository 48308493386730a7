// A program of scalar operations, computed here.
//
// It travels as data, the formulas of its operations' rows (see gradviz/web/program.py), and is
// interpreted: the content-security policy allows no code but this file's, and no operation has to
// be written twice.

import { finite, scalar, wire } from "./numbers.js";

const SMALLEST_NORMAL = 2.2250738585072014e-308;

/** @typedef {Record<string, number | undefined>} Names */

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
  clip: (a, b, c) => Math.min(Math.max(a, b), c),
  fmod: (a, b) => a % b,
  isnan: (a) => +Number.isNaN(a),
  isfinite: (a) => +Number.isFinite(a),
  copysign: (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
  logaddexp: (a, b) =>
    a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
};

/**
 * A row's formula at some operands.
 * @param {ProgramTree} tree
 * @param {Names} names
 * @returns {number}
 */
function evaluate(tree, names) {
  if (typeof tree === "number") return tree;
  if (typeof tree === "string") return names[tree] ?? NaN;
  const [name, ...parts] = tree;
  return FUNCTIONS[String(name)](...parts.map((part) => evaluate(part, names)));
}

/** Both passes of a program for some leaf values (by shown node). */
class Run {
  /**
   * @param {Program} program
   * @param {Record<number, number>} leaves
   */
  constructor(program, leaves) {
    this.program = program;
    this.varying = new Set(program.varying);
    /** @type {number[]} */
    this.values = [];
    program.shown.forEach(([own], i) => {
      if (i in leaves) this.values[own] = leaves[i];
    });
    program.nodes.forEach(([name], v) => {
      if (name) this.values[v] = evaluate(program.rows[name].value, this.names(v));
      else if (v in program.constants) this.values[v] = scalar(program.constants[v]);
    });
    /** @type {(number | undefined)[]} */
    this.gradients = [];
    /** @type {Map<string, number>} */
    this.messages = new Map();
    this.backward();
    this.lost = this.underflows();
  }

  /**
   * @param {number} v
   * @returns {Names}
   */
  names(v) {
    const [a, b, c] = this.program.nodes[v][1].map((u) => this.values[u]);
    return { a, b, c, v: this.values[v] };
  }

  /** @type {(v: number, key: number) => number | null} */
  local(v, key) {
    const { nodes, rows } = this.program;
    const rule = rows[nodes[v][0] ?? ""].locals[key];
    return rule === null ? null : evaluate(rule, this.names(v));
  }

  backward() {
    const { nodes, output } = this.program;
    const { gradients, varying } = this;
    if (varying.has(output)) gradients[output] = 1;
    for (let v = output; v >= 0; v--) {
      const upstream = gradients[v];
      if (upstream === undefined || !nodes[v][0]) continue;
      nodes[v][1].forEach((u, key) => {
        const slope = varying.has(u) ? this.local(v, key) : null;
        if (slope === null) return;
        const message = upstream * slope;
        this.messages.set(`${v} ${key}`, message);
        gradients[u] = added(gradients[u], message);
      });
    }
  }

  /** A zero that is only too small a product: computed again from an upstream term of size 1. */
  underflows() {
    const { nodes, output } = this.program;
    /** @type {Map<number, number>} */
    const lost = new Map();
    for (let v = output; v >= 0; v--) {
      const upstream = this.gradients[v] || lost.get(v);
      if (!upstream || !finite(upstream) || !nodes[v][0]) continue;
      nodes[v][1].forEach((u, key) => {
        if (this.messages.get(`${v} ${key}`) !== 0 || this.gradients[u]) return;
        const again = Math.sign(upstream) * (this.local(v, key) ?? 0);
        if (again) lost.set(u, (lost.get(u) ?? 0) + again);
      });
    }
    return lost;
  }

  /**
   * @param {number} v
   * @returns {GradientState}
   */
  state(v) {
    const g = this.gradients[v];
    if (g === undefined) return this.varying.has(v) ? "disconnected" : "not computed";
    if (!finite(g)) return "non-finite";
    if (g === 0) return this.lost.has(v) ? "underflown" : "zero";
    return Math.abs(g) < SMALLEST_NORMAL ? "underflown" : "number";
  }

  /**
   * What comes back to an operand. One shown value may stand for several operations: what passes
   * back through them is summed.
   * @param {ShownSteps} shown
   * @param {number} key
   * @param {number} seed
   * @returns {number | null}
   */
  pull([own, steps, outside], key, seed) {
    const { nodes } = this.program;
    if (steps.length === 1 && outside.length === nodes[own][1].length) {
      const slope = this.local(own, key);
      return slope === null ? null : seed * slope;
    }
    /** @type {Map<number, number>} */
    const got = new Map([[own, seed]]);
    for (const v of [...steps].reverse()) {
      const upstream = got.get(v);
      if (upstream === undefined) continue;
      nodes[v][1].forEach((u, k) => {
        if (u !== outside[key] && !steps.includes(u)) return;
        const slope = this.local(v, k);
        if (slope !== null) got.set(u, added(got.get(u), upstream * slope));
      });
    }
    return got.get(outside[key]) ?? null;
  }
}

/** @type {(sum: number | undefined, term: number) => number} */
const added = (sum, term) => (sum === undefined ? term : sum + term);
/** @type {(x: number | null | undefined) => number | string | null} */
const orNull = (x) => (x === null || x === undefined ? null : wire(x));

/**
 * Both passes of a program for new leaf values (by shown node): what Python's `numbers` returns.
 * @param {Program} program
 * @param {Story["edges"]} edges
 * @param {Record<number, number>} leaves
 * @returns {Numbers}
 */
export function compute(program, edges, leaves) {
  const run = new Run(program, leaves);
  const { shown } = program;
  return {
    values: shown.map(([own]) => wire(run.values[own])),
    grads: shown.map(([own]) => orNull(run.gradients[own])),
    states: shown.map(([own]) => run.state(own)),
    locals: edges.map(({ v, key }) => orNull(run.pull(shown[v], key, 1))),
    messages: edges.map(({ v, key }) => {
      const [own, , outside] = shown[v];
      const upstream = run.gradients[own];
      if (upstream === undefined || !run.varying.has(outside[key])) return null;
      return orNull(run.pull(shown[v], key, upstream));
    }),
    trouble: "",
  };
}
