// What stepping goes through, and where it stops.
//
// Without targets that is both passes, as they were recorded. With targets the backward pass is
// their ledger, in its order: what is computed for the first, what the next ones read from the
// cache and what they compute besides.

import { boxOf } from "./boxes.js";

/** @import { Chain } from "./chain.js" */
/** @typedef {Step | ["cached", number]} Event a target whose gradient is in the cache already */

/**
 * @typedef {object} Course
 * @property {Event[]} events
 * @property {number[]} parts the target that each event is for, by its place; -1 without one
 * @property {number[]} stops the events after which stepping stops
 */

/**
 * @param {Chain} chain
 * @param {number[]} targets
 * @param {Drawing} drawing a closed fold is one step
 * @returns {Course}
 */
export function courseOf(chain, targets, drawing) {
  const { events, parts } = targets.length ? ofLedger(chain, targets) : ofBoth(chain.structure);
  const fold = (/** @type {number} */ n) => {
    const [kind, what] = events[n];
    const { u, v } = chain.structure.edges[what] ?? {};
    const i = kind !== "message" ? what : targets.length ? u : v;
    const box = boxOf(drawing, i);
    const folded = box in drawing.closed && (kind === "value" || kind === "message");
    return folded ? `${kind} ${box} ${parts[n]}` : "";
  };
  const stops = [];
  for (let n = 0; n < events.length; n++) {
    if (n === events.length - 1 || !fold(n) || fold(n) !== fold(n + 1)) stops.push(n);
  }
  return { events, parts, stops };
}

/** @param {Structure} structure */
const ofBoth = ({ steps }) => ({
  events: /** @type {Event[]} */ (steps),
  parts: steps.map(() => -1),
});

/**
 * @param {Chain} chain
 * @param {number[]} targets
 */
function ofLedger(chain, targets) {
  const { steps } = chain.structure;
  const sent = new Set(steps.flatMap(([kind, e]) => (kind === "message" ? [e] : [])));
  /** @type {Event[]} */
  const events = steps.filter(([kind]) => kind !== "message" && kind !== "done");
  const parts = events.map(() => -1);
  for (const [part, { target, edges }] of chain.ledger(targets).rows.entries()) {
    /** @type {Event[]} */
    const own = edges.filter((e) => sent.has(e)).map((e) => ["message", e]);
    if (!edges.length) own.push(["cached", target]);
    events.push(...own);
    parts.push(...own.map(() => part));
  }
  return { events: /** @type {Event[]} */ ([...events, ["done"]]), parts: [...parts, -1] };
}
