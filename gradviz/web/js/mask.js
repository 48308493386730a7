// What a step does not tell yet: results that are not computed are hidden wherever they are said.

import { UNKNOWN } from "./numbers.js";

/** @import { Session } from "./session.js" */

/**
 * The numbers, each of them unknown until its step has come.
 * @type {(session: Session, numbers: Numbers) => Numbers}
 */
export function masked(session, numbers) {
  if (session.done) return numbers;
  const { past, chain, edges } = session;
  const { values, sums, sent } = past;
  /**
   * @template {Quantity | null} T
   * @param {T[]} all
   * @param {(n: number) => boolean} known
   */
  const unless = (all, known) => all.map((q, n) => (q === null || known(n) ? q : UNKNOWN));
  // In a lesson a local derivative is told when its edge has sent its message, or been asked about.
  const lesson = session.get("lesson") && session.get("limit") !== null;
  const known = new Set(lesson ? session.answered() : []);
  const local = (/** @type {number} */ e) =>
    values.has(edges[e].v) && (!lesson || sent.has(e) || known.has(e));
  const summed = (/** @type {number} */ i) => (sums.get(i)?.length ?? -1) >= chain.terms(i);
  return {
    ...numbers,
    values: unless(numbers.values, (i) => values.has(i)),
    grads: unless(numbers.grads, summed),
    states: numbers.states.map((state, i) =>
      numbers.grads[i] === null || summed(i) ? state : "number",
    ),
    locals: unless(numbers.locals, local),
    messages: unless(numbers.messages, (e) => sent.has(e)),
  };
}
