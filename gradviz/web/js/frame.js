// One graph, shown: the parts around the picture, which are drawn anew when the model changes.

import { Controls } from "./controls.js";
import { block, button, fill, html } from "./elements.js";
import { Folds } from "./folds.js";
import { LessonBox } from "./lesson.js";
import { told } from "./narration.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";
import { Presenter } from "./presenter.js";
import { Reuse } from "./reuse.js";
import { holds } from "./rule.js";
import { copied, download, rasterized } from "./saving.js";
import { edgeCell, gradientCells, marked, spoken, spokenEdge, valueCells } from "./scene.js";
import { searchField } from "./search.js";
import { Tooltip } from "./tooltip.js";
import { Training } from "./training.js";
import { Transport } from "./transport.js";

/** @import { Requests } from "./requests.js" */
/** @import { Session } from "./session.js" */

export class Frame {
  /**
   * @param {HTMLElement} root
   * @param {Session} session
   * @param {Requests} requests
   * @param {number} focus
   */
  constructor(root, session, requests, focus) {
    this.session = session;
    this.requests = requests;
    this.problem = "";
    this.sent = -1;
    root.lang = session.language;
    root.setAttribute("aria-label", session.t("app", { title: session.structure.title }));

    root.classList.toggle("is-compact", Boolean(session.get("compact")));

    const { field, names } = searchField(session, requests.id, (text) => this.find(text));
    this.search = field;
    this.ways = [this.way("undo", "↶"), this.way("redo", "↷"), this.way("reset", "⟲")];
    this.turning = html("span", {});
    this.presenter = new Presenter(this);
    this.folds = new Folds(this);
    this.notice = html("div", { class: "notice", role: "status", hidden: true });
    this.tip = new Tooltip(session);
    this.stage = html("div", { class: "stage" }, this.tip.root, this.notice);
    this.panel = new Panel(session, this);
    this.reuse = new Reuse(session);
    this.training = new Training(session, this);
    this.transport = new Transport(session);
    this.lesson = session.get("lesson") ? new LessonBox(session, this) : null;
    this.told = html("div", { class: "told", "aria-live": "polite" });
    root.replaceChildren(
      this.bar(names),
      html(
        "div",
        { class: "body" },
        html(
          "div",
          { class: "left" },
          this.stage,
          this.lesson?.root,
          this.transport.root,
          this.told,
        ),
        html(
          "aside",
          { "aria-label": session.t("panel") },
          this.panel.root,
          this.reuse.root,
          this.training.root,
        ),
      ),
    );
    this.picture = this.pictured();
    this.controls = new Controls(session, this, this.picture, this.tip, focus);
    this.begin();
    this.folds.refresh();
    this.refresh();
  }

  // The bar

  /** @type {(kind: GoRequest["kind"], sign: string) => HTMLButtonElement} */
  way(kind, sign) {
    const { session } = this;
    return button(sign, session.t(kind), () => this.ask({ kind }), { hidden: !session.editable });
  }

  /** @param {Element} names */
  bar(names) {
    const { session } = this;
    const t = (/** @type {string} */ key) => session.t(key);
    const title = session.get("lesson")?.title || session.structure.title;
    const languages = Object.entries(session.get("words")).map(([value, { name }]) =>
      html("option", { value, selected: value === session.language }, name),
    );
    const file = title.replace(/[^\p{L}\p{N}]+/gu, "-") || "graph";
    return html(
      "header",
      {},
      html("strong", { class: "title" }, title),
      this.search,
      names,
      this.folds.root,
      html("span", { class: "tools", role: "group", "aria-label": t("changes") }, this.ways),
      html(
        "span",
        { class: "tools", role: "group", "aria-label": t("view") },
        button("−", t("smaller"), () => this.picture.scale(1 / 1.25)),
        button("+", t("larger"), () => this.picture.scale(1.25)),
        button(t("fit"), t("fitAll"), () => this.picture.fit()),
        this.turning,
        button("SVG", t("saveSvg"), () => download(copied(this.picture), `${file}.svg`)),
        button("PNG", t("savePng"), () => this.savePng(file)),
        this.presenter.root,
      ),
      html(
        "select",
        {
          "aria-label": t("language"),
          onchange: ({ target }) => session.put("language", target.value),
        },
        languages,
      ),
    );
  }

  /** @param {string} file */
  async savePng(file) {
    const image = await rasterized(copied(this.picture));
    if (image) download(image, `${file}.png`);
  }

  /** @param {string} text */
  find(text) {
    const { session } = this;
    const name = text.trim();
    const names = session.nodes.map((node) => node.name);
    const exact = names.indexOf(name);
    const near = exact < 0 ? names.findIndex((other) => other.includes(name)) : exact;
    this.warn(near < 0 ? session.t("notFound", { name }) : "");
    if (!name || near < 0) return;
    session.select(session.nodes[near].id);
    this.picture.show(near);
  }

  /** Another picture of the same graph. */
  draw() {
    const { session, tip, controls } = this;
    this.picture = this.pictured();
    this.controls = new Controls(session, this, this.picture, tip, controls.focus);
    this.begin();
    this.folds.refresh();
    this.refresh();
  }

  /** Where there is not room for all, one sees at first what is asked for, or what happens now. */
  begin() {
    const { session, picture } = this;
    const { node, edge } = session.selection()[0] ?? {};
    const [, what = -1] = session.past.now[session.past.now.length - 1];
    const under = session.past.now[0][0] === "message" ? session.edges[what]?.v : what;
    const now = session.done ? undefined : under;
    const asked = node ?? (edge === undefined ? undefined : session.edges[edge].u);
    const [parameter = 0] = session.structure.moving;
    // Where the first parameter is used: it may itself stand far aside.
    const first = session.edges.find(({ u }) => u === parameter)?.v ?? parameter;
    const wanted = this.lesson?.question?.node;
    const at = [wanted, asked, session.targets()[0], now, first].find(
      (i) => i !== undefined && i >= 0,
    );
    picture.begin(picture.middleOf(at ?? 0));
  }
  pictured() {
    const { session, stage } = this;
    const down = session.get("drawing").direction !== "TB";
    const turn = () => this.ask({ kind: "turn", direction: down ? "TB" : "LR" });
    const title = session.t(down ? "turnDown" : "turnRight");
    this.turning.replaceChildren(button(down ? "⇊" : "⇉", title, turn));
    return new Picture(stage, session.get("drawing"), session.words.picture);
  }

  // What the parts ask for

  /** @param {ViewRequest} request */
  async ask(request) {
    if (!(await this.folds.placed(request))) this.requests.ask(request);
  }

  /** @param {string} key */
  toggle(key) {
    this.folds.toggle(key);
  }

  /**
   * Say what is wrong: with what was just asked for, else with the numbers that are shown.
   * @param {string} text
   */
  warn(text) {
    this.problem = text;
    this.notice.textContent = text || this.session.trouble();
    this.notice.hidden = !this.notice.textContent;
  }

  mark() {
    const { marks, badges } = marked(this.session);
    this.picture.mark(marks);
    this.picture.badges(badges);
  }

  // Drawing the state

  refresh() {
    this.lesson?.refresh(); // it may go back before a number is told
    this.session.take();
    this.write();
    this.mark();
    this.sendDot();
    this.picture.show(...(this.lesson?.ends() ?? []));
    this.tell();
    this.panel.refresh();
    this.reuse.refresh();
    this.training.refresh();
    const [undo, redo] = this.session.get("edits");
    [undo, redo, undo].forEach((n, i) => {
      this.ways[i].disabled = !n;
    });
    this.warn(this.problem);
  }

  write() {
    const { session, picture } = this;
    for (const [i, group] of picture.nodes) {
      picture.write(`node ${i}`, "value", valueCells(session, i));
      picture.write(`node ${i}`, "gradient", ...gradientCells(session, i));
      group.setAttribute("aria-label", spoken(session, i, group));
    }
    for (const [e, groups] of picture.arrows) {
      const [arrow] = groups;
      for (const group of groups) group.toggleAttribute("data-elsewhere", !holds(session, e));
      arrow.setAttribute("aria-label", spokenEdge(session, e));
      picture.write(`edge ${e}`, "local", [edgeCell(session, e)]);
    }
  }

  /** A message runs back along its edge, once for each time that its step is come to. */
  sendDot() {
    const { step, done, past, edges } = this.session;
    const [kind, what] = past.now[past.now.length - 1];
    if (this.sent !== step && !done) {
      if (kind === "message") this.picture.send(what);
      const seen = kind === "message" ? [edges[what].v, edges[what].u] : what >= 0 ? [what] : [];
      this.picture.show(...seen);
    }
    this.sent = done ? -1 : step;
  }

  tell() {
    const { place, words, lines, held } = told(this.session);
    this.transport.refresh(place);
    const sentence = Array.isArray(words) && words.length > 0 && html("p", {}, words);
    fill(this.told, sentence, block(lines), held);
  }

  // The keyboard

  /** @param {KeyboardEvent} event */
  key(event) {
    const { session, transport, picture } = this;
    const on = /** @type {Element} */ (event.target);
    const typing = on.closest("input:not([type=range]), select, textarea");
    if (typing) {
      if (event.key !== "Enter" || event.shiftKey || typing.tagName === "SELECT") return;
      event.preventDefault();
      typing.dispatchEvent(new Event("change"));
    }
    if (!typing && (event.ctrlKey || event.metaKey) && "zy".includes(event.key.toLowerCase())) {
      this.ask({ kind: event.shiftKey || event.key === "y" ? "redo" : "undo" });
      event.preventDefault();
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    if (this.presenter.key(event.key)) {
      event.preventDefault();
      return;
    }
    if (event.key === " " && !on.closest("button, summary, g.node")) transport.play();
    else if (event.key === ",") transport.move(-1);
    else if (event.key === ".") transport.move(1);
    else if (zoom) picture.scale(zoom);
    else if (event.key === "0") picture.fit();
    else if (event.key === "/") this.search.focus();
    else if (event.key === "Escape") session.select(null);
    else return;
    event.preventDefault();
  }
}
