// The chain rule of a value, written out: in symbols, in numbers, by upstream terms.

import {
  amount,
  braced,
  continued,
  equation,
  few,
  joined,
  op,
  slope,
  slopeAt,
  text,
  tight,
} from "./formulas.js";
import { isNumber, listed, scalar } from "./numbers.js";

/** @import { Path } from "./chain.js" */
/** @import { Session } from "./session.js" */
/** @import { Line } from "./formulas.js" */

const TERMS = 30; // so many upstream terms are written out

/**
 * ∂J/∂i
 * @type {(session: Session, i: number) => Formula}
 */
export const gradient = ({ nodes, output }, i) => slope(nodes[output].label, nodes[i].label);

/**
 * What a gradient comes to: a zero that is only too small for floating point is told as such.
 * @type {(session: Session, i: number) => Formula}
 */
const result = (session, i) =>
  session.numbers.states[i] === "underflown"
    ? text(session.stateInWords(i))
    : amount(session.numbers.grads[i]);

/**
 * A local derivative: ∂v/∂u, or ∂₁v where u reaches v in another way too.
 * @type {(session: Session, e: number) => Formula}
 */
export function local({ nodes, edges }, e) {
  const { u, v, key, alone } = edges[e];
  const { label } = nodes[v];
  return alone ? slopeAt(key, label) : slope(label, nodes[u].label);
}

/**
 * Whether an edge's short formula holds at the numbers that are shown: x > 0 has no half.
 * @type {(session: Session, e: number) => boolean}
 */
export function holds(session, e) {
  const { moved, derivative } = session.edges[e];
  const { locals, moved: away } = session.get("numbers");
  return !moved || !away || (derivative?.tex[0] === "[" && (locals[e] === 0 || locals[e] === 1));
}

/** @type {(session: Session, e: number) => Slope} */
const slopes = (session, e) => (!holds(session, e) && session.edges[e].moved) || session.edges[e];

/**
 * Whether what comes out is a product: of a NaN relu and where send 0 on, which none is.
 * @type {(numbers: Numbers, v: number, path: number[], sum?: Quantity | null) => boolean}
 */
function multiplied({ grads, locals, messages }, v, path, sum = messages[path[0]]) {
  const product = path.reduce((x, e) => x * scalar(locals[e]), scalar(grads[v]));
  return !Number.isNaN(product) || Number.isNaN(scalar(sum));
}

/**
 * What an edge sends back, as a formula with its numbers.
 * @type {(session: Session, e: number) => Line}
 */
export function message(session, e) {
  const { v } = session.edges[e];
  const { derivative, vjp } = slopes(session, e);
  const { messages, locals, grads } = session.numbers;
  const up = gradient(session, v);
  const whole = session.get("numbers"); // whether these are numbers, told or not
  const numbers = isNumber(whole.messages[e]) && isNumber(whole.locals[e]);
  if (numbers && multiplied(whole, v, [e])) {
    const product = joined([amount(grads[v]), amount(locals[e], true)], "·");
    return equation(joined([up, local(session, e)], "·"), product, amount(messages[e]));
  }
  if (!vjp && (!derivative || numbers)) {
    return equation(text(session.t("message")), amount(messages[e]));
  }
  return equation(vjp ?? joined([up, derivative ?? local(session, e)], "⊙"), amount(messages[e]));
}

/**
 * What an edge's local derivative is.
 * @type {(session: Session, e: number) => Line[]}
 */
export function localLines(session, e) {
  const { carries } = session.edges[e];
  const { derivative, vjp } = slopes(session, e);
  const number = session.numbers.locals[e];
  if (carries && !derivative && !vjp && number !== null) {
    return [equation(local(session, e), amount(number))]; // its formula was left out
  }
  if (!derivative && !vjp) return [];
  const known = derivative && number !== null ? [amount(number)] : [];
  if (derivative?.math[0] === "mn" || known[0]?.tex === derivative?.tex) known.pop();
  return [equation(local(session, e), derivative ?? text(session.t("linear")), ...known)];
}

/**
 * ∂J/∂u over all paths: a line per path in symbols, then one in numbers and the result.
 * @type {(session: Session, i: number, paths: Path[], rest: bigint) => [Line[], Line[]]}
 */
export function pathLines(session, i, paths, rest) {
  const { edges, output, numbers, chain } = session;
  // What the targets before this one have computed is marked as reused.
  const targets = session.targets();
  const before = targets.includes(i) ? targets.slice(0, targets.indexOf(i)) : targets;
  const cached = new Set(before.flatMap((t) => [...chain.needs(t), t]));
  const times = (/** @type {Formula[]} */ factors) => joined(few(factors, op("…")), "·");
  const product = (/** @type {Path} */ { edges: path }) => {
    const factors = path.map((e) => local(session, e)).reverse();
    const known = path.findIndex((e) => cached.has(edges[e].v) && edges[e].v !== output);
    const n = known < 0 ? 0 : path.length - known - 1; // so many factors make that upstream term
    if (!n) return times(factors);
    const term = braced(times(factors.slice(0, n)), session.t("reused"));
    return times([term, ...factors.slice(n)]);
  };
  const inNumbers = (/** @type {Path} */ { edges: path }) =>
    times(path.map((e) => amount(numbers.locals[e], true)).reverse());

  const [first] = paths;
  if (rest <= 0n && paths.length === 1 && first.edges.length === 1) {
    // J reads it and nothing else does: ∂J/∂i would be told to be ∂J/∂i.
    const { derivative, vjp } = slopes(session, first.edges[0]);
    const how = vjp ?? derivative;
    return [
      [equation(gradient(session, i), ...(how ? [how] : []))],
      [continued("=", result(session, i))],
    ];
  }
  const symbols = paths.map((path, n) =>
    n ? continued("+", product(path)) : equation(gradient(session, i), product(path)),
  );
  if (rest > 0n) symbols.push(continued("+", text(session.t("morePaths", { n: rest }))));
  const whole =
    rest <= 0n &&
    paths.every(({ edges: path }) => path.every((e) => isNumber(numbers.locals[e]))) &&
    paths.every(({ edges: path }) => multiplied(numbers, output, path, numbers.grads[i]));
  const numeric = whole ? paths.map((path, n) => continued(n ? "+" : "=", inNumbers(path))) : [];
  return [symbols, [...numeric, continued("=", result(session, i))]];
}

/**
 * Each upstream term once, from J down to the value.
 * @type {(session: Session, i: number) => Line[]}
 */
export function factored(session, i) {
  const needed = [...session.chain.needs(i), i].filter((v) => v !== session.output);
  const down = needed.sort((a, b) => b - a);
  return down.slice(0, TERMS).map((u) => termLine(session, u));
}

/**
 * A gradient by the upstream terms that it is made of.
 * @type {(session: Session, u: number) => Line}
 */
export function termLine(session, u) {
  const { edges, output, numbers, chain } = session;
  const terms = chain.out[u].map((e) => {
    const { v, derivative, vjp } = edges[e];
    const factor = derivative ?? local(session, e);
    return vjp ?? (v === output ? factor : joined([gradient(session, v), tight(factor)], "·"));
  });
  const sum = joined(terms, "+");
  const known = isNumber(numbers.grads[u]) ? [result(session, u)] : [];
  if (known[0]?.tex === sum.tex) known.pop();
  return equation(gradient(session, u), sum, ...known);
}

/**
 * A value as its operation gives it.
 * @type {(session: Session, i: number, ...known: Formula[]) => Line[]}
 */
export function valueLines({ nodes }, i, ...known) {
  const { label, expression } = nodes[i];
  return expression ? [equation(label, expression, ...known)] : [];
}

/**
 * The messages that a gradient has so far, added up; while more are to come it has no result.
 * @type {(session: Session, i: number) => Line[]}
 */
export function summed(session, i) {
  const { numbers, past, chain } = session;
  const edges = past.sums.get(i) ?? [];
  const written = edges.every((e) => {
    const sent = numbers.messages[e];
    return isNumber(sent) || listed(sent) !== "";
  });
  if (chain.terms(i) < 2 || !written) return [];
  const terms = few(
    edges.map((e, n) => amount(numbers.messages[e], n > 0)),
    op("…"),
  );
  const whole = edges.length === chain.terms(i);
  const sum = joined(whole ? terms : [...terms, op("…")], "+");
  return [equation(gradient(session, i), sum, ...(whole ? [result(session, i)] : []))];
}

/**
 * v̄, short for ∂J/∂v
 * @type {(label: Formula) => Formula}
 */
export const barred = ({ math, tex }) => ({
  math: ["mover", math, ["mo", "¯"]],
  tex: `\\bar{${tex}}`,
});
