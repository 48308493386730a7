// What the rows of a program's operations say at some values: results, local derivatives, VJPs.

import { fit, flat, mapped, shapeOf, spreadTo } from "./arrays.js";
import { evaluate, FUNCTIONS, rounding } from "./functions.js";

/** @import { Value } from "./arrays.js" */
/** @import { Names } from "./functions.js" */
/** @import { Machine } from "./program.js" */

export const LETTERS = ["a", "b", "c"];

export class Rules {
  /** @param {Machine} machine */
  constructor(machine) {
    this.machine = machine;
    const { program, constants } = machine;
    this.program = program;
    this.varying = machine.varying;
    /** @type {Value[]} */
    this.values = [];
    for (const [v, value] of constants) this.values[v] = value;
  }

  /** @param {number} v */
  compute(v) {
    this.values[v] = evaluate(this.row(v).value, this.names(v), rounding(this.program.types[v]));
  }

  /**
   * @param {number} v
   * @returns {Names}
   */
  names(v) {
    const { nodes, types, constants } = this.program;
    const round = rounding(types[v]);
    // A number of Python's own takes the type of the array it meets.
    const all = nodes[v][1].map((u) => {
      const value = this.values[u];
      return u in constants && typeof value === "number" ? round(value) : value;
    });
    const [a, b, c] = all;
    return { ...this.machine.settings[v], a, b, c, all, v: this.values[v] };
  }

  /** @param {number} v */
  row(v) {
    return this.program.rows[this.program.nodes[v][0] ?? ""];
  }
  /** @type {(v: number, key: number) => boolean} */
  carries(v, key) {
    const { locals, messages, variadic } = this.row(v);
    const at = variadic ? 0 : key;
    return (locals[at] ?? messages[at]) !== null;
  }
  /**
   * The message to an operand: the upstream term times its local derivative, or its VJP.
   * @type {(v: number, key: number, g: Value) => Value}
   */
  pull(v, key, g) {
    const { nodes, types } = this.program;
    const u = nodes[v][1][key];
    const { locals, messages, variadic } = this.row(v);
    const at = variadic ? 0 : key;
    const round = rounding(types[v]);
    /** @type {Names} */
    const names = { ...this.names(v), g, position: key };
    const { all, back, extra } = names;
    if (back) {
      const others = all.filter((/** @type {Value} */ _, /** @type {number} */ k) => k !== key);
      Object.assign(names, { back: back[key], factors: [g, ...others, ...extra[key]] });
    }
    const whole = messages[at];
    const message =
      whole !== null
        ? evaluate(whole, names, round)
        : round(mapped(FUNCTIONS["*"], g, evaluate(locals[at] ?? 0, names, round)));
    return rounding(types[u])(fit(message, shapeOf(this.values[u])));
  }

  /** The local derivative of an operation, for each element; null of a linear map. @type {(v: number, key: number) => Value | null} */
  local(v, key) {
    if (!this.carries(v, key)) return null;
    const [value, operand] = [this.values[v], this.values[this.program.nodes[v][1][key]]];
    if (flat(value).length === 1 && shapeOf(value).length <= shapeOf(operand).length) {
      return this.pull(v, key, spreadTo(1, shapeOf(value)));
    }
    const { locals, variadic } = this.row(v);
    const rule = locals[variadic ? 0 : key];
    if (rule === null) return null;
    const local = evaluate(rule, this.names(v), rounding(this.program.types[v]));
    return spreadTo(local, shapeOf(value));
  }

  /** @type {(u: number, sum: Value | undefined, term: Value) => Value} */
  added(u, sum, term) {
    if (sum === undefined) return term;
    return rounding(this.program.types[u])(mapped(FUNCTIONS["+"], sum, term));
  }

  /**
   * What a shown value sends back to one of its operands for some upstream term, through all steps
   * that it stands for.
   * @type {(shown: ShownSteps, key: number, g: Value) => Value | undefined}
   */
  back([own, steps, outside], key, g) {
    const operands = this.program.nodes[own][1];
    if (steps.length === 1 && outside.length === operands.length)
      return this.carries(own, key) ? this.pull(own, key, g) : undefined;
    /** @type {Map<number, Value>} */
    const got = new Map([[own, g]]);
    for (const v of [...steps].reverse()) {
      const upstream = got.get(v);
      if (upstream === undefined) continue;
      this.program.nodes[v][1].forEach((u, k) => {
        const asked = u === outside[key] || steps.includes(u);
        if (asked && this.carries(v, k))
          got.set(u, this.added(u, got.get(u), this.pull(v, k, upstream)));
      });
    }
    return got.get(outside[key]);
  }
}
