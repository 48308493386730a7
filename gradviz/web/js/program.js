// The recorded program, computed here.
//
// It travels as data, the formulas of its operations' rows (see gradviz/web/program.py), and is
// interpreted: the content-security policy allows no code but this file's, and no operation has to
// be written twice.

import { flat, unpackedArray } from "./arrays.js";
import { scalar } from "./numbers.js";
import { Run } from "./run.js";
import { localQuantity, mapSide, quantity } from "./shown.js";

/** @import { Value } from "./arrays.js" */
/** @import { Names } from "./functions.js" */
/** @import { Leaves } from "./run.js" */

/** @type {(x: Value, y: Value) => boolean} */
const identical = (x, y) => {
  const [some, others] = [flat(x), flat(y)];
  return some.length === others.length && Array.from(some).every((a, i) => Object.is(a, others[i]));
};
/** @type {(given: Scalar | Entries) => Value} */
const ready = (given) => (typeof given === "object" ? unpackedArray(given) : scalar(given));
/** Settings with their arrays unpacked. @type {(given: any) => any} */
const unpackedSettings = (given) => {
  if (Array.isArray(given)) return given.map(unpackedSettings);
  return typeof given === "object" ? unpackedArray(given) : given;
};
/** @type {(settings: Names) => Names} */
const settled = (settings) =>
  Object.fromEntries(Object.entries(settings).map(([k, given]) => [k, unpackedSettings(given)]));

/** A program with its arrays unpacked, and what was recorded of it. */
export class Machine {
  /** @param {Program} program */
  constructor(program) {
    this.program = program;
    this.varying = new Set(program.varying);
    /** @type {Map<number, Value>} */
    this.constants = new Map();
    for (const [v, given] of Object.entries(program.constants)) {
      const value = ready(given);
      this.constants.set(Number(v), value);
    }
    this.settings = program.nodes.map(([, , settings]) => settled(settings ?? {}));
    this.guards = program.guards.map((guard) => ({ ...guard, settings: settled(guard.settings) }));
    /** @type {Leaves} */
    this.recorded = {};
    program.shown.forEach(([own], i) => {
      if (own in program.leaves) this.recorded[i] = ready(program.leaves[own]);
    });
    /** @type {Value[] | undefined} */
    this.answers = undefined;
  }

  /**
   * Both passes for other leaf values.
   * @param {Leaves} leaves
   */
  run(leaves) {
    this.answers ??= new Run(this, this.recorded).answers();
    const run = new Run(this, leaves);
    const other = run.answers().findIndex((x, i) => !identical(x, this.answers?.[i] ?? NaN));
    return { run, astray: other < 0 ? undefined : this.guards[other].place };
  }
}

/**
 * What Python's `numbers` returns of a run.
 * @param {Run} run
 * @param {Structure} structure
 * @returns {Numbers}
 */
export function numbersOfRun(run, { nodes, edges }) {
  const { shown } = run.program;
  const values = shown.map(([own]) => run.values[own]);
  const grads = shown.map(([own]) => run.gradients[own]);
  const most = mapSide([...values, ...grads]);
  const dtype = (/** @type {number} */ i) => nodes[i].dtype;
  return {
    values: values.map((x, i) => quantity(x, dtype(i), most)),
    grads: grads.map((x, i) => (x === undefined ? null : quantity(x, dtype(i), most))),
    states: shown.map(([own]) => run.state(own)),
    locals: edges.map(({ v, key }) => {
      const local = run.slope(shown[v], key);
      return local === null ? null : localQuantity(local, dtype(v));
    }),
    messages: edges.map(({ u, v, key }) => {
      const message = run.message(shown[v], key);
      return message === null ? null : quantity(message, dtype(u));
    }),
    trouble: "",
  };
}
