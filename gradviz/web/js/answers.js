// What a student answers: is it right, and if not, which of the usual mistakes gives this number?

import { finite, isNumber, scalar, typed } from "./numbers.js";

/** @import { Session } from "./session.js" */
/**
 * A number that a mistake leads to, and what is said of it: `x` a value, `f` an edge.
 * @typedef {{said: string, number: number, x?: number, f?: number}} Mistake
 */
/** @typedef {{right: boolean, said: string, x?: number, f?: number}} Verdict */

/** Shown graphs have numbers that are masked; those of the model are whole. */
const numbersOf = (/** @type {Session} */ session) => session.get("numbers");

/**
 * What is right: a number.
 * @param {Session} session
 * @param {QuestionTold} question
 */
export function expected(session, { kind, node, edge }) {
  const { values, grads, locals, messages } = numbersOf(session);
  if (kind === "value") return scalar(values[node]);
  if (kind === "gradient") return scalar(grads[node]);
  if (kind === "local") return scalar(locals[edge]);
  if (kind === "message") return scalar(messages[edge]);
  return Number(session.chain.counts.paths[node]);
}

/**
 * The upstream terms that a target needs, and those of them that are in the cache already.
 * @param {Session} session
 * @param {QuestionTold} question
 */
export function terms(session, { node, after }) {
  const { computed, reused } = session.chain.ledger([...after, node]).rows[after.length];
  return { all: [...computed, ...reused].sort((a, b) => b - a), reused };
}

/**
 * As a student writes it, who may have a comma for the point.
 * @param {string} text
 */
export const read = (text) => typed(text.trim().replace(/^([+−-]?\d+),(?=\d)/, "$1.")) ?? NaN;

const NOISE = 1e-15; // what rounding leaves where 0 is right
const TRIED = 8; // so many paths are tried one by one

/** @type {(given: number, right: number, tolerance: number) => boolean} */
const close = (given, right, tolerance) =>
  finite(right) && Math.abs(given - right) <= tolerance * Math.abs(right) + NOISE;

/**
 * Whether a number is the right one, rounded or cut off after some digits.
 * @type {(given: number, right: number) => boolean}
 */
function fewerDigits(given, right) {
  const [mantissa, exponent] = given.toExponential().split("e");
  const unit = 10 ** (Number(exponent) - mantissa.replace(/[-.]/g, "").length + 1);
  const off = Math.abs(right) - Math.abs(given);
  return off >= -unit / 2 && off < unit;
}

/**
 * @param {Session} session
 * @param {QuestionTold} question
 * @param {number} given
 * @param {number} tolerance
 * @returns {Verdict}
 */
export function judged(session, question, given, tolerance) {
  const right = expected(session, question);
  const exact = question.kind === "paths";
  if (close(given, right, exact ? 0 : tolerance)) return { right: true, said: "right" };
  const usual = exact ? ofPaths(session, question) : ofNumbers(session, question, right);
  const [found] = usual
    .filter(({ number }) => close(given, number, exact ? 0 : tolerance))
    .sort((a, b) => Math.abs(given - a.number) - Math.abs(given - b.number));
  if (found) return { ...found, right: false };
  if (exact || !close(given, right, 0.1)) return { right: false, said: "" };
  return { right: false, said: fewerDigits(given, right) ? "digits" : "near" };
}

/**
 * @param {Session} session
 * @param {QuestionTold} question
 * @param {number[]} chosen
 * @returns {Verdict}
 */
export function chosen(session, question, chosen) {
  const { reused } = terms(session, question);
  if (chosen.some((i) => !reused.includes(i))) return { right: false, said: "newTerms" };
  const all = chosen.length === reused.length;
  return { right: all, said: all ? "right" : "missedTerms" };
}

/** @type {(session: Session, question: QuestionTold) => Mistake[]} */
const ofPaths = ({ chain }, { node }) => [
  { said: "onePath", number: 1 },
  { said: "edges", number: chain.out[node].length },
];

/**
 * @param {Session} session
 * @param {QuestionTold} question
 * @param {number} right
 * @returns {Mistake[]}
 */
function ofNumbers(session, question, right) {
  const ways = { value: ofValue, local: ofLocal, message: ofMessage, gradient: ofGradient };
  const own = ways[/** @type {keyof typeof ways} */ (question.kind)](session, question);
  return [
    ...own,
    { said: "sign", number: -right },
    { said: "twice", number: 2 * right },
    { said: "half", number: right / 2 },
  ];
}

/** @type {(session: Session, question: QuestionTold) => Mistake[]} */
function ofValue(session, { node }) {
  const { values, grads, locals } = numbersOf(session);
  const { edges, chain } = session;
  const value = scalar(values[node]);
  return chain.into[node]
    .flatMap((e) => {
      const { u, why } = edges[e];
      const operand = scalar(values[u]);
      // What is a multiple of the operand can be left out of a sum.
      const steady = ["one", "constant", "linear"].includes(why);
      const without = steady ? value - scalar(locals[e]) * operand : NaN;
      return [
        { said: "missedOperand", number: without, x: u },
        { said: "operand", number: operand, x: u },
      ];
    })
    .concat({ said: "gradientForValue", number: scalar(grads[node]), x: node });
}

/** @type {(session: Session, question: QuestionTold) => Mistake[]} */
function ofLocal(session, { edge }) {
  const { values, locals, messages } = numbersOf(session);
  const { u, v } = session.edges[edge];
  return [
    { said: "messageForLocal", number: scalar(messages[edge]) },
    { said: "valueForGradient", number: scalar(values[v]), x: v },
    { said: "valueForGradient", number: scalar(values[u]), x: u },
    { said: "upsideDown", number: 1 / scalar(locals[edge]) },
  ];
}

/** @type {(session: Session, question: {edge: number}) => Mistake[]} */
function ofMessage(session, { edge }) {
  const { values, grads, locals } = numbersOf(session);
  const { u, v } = session.edges[edge];
  return [
    { said: "forgotUpstream", number: scalar(locals[edge]), f: edge },
    { said: "forgotLocal", number: scalar(grads[v]), f: edge },
    { said: "valueForGradient", number: scalar(values[u]), x: u },
    { said: "valueForGradient", number: scalar(values[v]), x: v },
  ];
}

/** @type {(session: Session, question: QuestionTold) => Mistake[]} */
function ofGradient(session, { node }) {
  const { values, grads, locals, messages } = numbersOf(session);
  const { chain, edges } = session;
  const total = scalar(grads[node]);
  const slope = (/** @type {number} */ e) => scalar(locals[e]);
  const size = (/** @type {number} */ e) => scalar(messages[e]);
  const sent = chain.out[node].filter((e) => isNumber(messages[e]));
  const ways = chain.counts.paths[node] <= TRIED ? chain.paths(node, locals, TRIED) : [];
  /** @type {number[]} the edges that all paths begin with */
  const shared = [];
  for (let i = node; chain.out[i].length === 1; i = edges[shared[shared.length - 1]].v) {
    shared.push(chain.out[i][0]);
  }
  const ofSum = (/** @type {number} */ e) => [
    { said: "missedPath", number: total - size(e), f: e },
    // (Of two messages the one is what misses the other.)
    { said: "missedPaths", number: sent.length > 2 ? size(e) : NaN, f: e },
    { said: "signOne", number: total - 2 * size(e), f: e },
    { said: "forgotFactor", number: total - size(e) + size(e) / slope(e), f: e },
  ];
  const all = sent.reduce((sum, e) => sum + slope(e), 0);
  const own =
    sent.length > 1
      ? [...sent.flatMap(ofSum), { said: "forgotUpstreams", number: all }]
      : sent.flatMap((edge) => ofMessage(session, { edge }));
  return [
    ...own,
    ...shared.map((e) => ({ said: "forgotFactor", number: total / slope(e), f: e })),
    { said: "valueForGradient", number: scalar(values[node]), x: node },
    ...(ways.length > 1 ? ways : []).flatMap(({ value }) => [
      { said: "onePath", number: value },
      { said: "onePath", number: total - value },
    ]),
  ];
}
