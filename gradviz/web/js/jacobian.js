// The local derivatives of an edge between single numbers, a row of the Jacobian matrix at a time.
//
// A row is a VJP of a unit vector. Values are those that are shown, whoever computed them: only the
// steps between operands and result are computed again, and have to give the value that is shown.

import { axesOf, flat, grid, sizeOf } from "./arrays.js";
import { finite, isNumber, norm, scalar } from "./numbers.js";
import { Machine } from "./program.js";
import { Rules } from "./rules.js";

/** @import { Value } from "./arrays.js" */
/** @import { Session } from "./session.js" */

/** @typedef {(k: number) => number[]} Row */

const NEAR = { float64: 1e-9, float32: 1e-4 };

/** What is shown of a value as numbers, if all are. @type {(q: Quantity) => Value | undefined} */
function wholly(q) {
  if (isNumber(q)) return scalar(q);
  const shape = axesOf(q.shape);
  if (q.first?.length !== sizeOf(shape)) return undefined;
  return grid(shape, Float64Array.from(q.first, scalar));
}

/** @type {(found: Value, expected: Value, near: number) => boolean} */
function alike(found, expected, near) {
  const [some, others] = [flat(found), Array.from(flat(expected))];
  const most = Math.max(...others.map(Math.abs).filter(finite), 0);
  return others.every(
    (x, k) => Object.is(x, some[k]) || Math.abs(x - some[k]) <= near * (Math.abs(x) + most),
  );
}

/** @type {(row: Row) => Row} each is computed once */
function remembered(row) {
  /** @type {number[][]} */
  const known = [];
  return (k) => {
    known[k] ??= row(k);
    return known[k];
  };
}

/** Of one graph and all its edges. */
export class Jacobians {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    const { program } = session.structure;
    this.machine = program && new Machine(program);
    /** @type {Map<number, number>} the shown values by their operations */
    this.owns = new Map(program?.shown.map(([own], i) => [own, i]));
    this.numbers = session.numbers;
    /** @type {Map<number, Row>} of the edges that were asked about, with these numbers */
    this.known = new Map();
  }

  /** @param {number} i */
  near(i) {
    return this.session.nodes[i].dtype === "float32" ? NEAR.float32 : NEAR.float64;
  }

  /**
   * The rows of an edge's Jacobian; throws what is to be said where they cannot be computed.
   * @param {number} e
   */
  edge(e) {
    const { numbers } = this.session;
    if (this.numbers !== numbers) this.known.clear();
    this.numbers = numbers;
    const row = this.known.get(e) ?? remembered(this.rowsOf(e));
    this.known.set(e, row);
    return row;
  }

  /**
   * @param {number} e
   * @returns {Row}
   */
  rowsOf(e) {
    const { session, machine } = this;
    const { edges, numbers, nodes } = session;
    const { v, key } = edges[e];
    const no = (/** @type {string} */ why) =>
      new Error(session.t(why, { e: session.edgeName(e, "name"), name: nodes[v].name }));
    if (!machine) throw new Error(session.t("lensRefused", { why: session.why }));
    const shown = machine.program.shown[v];
    const [own, steps, outside] = shown;
    const rules = new Rules(machine);
    for (const u of outside) {
      const i = this.owns.get(u);
      const value = i === undefined ? rules.values[u] : wholly(numbers.values[i]);
      if (value === undefined) throw no("lensLarge");
      rules.values[u] = value;
    }
    const expected = wholly(numbers.values[v]);
    if (expected === undefined) throw no("lensLarge");
    for (const step of steps) rules.compute(step);
    if (!alike(rules.values[own], expected, this.near(v))) throw no("disagrees");
    rules.values[own] = expected;
    const pulled = (/** @type {Value} */ g) => rules.back(shown, key, g);
    this.agrees(e, pulled, no);
    const size = flat(expected).length;
    const shape = axesOf(nodes[v].shape);
    return (/** @type {number} */ k) => {
      const unit = new Float64Array(size);
      unit[k] = 1;
      const row = pulled(grid(shape, unit));
      if (row === undefined) throw no("lensFlat");
      // A 0 of the unit vector times what is not finite would be no number.
      if (!Array.from(flat(row)).every(finite)) throw no("lensBroken");
      return Array.from(flat(row));
    };
  }

  /**
   * The VJP of the upstream term is the message that is shown.
   * @type {(e: number, pulled: (g: Value) => Value | undefined, no: (why: string) => Error) => void}
   */
  agrees(e, pulled, no) {
    const { numbers, edges } = this.session;
    const [sent, g] = [numbers.messages[e], numbers.grads[edges[e].v]];
    const upstream = g === null ? undefined : wholly(g);
    if (sent === null || upstream === undefined || !finite(norm(sent))) return;
    const size = Math.hypot(...Array.from(flat(pulled(upstream) ?? NaN)));
    const near = this.near(edges[e].u);
    if (!(Math.abs(size - norm(sent)) <= 10 * near * (size + norm(sent)) + near ** 2))
      throw no("disagrees");
  }
}
