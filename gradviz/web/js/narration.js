// What is told of a step, in a sentence and as formulas.

import { SHOWN_PATHS } from "./chain.js";
import { formula, html } from "./elements.js";
import { amount, equation, numeral, row } from "./formulas.js";
import { isNumber } from "./numbers.js";
import { gradient, local, message, pathLines, runningSum, valueLines } from "./rule.js";

/** @import { Children } from "./elements.js" */
/** @import { Line } from "./formulas.js" */
/** @import { Session } from "./session.js" */

/**
 * @typedef {object} Told
 * @property {string} place where both passes stand
 * @property {Children} words
 * @property {Line[]} lines
 * @property {Children} held
 */

/**
 * What ∂₁v means, where some of the edges are written so.
 * @type {(session: Session, edges: Iterable<number>) => Element[]}
 */
export function held(session, edges) {
  const alone = [...new Set(edges)].filter((e) => session.edges[e].alone);
  return alone.slice(0, SHOWN_PATHS).map((e) => {
    const { u, key } = session.edges[e];
    const d = formula(local(session, e));
    const said = session.say("held", { d, n: key + 1, u: formula(session.nodes[u].label) });
    return html("p", { class: "hint held" }, said);
  });
}

/**
 * @param {Session} session
 * @returns {Told}
 */
export function told(session) {
  const { nodes, story, step } = session;
  const [kind, what] = session.past.now;
  const forward = story.steps.filter(([k]) => k === "value").length;
  const backward = story.steps.filter(([k]) => k === "message").length;
  const atForward = (/** @type {number} */ n) => session.t("atForward", { n, m: forward });
  const atBackward = (/** @type {number} */ n) => session.t("atBackward", { n, m: backward });
  switch (kind) {
    case "given":
      return { place: atForward(0), words: session.say("given"), lines: [], held: [] };
    case "value": {
      const v = formula(nodes[what].label);
      const words = session.say("value", { v, n: nodes[what].name });
      const lines = valueLines(session, what, amount(session.numbers.values[what]));
      return { place: atForward(step), words, lines, held: [] };
    }
    case "seed": {
      const d = gradient(session, what);
      const words = session.say("seed", { d: formula(d), v: formula(nodes[what].label) });
      return { place: atBackward(0), words, lines: [equation(d, numeral(1))], held: [] };
    }
    case "message":
      return { place: atBackward(step - forward - 1), ...sent(session, what) };
    default:
      return { place: session.t("atEnd"), ...answer(session) };
  }
}

/**
 * A message that an edge sends back.
 * @param {Session} session
 * @param {number} e
 */
function sent(session, e) {
  const { u, v } = session.edges[e];
  const { reads, sums } = session.past;
  const k = reads.get(v) ?? 0;
  const sum = sums.get(u) ?? { total: 0, terms: 0 };
  const terms = session.chain.terms(u);
  const read = session.say(k === 1 ? "readFirst" : "readAgain", {
    d: formula(gradient(session, v)),
    k: session.ordinal(k),
  });
  const summed = session.say(terms === 1 ? "whole" : sum.terms === terms ? "sumLast" : "sum", {
    u: formula(gradient(session, u)),
    n: sum.terms,
    m: terms,
  });
  const lines = [message(session, e)];
  if (terms > 1 && isNumber(session.numbers.messages[e])) {
    lines.push(runningSum(session, u, numeral(sum.total), sum.terms < terms));
  }
  return { words: [...read, " ", ...summed], lines, held: held(session, [e]) };
}

/**
 * After both passes: the answer to what is asked for, where everybody looks.
 * @param {Session} session
 */
function answer(session) {
  const node = session.selection()[0]?.node;
  if (node === undefined || !session.hasChain(node)) {
    return { words: session.say("done"), lines: [], held: [] };
  }
  const paths = session.chain.paths(node, session.numbers.locals, 2);
  const rest = session.chain.counts.paths[node] - BigInt(paths.length);
  const lines = pathLines(session, node, paths, rest).map(([first, ...more]) => ({
    ...row(first, ...more),
    aligned: [first.aligned, ...more.map(({ tex }) => tex)].join(" "),
  }));
  return {
    words: [],
    lines,
    held: held(
      session,
      paths.flatMap((path) => path.edges),
    ),
  };
}
