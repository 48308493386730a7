// Both passes of a program, once.

import { flat, mapped, sameShape, shapeOf, spreadTo, top } from "./arrays.js";
import { evaluate, exact, FUNCTIONS } from "./functions.js";
import { finite } from "./numbers.js";
import { LETTERS, Rules } from "./rules.js";

/** @import { Value } from "./arrays.js" */
/** @import { Machine } from "./program.js" */
/** @typedef {Record<number, Value>} Leaves by shown node */

const TINY = { float64: 2.2250738585072014e-308, float32: 1.1754943508222875e-38 };

/** @type {(x: Value) => boolean} */
const isZero = (x) => top(x) === 0;

/** Both passes of a program for some leaf values. */
export class Run extends Rules {
  /**
   * @param {Machine} machine
   * @param {Leaves} leaves
   */
  constructor(machine, leaves) {
    super(machine);
    const { program } = machine;
    program.shown.forEach(([own], i) => {
      if (i in leaves) this.values[own] = leaves[i];
    });
    program.nodes.forEach(([name], v) => {
      if (name) this.compute(v);
    });
    /** @type {(Value | undefined)[]} */
    this.gradients = [];
    /** @type {Map<string, Value>} */
    this.messages = new Map();
    this.backward();
    /** @type {Map<number, Value> | undefined} */
    this.found = undefined;
  }

  /** What the program asked of these values. */
  answers() {
    return this.machine.guards.map(({ row, operands, settings }) => {
      const names = { ...settings };
      for (const [k, u] of operands.entries()) names[LETTERS[k]] = this.values[u];
      return /** @type {Value} */ (evaluate(this.program.rows[row].value, names, exact));
    });
  }

  backward() {
    const { nodes, output } = this.program;
    const { gradients, varying } = this;
    if (varying.has(output)) gradients[output] = spreadTo(1, shapeOf(this.values[output]));
    for (let v = output; v >= 0; v--) {
      const upstream = gradients[v];
      if (upstream === undefined || !nodes[v][0]) continue;
      nodes[v][1].forEach((u, key) => {
        if (!varying.has(u) || !this.carries(v, key)) return;
        const message = this.pull(v, key, upstream);
        this.messages.set(`${v} ${key}`, message);
        gradients[u] = this.added(u, gradients[u], message);
      });
    }
  }

  /** What underflows, once somebody asks. */
  get lost() {
    this.found ??= this.underflows();
    return this.found;
  }

  /** A zero that is only too small a product: computed again from an upstream term of size 1. */
  underflows() {
    const { nodes, output } = this.program;
    /** @type {Map<number, Value>} */
    const lost = new Map();
    for (let v = output; v >= 0; v--) {
      const own = this.gradients[v];
      const upstream = own !== undefined && !isZero(own) ? own : lost.get(v);
      if (upstream === undefined || !nodes[v][0]) continue;
      const most = top(upstream);
      if (!(most > 0 && finite(most))) continue;
      nodes[v][1].forEach((u, key) => {
        const [message, gradient] = [this.messages.get(`${v} ${key}`), this.gradients[u]];
        if (message === undefined || !isZero(message) || !isZero(gradient ?? 0)) return;
        const scaled = mapped((x) => x / most, upstream);
        const again = this.pull(v, key, scaled);
        if (!isZero(again)) lost.set(u, this.added(u, lost.get(u), again));
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
    const most = top(g);
    if (!finite(most)) return "non-finite";
    if (most === 0) return this.lost.has(v) ? "underflown" : "zero";
    const tiny = this.program.types[v] === "float32" ? TINY.float32 : TINY.float64;
    return most < tiny ? "underflown" : "number";
  }

  // One shown value may stand for several operations.

  /** @type {(shown: ShownSteps) => boolean} */
  whole([own, steps, outside]) {
    return steps.length === 1 && outside.length === this.program.nodes[own][1].length;
  }

  /**
   * What comes back to an operand of a shown value, summed over the steps that read it.
   * @type {(shown: ShownSteps, key: number) => Value | null}
   */
  message(shown, key) {
    const [own, steps, outside] = shown;
    if (this.whole(shown)) return this.messages.get(`${own} ${key}`) ?? null;
    /** @type {Value | undefined} */
    let sum;
    for (const v of [...steps].reverse()) {
      this.program.nodes[v][1].forEach((u, k) => {
        const message = u === outside[key] ? this.messages.get(`${v} ${k}`) : undefined;
        if (message !== undefined) sum = this.added(u, sum, message);
      });
    }
    return sum ?? null;
  }

  /**
   * The local derivative of a shown value; null where a step is a linear map.
   * @type {(shown: ShownSteps, key: number) => Value | null}
   */
  slope(shown, key) {
    const [own, steps, outside] = shown;
    if (this.whole(shown)) return this.local(own, key);
    const target = outside[key];
    const carriers = new Set([target]);
    const passed = (/** @type {number} */ v) =>
      this.program.nodes[v][1].flatMap((u, k) =>
        carriers.has(u) && this.carries(v, k) ? [k] : [],
      );
    for (const v of steps) if (passed(v).length) carriers.add(v);
    if (!carriers.has(own)) return null;
    const [value, operand] = [this.values[own], this.values[target]];
    const vjp = flat(value).length === 1 && shapeOf(value).length <= shapeOf(operand).length;
    /** @type {Map<number, Value>} */
    const got = new Map([[own, spreadTo(1, shapeOf(value))]]);
    for (const v of [...steps].reverse()) {
      const upstream = got.get(v);
      if (upstream === undefined || !carriers.has(v)) continue;
      for (const k of passed(v)) {
        const u = this.program.nodes[v][1][k];
        const local = vjp ? 0 : this.local(v, k);
        const apart = !vjp && !sameShape(shapeOf(this.values[u]), shapeOf(value));
        if (local === null || apart) return null;
        const message = vjp ? this.pull(v, k, upstream) : mapped(FUNCTIONS["*"], upstream, local);
        got.set(u, this.added(u, got.get(u), message));
      }
    }
    return got.get(target) ?? null;
  }
}
