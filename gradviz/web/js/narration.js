// What is told of a step, in a sentence and as formulas.

import { SHOWN_PATHS } from "./chain.js";
import { formula, html } from "./elements.js";
import { amount, equation, few, numeral, row } from "./formulas.js";
import {
  barred,
  gradient,
  local,
  localLines,
  message,
  pathLines,
  summed,
  valueLines,
} from "./rule.js";

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
  const { course, past, step } = session;
  const stops = (/** @type {string} */ wanted) =>
    course.stops.filter((stop) => course.events[stop][0] === wanted);
  const place = (/** @type {string} */ key, /** @type {number[]} */ all) =>
    session.t(key, { n: all.filter((stop) => stop <= step).length, m: all.length });
  const forward = stops("value");
  const backward = [...stops("message"), ...stops("cached")];
  const [kind, what] = past.now[0];
  if (kind === "given") {
    const words = session.say("given");
    return { place: place("atForward", forward), words, lines: [], held: [] };
  }
  if (kind === "value") return { place: place("atForward", forward), ...computed(session) };
  if (kind === "done") return { place: session.t("atEnd"), ...answer(session) };
  const at = place("atBackward", backward);
  if (kind === "message") return { place: at, ...sent(session) };
  const d = formula(gradient(session, what));
  if (kind === "cached") {
    const words = [...purpose(session), ...session.say("inCache", { d })];
    const known = amount(session.numbers.grads[what]);
    return { place: at, words, lines: [equation(gradient(session, what), known)], held: [] };
  }
  const words = session.say("seed", {
    d,
    v: formula(session.nodes[what].label),
    ...named(session),
  });
  return { place: at, words, lines: [equation(gradient(session, what), numeral(1))], held: [] };
}

/** @param {Session} session */
const named = (session) => ({ J: formula(session.nodes[session.output].label) });

/**
 * With targets: for which of them this step is.
 * @param {Session} session
 */
function purpose(session) {
  const targets = session.targets();
  const { part } = session.past;
  if (part < 0) return [];
  const d = formula(gradient(session, targets[part]));
  return session.say("forTarget", { d, n: part + 1, m: targets.length });
}

/**
 * What is computed from which values, and how many messages will come back to it.
 * @param {Session} session
 */
function computed(session) {
  const { nodes, edges, chain, numbers, past, course } = session;
  const done = past.now.map(([, what]) => /** @type {number} */ (what));
  const what = done[done.length - 1];
  const v = formula(nodes[what].label);
  if (done.length > 1) {
    const words = session.say("valueFold", { v, n: done.length, fold: session.foldOf(what) });
    return { words, lines: valueLines(session, what, amount(numbers.values[what])), held: [] };
  }
  const read = few([...new Set(chain.into[what].map((e) => edges[e].u))], -1);
  const us = read.flatMap((u, n) => [n ? ", " : "", u < 0 ? "…" : formula(nodes[u].label)]);
  const back = course.events.filter(
    ([kind, e]) => kind === "message" && edges[/** @type {number} */ (e)].u === what,
  ).length;
  const kept = chain.out[what].length ? "valueUnasked" : "valueNone";
  const why =
    what === session.output ? "valueLast" : back > 1 ? "valueMany" : back ? "valueOne" : kept;
  const again = formula(nodes[what].label);
  return {
    words: [
      ...session.say("value", { v, us }),
      " ",
      ...session.say(why, { v: again, n: back, ...named(session) }),
    ],
    lines: valueLines(session, what, amount(numbers.values[what])),
    held: [],
  };
}

/** @type {(session: Session, e: number) => boolean} */
const isMap = ({ edges }, e) => ["map", "mean", "product", "spread"].includes(edges[e].why);

/**
 * The messages of a step: one, or all of a closed fold.
 * @param {Session} session
 */
function sent(session) {
  const { nodes, past, chain, course } = session;
  const edges = past.now.map(([, e]) => /** @type {number} */ (e));
  if (edges.length > 1) {
    const box = session.edges[edges[0]][session.targets().length ? "u" : "v"];
    const words = session.say("messageFold", { n: edges.length, fold: session.foldOf(box) });
    return { words: [...purpose(session), ...words], lines: [], held: [] };
  }
  const [e] = edges;
  const { u, v, why, vjp } = session.edges[e];
  const k = past.reads.get(v) ?? 0;
  const n = past.sums.get(u)?.length ?? 0;
  const m = chain.terms(u);
  const first = course.events.findIndex(([kind]) => kind === "message") === session.step;
  const places = () => ({
    d: formula(gradient(session, v)),
    u: formula(nodes[u].label),
    v: formula(nodes[v].label),
    s: formula(gradient(session, u)),
    l: formula(local(session, e)),
    k: session.ordinal(k),
    ...named(session),
    n,
    m,
  });
  const summing = m === 1 ? "whole" : n === m ? "sumLast" : n === 1 ? "sumFirst" : "sum";
  const reading = v === session.output ? "readSeed" : k === 1 ? "readFirst" : "readAgain";
  // What a linear map is, is told once: of the first message that has one.
  const before = course.events.slice(0, session.step);
  const again = before.some(([kind, o = -1]) => kind === "message" && isMap(session, o));
  const because = [
    isMap(session, e) && !again && "why map",
    why === "map" ? again && "why again" : why && `why ${why}`,
  ];
  const said = [reading, first && "messageIs", ...because, summing].filter(Boolean);
  const bar = vjp && v !== session.output;
  const short = { b: formula(barred(nodes[v].label)), d: formula(gradient(session, v)) };
  return {
    words: [
      ...purpose(session),
      ...said.flatMap((key) => [...session.say(String(key), places()), " "]),
    ],
    lines: [...localLines(session, e), message(session, e), ...summed(session, u)],
    held: [
      ...held(session, [e]),
      ...(bar ? [html("p", { class: "hint held" }, session.say("bar", short))] : []),
    ],
  };
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
