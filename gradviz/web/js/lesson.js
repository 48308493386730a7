// A lesson: the student predicts, and then the step that tells the number is taken.

import { chosen, expected, judged, read, terms } from "./answers.js";
import { block, button, fill, formula, html } from "./elements.js";
import { numeral } from "./formulas.js";
import { before, commaed, formulas, phrase, telling } from "./questions.js";
import { saveResults, untried } from "./results.js";
import { gradient } from "./rule.js";

/** @import { Verdict } from "./answers.js" */
/** @import { Children } from "./elements.js" */
/** @import { Host, Session } from "./session.js" */

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
    this.seen = -1;
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
    fill(this.asking); // a field that stayed would hold the answer before
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
    const limit = before(this.session, this.lesson, this.question);
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

  /** The boxes that are asked about, once for each question: the picture shows them. */
  ends() {
    const { question } = this;
    if (!question || this.seen === this.shown) return [];
    this.seen = this.shown;
    const { node, edge } = question;
    return edge < 0 ? [node] : [this.session.edges[edge].v, node];
  }

  /** @type {Session["t"]} */
  t = (key, places) => this.session.t(key, places);

  /**
   * @param {string} key
   * @param {{x?: number, f?: number}} [found]
   */
  say(key, found) {
    return phrase(this.session, this.question, key, found);
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
    fill(
      this.said,
      html("p", {}, question.hint || this.say(`hint ${kind}`)),
      hints > 1 && block(formulas(session, question)),
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
    const named = commaed(reused.map((i) => formula(gradient(session, i))));
    const x = number ? formula(number) : named.length ? named : t("nothing");
    fill(
      this.said,
      html("p", { class: key === "right" ? "is-right" : "" }, session.say(key, { x })),
      button(t("goOn"), t("goOn"), () => this.next(), { class: "next" }),
    );
    const told = telling(this.session, this.lesson, this.question);
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
        button(t("saveResults"), t("saveResults"), () => saveResults(session, name.value)),
        button(t("again"), t("again"), () =>
          session.put("progress", { name: name.value, at: 0, attempts: [] }),
        ),
      ),
    );
  }
}
