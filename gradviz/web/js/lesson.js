// A lesson: the student predicts, and then the step that tells the number is taken.

import { chosen, expected, judged, read, terms } from "./answers.js";
import { block, button, fill, formula, html } from "./elements.js";
import { numeral } from "./formulas.js";
import { factored, gradient, local, localLines, message, valueLines } from "./rule.js";
import { download } from "./saving.js";

/** @import { Verdict } from "./answers.js" */
/** @import { Children } from "./elements.js" */
/** @import { Host, Session } from "./session.js" */

/** @type {() => Attempt} */
const untried = () => ({ answers: [], hints: 0, right: false, shown: false });

export class LessonBox {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    this.lesson = /** @type {LessonTold} */ (session.get("lesson"));
    this.said = html("div", { "aria-live": "polite" });
    this.asking = html("div", {});
    this.root = html(
      "section",
      { class: "lesson", "aria-label": session.t("lesson") },
      this.asking,
      this.said,
    );
    this.shown = -1;
  }

  get progress() {
    return this.session.get("progress");
  }
  get question() {
    return this.lesson.questions[this.progress.at];
  }
  get attempt() {
    return this.progress.attempts[this.progress.at] ?? untried();
  }
  get solved() {
    return this.attempt.right || this.attempt.shown;
  }
  /** @param {Partial<Attempt>} change */
  note(change) {
    const attempts = [...this.progress.attempts];
    attempts[this.progress.at] = { ...this.attempt, ...change };
    this.session.put("progress", { ...this.progress, attempts });
  }

  refresh() {
    const { at } = this.progress;
    const { question } = this;
    const body = this.root.closest(".body");
    body?.classList.toggle("is-learning", Boolean(question));
    if (this.shown === at) return;
    this.shown = at;
    fill(this.said);
    if (question) this.pose();
    else this.close();
  }

  /** Both passes stand where the answer is not told yet. */
  pose() {
    const { session, question } = this;
    session.pointed = [];
    if (String(session.get("targets")) !== String(question.targets)) {
      session.put("targets", question.targets);
      session.take();
    }
    const limit = this.before();
    session.put("limit", limit);
    session.put("step", this.solved ? session.step : limit);
    const { t } = this;
    const n = this.progress.at + 1;
    fill(
      this.asking,
      html("small", {}, t("question", { n, m: this.lesson.questions.length })),
      html("p", { class: "asking" }, question.text || this.say(`ask ${question.kind}`)),
      this.form(),
    );
    this.asking.querySelector("input")?.focus({ preventScroll: true });
  }

  /** The event before which the answer is told. */
  before() {
    const { kind, node, edge, after } = this.question;
    const { events, parts } = this.session.course;
    const sends = (/** @type {number} */ e) => this.session.edges[e].u === node;
    const at = events.findIndex(([what, which], n) => {
      if (kind === "value") return what === "value" && which === node;
      if (kind === "reused") return parts[n] === after.length;
      if (what !== "message") return what === "done";
      return kind === "gradient" ? sends(/** @type {number} */ (which)) : which === edge;
    });
    if (kind === "paths") return this.session.get("limit") ?? 0;
    if (kind === "gradient" && this.asks("message", node)) return this.last(sends) - 1;
    return Math.max(at - 1, 0);
  }

  /** @type {(wanted: string, i: number) => boolean} */
  asks(wanted, i) {
    return this.lesson.questions.some(({ kind, node }) => kind === wanted && node === i);
  }
  /** @type {(tells: (e: number) => boolean) => number} */
  last(tells) {
    const { events } = this.session.course;
    return events.map(([what, e]) => what === "message" && tells(Number(e))).lastIndexOf(true);
  }

  /** The event that tells the answer. */
  telling() {
    const { kind, node, edge } = this.question;
    const sends = (/** @type {number} */ e) => this.session.edges[e].u === node;
    if (kind === "value") return this.before() + 1;
    if (kind === "gradient") return this.last(sends);
    if (kind === "message") {
      // The last message would tell their sum as well.
      const at = this.last((e) => e === edge);
      return at === this.last(sends) && this.asks("gradient", node) ? at - 1 : at;
    }
    return this.before();
  }

  /** @type {Session["t"]} */
  t = (key, places) => this.session.t(key, places);

  /**
   * @param {string} key
   * @param {{x?: number, f?: number}} found
   */
  say(key, { x, f } = {}) {
    const { session, question } = this;
    const { nodes, edges, chain } = session;
    const name = (/** @type {number} */ i) => formula(nodes[i].label);
    const edge = f ?? question.edge;
    const v = edge < 0 ? question.node : edges[edge].v;
    const listed = (/** @type {Element[]} */ all) =>
      all.flatMap((one, n) => (n ? [", ", one] : [one]));
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
      us: listed([...new Set(chain.into[question.node].map((e) => edges[e].u))].map(name)),
      es: chain.out[question.node].map((e) => session.edgeName(e, "name")).join(", "),
      after: listed(question.after.map(d)),
    });
  }

  /** @returns {Children} */
  form() {
    const { session, question, t } = this;
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.check();
    };
    const onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      event.stopPropagation();
      if (this.solved) this.next();
      else this.check();
    };
    const field =
      question.kind === "reused"
        ? terms(session, question).all.map((i) =>
            html(
              "label",
              { class: "term" },
              html("input", { type: "checkbox", value: i }),
              formula(gradient(session, i)),
            ),
          )
        : html("input", {
            type: "text",
            inputmode: "text",
            autocomplete: "off",
            spellcheck: "false",
            "aria-label": t("answer"),
            onkeydown,
          });
    return html(
      "form",
      { onsubmit },
      field,
      button(t("check"), t("check"), () => this.check(), { class: "check" }),
      button(t("hintButton"), t("hintButton"), () => this.hint()),
      button(t("give"), t("give"), () => this.give()),
    );
  }

  check() {
    const { session, question, lesson } = this;
    if (this.solved) return;
    const ticked = [...this.asking.querySelectorAll("input:checked")];
    const field = this.asking.querySelector("input");
    if (!field) return;
    let text = field.value;
    /** @type {Verdict} */
    let verdict;
    if (question.kind === "reused") {
      const ids = ticked.map((box) => Number(/** @type {HTMLInputElement} */ (box).value));
      text = ids.map((i) => session.nodes[i].name).join(", ");
      verdict = chosen(session, question, ids);
    } else {
      const given = read(text);
      if (Number.isNaN(given)) {
        fill(this.said, html("p", { class: "is-wrong" }, this.t("wrong noNumber", { text })));
        return;
      }
      verdict = judged(session, question, given, lesson.tolerance);
    }
    const said = verdict.right ? "right" : verdict.said || "wrong";
    this.note({ answers: [...this.attempt.answers, [text, said]], right: verdict.right });
    if (verdict.right) this.tell("right");
    else {
      const why = verdict.said ? this.say(`wrong ${verdict.said}`, verdict) : [];
      fill(this.said, html("p", { class: "is-wrong" }, this.t("wrong"), " ", why));
    }
  }

  /** First the edge to look at, then the formula. */
  hint() {
    const { session, question, host } = this;
    const { chain } = session;
    const hints = this.attempt.hints + 1;
    this.note({ hints });
    const { kind, node, edge } = question;
    session.pointed = edge >= 0 ? [edge] : kind === "value" ? chain.into[node] : chain.out[node];
    host.mark();
    const lines = {
      value: () => valueLines(session, node),
      local: () => localLines(session, edge),
      message: () => [message(session, edge)],
      gradient: () => factored(session, node).slice(-1),
      reused: () => [],
      paths: () => [],
    }[kind]();
    fill(
      this.said,
      html("p", {}, question.hint || this.say(`hint ${kind}`)),
      hints > 1 && block(lines),
    );
  }

  give() {
    if (this.solved) return;
    this.note({ shown: true });
    this.tell("shownAnswer");
  }

  /**
   * The answer, and the step that tells it.
   * @param {string} key
   */
  tell(key) {
    const { session, question, t } = this;
    const { kind } = question;
    session.pointed = [];
    const { reused } = kind === "reused" ? terms(session, question) : { reused: [] };
    const number = kind === "reused" ? null : numeral(expected(session, question));
    const x = number
      ? formula(number)
      : reused.flatMap((i) => [" ", formula(gradient(session, i))]);
    fill(
      this.said,
      html("p", { class: key === "right" ? "is-right" : "" }, session.say(key, { x })),
      button(t("goOn"), t("goOn"), () => this.next(), { class: "next" }),
    );
    const told = this.telling();
    session.put("limit", told);
    session.put("step", told);
    this.said.querySelector("button")?.focus({ preventScroll: true });
  }

  next() {
    const { session, progress } = this;
    session.put("progress", { ...progress, at: progress.at + 1 });
  }

  // The end

  close() {
    const { session, lesson, t } = this;
    session.put("limit", null);
    session.put("step", session.end);
    const right = this.progress.attempts.filter((attempt) => attempt?.right).length;
    const name = html("input", {
      type: "text",
      "aria-label": t("student"),
      placeholder: t("student"),
      value: this.progress.name,
      onchange: ({ target }) => session.put("progress", { ...this.progress, name: target.value }),
    });
    fill(
      this.asking,
      html("p", { class: "asking" }, t("finished", { n: right, m: lesson.questions.length })),
      html(
        "form",
        { onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
        name,
        button(t("saveResults"), t("saveResults"), () => this.save(name.value)),
        button(t("again"), t("again"), () =>
          session.put("progress", { name: name.value, at: 0, attempts: [] }),
        ),
      ),
    );
  }

  /** @param {string} name */
  save(name) {
    const { session, lesson, progress } = this;
    const { nodes } = session;
    const { title } = lesson;
    const questions = lesson.questions.map(({ kind, node, edge, text }, n) => ({
      kind,
      about: edge >= 0 ? session.edgeName(edge) : nodes[node].id,
      ...(text && { text }),
      ...(progress.attempts[n] ?? untried()),
    }));
    const right = questions.filter((question) => question.right).length;
    const results = {
      lesson: title || session.story.title,
      name,
      right,
      of: questions.length,
      questions,
    };
    const type = "application/json";
    const file = (name || title || "lesson").replace(/[^\p{L}\p{N}]+/gu, "-");
    download(new Blob([JSON.stringify(results, null, 1)], { type }), `${file}-results.json`);
  }
}
