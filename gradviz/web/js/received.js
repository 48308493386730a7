// How one number of an array gets its gradient: a message from each number that it reaches.

import { axesOf, sizeOf } from "./arrays.js";
import { block, hint, html } from "./elements.js";
import { continued, equation, few, joined, numeral, op, row, slope } from "./formulas.js";
import { isNumber, scalar } from "./numbers.js";

/** @import { Jacobians } from "./jacobian.js" */
/** @import { Session } from "./session.js" */
/** @typedef {{node: number, at: number}} Place */

const IN_LINE = 3; // so many products stand in a line

/**
 * The numbers of a value and those of its gradient, as far as they are here and told.
 * @param {Session} session
 * @param {number} i
 */
export function oneByOne({ numbers }, i) {
  const of = (/** @type {Quantity | null} */ q) =>
    q === null ? [] : isNumber(q) ? [scalar(q)] : (q.first ?? []).map(scalar);
  const told = ["number", "non-finite", "zero"].includes(numbers.states[i]);
  return { values: of(numbers.values[i]), grads: told ? of(numbers.grads[i]) : [] };
}

/**
 * A number of an array in a formula.
 * @type {(session: Session, i: number, at: number) => Formula}
 */
function label(session, i, at) {
  const { name, label } = session.nodes[i];
  const place = session.called(i, at).slice(name.length);
  return place ? row(label, { math: ["mtext", place], tex: place }) : label;
}

/**
 * The messages to a number, in symbols and in numbers; undefined where one is not told.
 * @type {(session: Session, jacobians: Jacobians, place: Place) => [Formula, Formula][] | undefined}
 */
function messagesTo(session, jacobians, { node, at }) {
  const { nodes, edges, output, numbers } = session;
  /** @type {[Formula, Formula][]} */
  const found = [];
  for (const [e, { u, v }] of edges.entries()) {
    if (u !== node || numbers.messages[e] === null) continue;
    const derivatives = jacobians.edge(e);
    const { grads } = oneByOne(session, v);
    for (let k = 0; k < sizeOf(axesOf(nodes[v].shape)); k++) {
      const d = derivatives(k)[at];
      if (d === 0) continue;
      if (grads[k] === undefined) return undefined;
      const local = slope(label(session, v, k), label(session, node, at));
      const above = slope(nodes[output].label, label(session, v, k));
      const product = joined([numeral(grads[k], true), numeral(d, true)], "·");
      found.push(v === output ? [local, numeral(d, true)] : [joined([above, local], "·"), product]);
    }
  }
  return found;
}

/**
 * @type {(session: Session, jacobians: Jacobians, place: Place) => Element[]}
 */
export function received(session, jacobians, place) {
  const { node, at } = place;
  const gradient = oneByOne(session, node).grads[at];
  if (gradient === undefined) return [];
  /** @type {[Formula, Formula][] | undefined} */
  let messages;
  try {
    messages = messagesTo(session, jacobians, place);
  } catch {
    return []; // the tables of local derivatives say why
  }
  if (messages === undefined) return [];
  const x = session.called(node, at);
  const n = messages.length;
  if (!n) return [hint(session.t("reachesNothing", { x }))];
  const head = slope(session.nodes[session.output].label, label(session, node, at));
  const terms = few(messages, /** @type {[Formula, Formula]} */ ([op("…"), op("…")]));
  const [symbols, products] = [0, 1].map((kind) =>
    Array.from({ length: Math.ceil(terms.length / IN_LINE) }, (_, line) =>
      joined(
        terms.slice(line * IN_LINE, (line + 1) * IN_LINE).map((term) => term[kind]),
        "+",
      ),
    ),
  );
  const lines = [
    ...symbols.map((part, line) => (line ? continued("+", part) : equation(head, part))),
    ...products.map((part, line) => continued(line ? "+" : "=", part)),
    ...(n > 1 || products[0].tex !== numeral(gradient).tex
      ? [continued("=", numeral(gradient))]
      : []),
  ];
  return [
    ...(n > 1 ? [hint(session.t("reachesMany", { x, n, J: session.loss }))] : []),
    html("div", { class: "formulas" }, block(lines)),
  ];
}
