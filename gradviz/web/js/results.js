// What became of a lesson, as a file.

import { download } from "./saving.js";

/** @import { Session } from "./session.js" */

/** @type {() => Attempt} */
export const untried = () => ({ answers: [], hints: 0, right: false, shown: false });

/**
 * @param {Session} session
 * @param {string} name the student's
 */
export function saveResults(session, name) {
  const { title, questions: asked } = /** @type {LessonTold} */ (session.get("lesson"));
  const { attempts } = session.get("progress");
  const questions = asked.map(({ kind, node, edge, text }, n) => ({
    kind,
    about: edge >= 0 ? session.edgeName(edge) : session.nodes[node].id,
    ...(text && { text }),
    ...(attempts[n] ?? untried()),
  }));
  const right = questions.filter((question) => question.right).length;
  const lesson = title || session.structure.title;
  const results = { lesson, name, right, of: questions.length, questions };
  const file = (name || title || "lesson").replace(/[^\p{L}\p{N}]+/gu, "-");
  const blob = new Blob([JSON.stringify(results, null, 1)], { type: "application/json" });
  download(blob, `${file}-results.json`);
}
