// What the picture says at a step: the numbers of cards and edges, marks, badges.

import { headed } from "./boxes.js";
import { cells, full, isNumber, listed, minus, norm, scalar, short, UNKNOWN } from "./numbers.js";

/** @import { Badge, Marked } from "./picture.js" */
/** @import { Session } from "./session.js" */

/**
 * A value's cells, as far as it is computed.
 * @type {(session: Session, i: number) => string[]}
 */
export const valueCells = ({ numbers, past }, i) =>
  past.values.has(i) ? cells(numbers.values[i]) : [""];

/**
 * What the gradient's row says, and whether in words.
 * @param {Session} session
 * @param {number} i
 * @returns {[string[], boolean]}
 */
export function gradientCells(session, i) {
  const { numbers, past, chain } = session;
  const state = numbers.states[i];
  const grad = numbers.grads[i];
  if (!session.done) {
    const sum = past.sums.get(i);
    if (!sum) return [[""], false];
    if (sum.length < chain.terms(i)) {
      // a running sum is no gradient yet
      const known = sum.length && sum.every((e) => isNumber(numbers.messages[e]));
      const total = sum.reduce((all, e) => all + scalar(numbers.messages[e]), 0);
      return [[known ? `${short(total)} + …` : "…"], false];
    }
  }
  if (state === "number") return [cells(grad), false];
  const extra = state === "non-finite" && isNumber(grad) ? `${short(scalar(grad))} ` : "";
  return [[extra + session.stateInWords(i)], true];
}

/**
 * Numbers, read aloud: one, those of a small array, or what is told of a larger one.
 * @type {(session: Session, q: Quantity | null) => string}
 */
function aloud(session, q) {
  const { picture } = session.words;
  const said = cells(q).map((cell) => cell.replace(/^(all|empty)\b/, (w) => picture[w] ?? w));
  if (q === null || isNumber(q) || listed(q) || said.length !== 3) return listed(q) || said.join();
  const [low, mean, high] = said;
  return session.t("spread", { low, mean, high });
}

/**
 * What the panel says of a quantity; of a large array its shape, and from where to where it goes.
 * @type {(session: Session, q: Quantity | null) => string}
 */
export const inFull = (session, q) =>
  q === null || isNumber(q) || !q.shape || q.full.startsWith("[")
    ? full(q)
    : `${q.shape}: ${aloud(session, q)}`;

/**
 * A card, read aloud: what its heading says, and the value in it.
 * @type {(session: Session, i: number, box: SVGGElement) => string}
 */
export function spoken(session, i, box) {
  const { nodes, past, loss, numbers, done } = session;
  const { name, shape } = nodes[i];
  const by = shape.split("×").join(session.t("by"));
  const value = past.values.has(i) ? aloud(session, numbers.values[i]) : "?";
  const [texts, inWords] = gradientCells(session, i);
  const gradient = done && !inWords ? aloud(session, numbers.grads[i]) : texts.join(", ");
  const more = texts.join("") && `; ∂${loss}/∂${name}: ${gradient}`;
  const called = shape ? session.t("arrayAloud", { name, shape: by }) : name;
  const heading = headed(box).join(", ");
  return `${heading && `${heading}: `}${called} = ${value}${more}`;
}

/**
 * An edge, read aloud.
 * @type {(session: Session, e: number) => string}
 */
export function spokenEdge(session, e) {
  const { nodes, edges, numbers, done } = session;
  const [u, v] = [nodes[edges[e].u].name, nodes[edges[e].v].name];
  const local = edgeCell(session, e);
  const sent = done ? numbers.messages[e] : null;
  return [
    session.t("edgeAloud", { u, v }),
    local && `${session.t("localAloud")} ${local}`,
    sent !== null && `${session.t("message")} ${aloud(session, sent)}`,
  ]
    .filter(Boolean)
    .join("; ");
}

/**
 * What stands on an edge: its local derivative, or the size of its message.
 * @type {(session: Session, e: number) => string}
 */
export function edgeCell({ edges, numbers, past, done }, e) {
  const q = numbers.locals[e];
  const message = numbers.messages[e];
  if (!past.values.has(edges[e].v) || q === UNKNOWN) return "";
  if (q !== null) return isNumber(q) ? short(scalar(q), 4) : minus(q.short ?? "");
  return message === null || !done ? "" : `‖·‖ ${short(norm(message), 3)}`;
}

/**
 * A gradient's state and its exact number.
 * @type {(session: Session, i: number) => string}
 */
export function gradientInFull(session, i) {
  const state = session.numbers.states[i];
  const said = state === "number" ? "" : session.stateInWords(i);
  const told = state === "number" || state === "non-finite";
  return [said, told ? inFull(session, session.numbers.grads[i]) : ""].filter(Boolean).join(" ");
}

/**
 * Classes of nodes and edges, and what is counted on them.
 * @param {Session} session
 */
export function marked(session) {
  const found = session.done ? asked(session) : underWay(session);
  const selection = session.selection();
  found.marks.selected = {
    nodes: selection.flatMap(({ node }) => node ?? []),
    edges: selection.flatMap(({ edge }) => edge ?? []),
  };
  found.marks.pointed = { edges: session.pointed };
  return found;
}

/** @typedef {{marks: Record<string, Marked>, badges: Map<number, Badge>}} Marks */

/**
 * In the middle of a pass: what happens now, and what has not happened yet.
 * @type {(session: Session) => Marks}
 */
function underWay(session) {
  const { nodes, edges, chain, past } = session;
  const { values, reads, again, sent, now } = past;
  const targets = session.targets();
  const of = (/** @type {string} */ wanted) =>
    now.flatMap(([kind, what]) => (kind === wanted ? [/** @type {number} */ (what)] : []));
  const [lit, computed] = [of("message"), of("value")];
  const readers = new Set(lit.map((e) => edges[e].v));
  /** @type {Record<string, Marked>} */
  const marks = {
    future: {
      nodes: [...nodes.keys()].filter((i) => !values.has(i)),
      edges: edges.flatMap(({ v }, e) => (values.has(v) ? [] : [e])),
    },
  };
  if (targets.length && past.part >= 0) {
    const { needed, used } = ledgerOf(session, targets);
    marks.unneeded = {
      nodes: without(needed, nodes.keys()),
      edges: without(used, edges.keys()),
    };
    marks.cached = { nodes: [...again] };
    const whole = [...past.sums].filter(([i, terms]) => terms.length === chain.terms(i));
    marks.computed = {
      nodes: without(
        [...again, ...readers, ...targets],
        whole.map(([i]) => i),
      ),
      edges: without(lit, sent),
    };
  } else marks.sent = { edges: without(lit, sent) };
  marks.target = { nodes: targets };
  marks.read = { nodes: [...readers, ...of("cached")] };
  marks.lit = { edges: lit };
  marks.now = {
    nodes: [...computed, ...of("seed"), ...lit.map((e) => edges[e].u)],
    edges: computed.flatMap((i) => chain.into[i]),
  };
  /** @type {Map<number, Badge>} */
  const badges = new Map();
  for (const [v, k] of reads) {
    const strong = readers.has(v);
    if (k > 1 || strong) badges.set(v, { text: `×${k}`, tone: strong ? "strong" : "" });
  }
  return { marks, badges };
}

/** @type {(used: Iterable<number>, all: Iterable<number>) => number[]} */
function without(used, all) {
  const known = new Set(used);
  return [...all].filter((x) => !known.has(x));
}

/** @type {(session: Session, targets: number[]) => {needed: number[], used: number[]}} */
function ledgerOf({ chain }, targets) {
  const { rows, reads } = chain.ledger(targets);
  const needed = [...targets, ...rows.flatMap((row) => [...row.computed, ...row.read])];
  return { needed, used: [...reads.values()].flat() };
}

/**
 * After both passes: the targets and what their gradients reuse, a path that is pointed at.
 * @type {(session: Session) => Marks}
 */
function asked(session) {
  const { nodes, edges, chain, path } = session;
  /** @type {Record<string, Marked>} */
  const marks = {};
  /** @type {Map<number, Badge>} */
  const badges = new Map();
  const targets = session.targets();
  if (targets.length) {
    const { rows, reads, cached } = chain.ledger(targets);
    const computed = new Set(rows.flatMap((row) => row.computed));
    const reading = [...reads].filter(([v]) => cached.has(v)).flatMap(([, es]) => es);
    const computing = [...reads].filter(([v]) => !cached.has(v)).flatMap(([, es]) => es);
    marks.unneeded = {
      nodes: without([...computed, ...targets, ...cached], nodes.keys()),
      edges: without([...reading, ...computing], edges.keys()),
    };
    marks.computed = { nodes: without(cached, computed), edges: computing };
    marks.cached = { nodes: [...cached] };
    marks.reads = { edges: reading };
    marks.target = { nodes: targets };
    for (const v of cached) {
      const read = reads.get(v);
      if (read) badges.set(v, { text: `×${read.length}`, tone: "strong" });
    }
  }
  if (path) {
    const along = [edges[path[0]].u, ...path.map((e) => edges[e].v)];
    marks.path = { nodes: along, edges: path };
    marks.unneeded = { nodes: without(along, nodes.keys()), edges: without(path, edges.keys()) };
  }
  return { marks, badges };
}
