// A question of a lesson: when it is asked, when its answer is told, and in which words.

import { formula } from "./elements.js";
import { gradient, local, localLines, message, termLine, valueLines } from "./rule.js";

/** @import { Line } from "./formulas.js" */
/** @import { Session } from "./session.js" */

/**
 * The event before which the answer is told.
 * @param {Session} session
 * @param {LessonTold} lesson
 * @param {QuestionTold} question
 */
export function before(session, lesson, { kind, node, edge, after }) {
  const { events, parts } = session.course;
  const sends = (/** @type {number} */ e) => session.edges[e].u === node;
  const at = events.findIndex(([what, which], n) => {
    if (kind === "value") return what === "value" && which === node;
    if (kind === "reused") return parts[n] === after.length;
    if (what !== "message") return what === "done";
    return kind === "gradient" ? sends(/** @type {number} */ (which)) : which === edge;
  });
  if (kind === "paths") return session.get("limit") ?? 0;
  if (kind === "gradient" && asks(lesson, "message", node)) return last(session, sends) - 1;
  return Math.max(at - 1, 0);
}

/** @type {(lesson: LessonTold, wanted: string, i: number) => boolean} */
const asks = ({ questions }, wanted, i) =>
  questions.some(({ kind, node }) => kind === wanted && node === i);

/** @type {(session: Session, tells: (e: number) => boolean) => number} */
const last = ({ course }, tells) =>
  course.events.map(([what, e]) => what === "message" && tells(Number(e))).lastIndexOf(true);

/**
 * The event that tells the answer.
 * @param {Session} session
 * @param {LessonTold} lesson
 * @param {QuestionTold} question
 */
export function telling(session, lesson, question) {
  const { kind, node, edge } = question;
  const sends = (/** @type {number} */ e) => session.edges[e].u === node;
  if (kind === "value") return before(session, lesson, question) + 1;
  if (kind === "gradient") return last(session, sends);
  if (kind === "message") {
    // The last message would tell their sum as well.
    const at = last(session, (e) => e === edge);
    return at === last(session, sends) && asks(lesson, "gradient", node) ? at - 1 : at;
  }
  return before(session, lesson, question);
}

/** @type {(all: Element[]) => (Element | string)[]} */
export const commaed = (all) => all.flatMap((one, n) => (n ? [", ", one] : [one]));

/**
 * What is said of a question, with its names and formulas.
 * @param {Session} session
 * @param {QuestionTold} question
 * @param {string} key
 * @param {{x?: number, f?: number}} found
 */
export function phrase(session, question, key, { x, f } = {}) {
  const { nodes, edges, chain } = session;
  const name = (/** @type {number} */ i) => formula(nodes[i].label);
  const edge = f ?? question.edge;
  const v = edge < 0 ? question.node : edges[edge].v;
  const d = (/** @type {number} */ i) => formula(gradient(session, i));
  return session.say(key, {
    u: name(edge < 0 ? question.node : edges[edge].u),
    v: name(v),
    J: name(session.output),
    s: d(question.node),
    d: d(v),
    l: edge < 0 ? "" : formula(local(session, edge)),
    x: x !== undefined ? name(x) : f !== undefined ? formula(local(session, f)) : "",
    e: edge < 0 ? "" : session.edgeName(edge, "name"),
    us: commaed([...new Set(chain.into[question.node].map((e) => edges[e].u))].map(name)),
    es: chain.out[question.node].map((e) => session.edgeName(e, "name")).join(", "),
    after: commaed(question.after.map((i) => (key.startsWith("hint") ? name(i) : d(i)))),
  });
}

/**
 * The second hint: how it is computed.
 * @param {Session} session
 * @param {QuestionTold} question
 * @returns {Line[]}
 */
export function formulas(session, { kind, node, edge }) {
  if (kind === "value") return valueLines(session, node);
  if (kind === "local") return localLines(session, edge);
  if (kind === "message") return [message(session, edge)];
  return kind === "gradient" ? [termLine(session, node)] : [];
}
