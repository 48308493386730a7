// A recorded run: the loss, the map of layers by steps, the findings over time, and the graphs of
// the steps that are asked for.

import { App } from "./app.js";
import { button, fill, hint, html, KEPT, set, svg } from "./elements.js";
import { PageModel } from "./local.js";
import { scalar, short } from "./numbers.js";
import { unpacked } from "./pictures.js";
import { compared } from "./runcompared.js";
import { FOUND, RunMap } from "./runmap.js";
import { RunPasses } from "./runpasses.js";
import { paint, watch } from "./theme.js";
import { filled, languageOf } from "./words.js";

/** @import { Model } from "./session.js" */

export class RunView {
  /** @type {Map<number, number>} by step which of its backward passes was asked for */
  passes = new Map();
  total = 0;
  second = false;
  serial = 0;

  /**
   * @param {Model} model
   * @param {HTMLElement} el
   */
  constructor(model, el) {
    this.model = model;
    this.what = "gradients";
    /** @type {(number | undefined)[]} the steps that are shown, and compared */
    this.chosen = [undefined, undefined];
    /** @type {App[]} */
    this.apps = [];
    const all = model.get("words");
    this.language = languageOf(all, model.get("language"));
    this.root = html("div", { class: "gradviz-app gradviz-run", lang: this.language, ...KEPT });
    el.append(this.root);
    const repaint = () => paint(this.root, model.get("theme"));
    repaint();
    this.unwatch = watch(repaint);
    this.map = svg("svg", { class: "map", role: "img", "aria-label": this.t("run map") });
    this.choice = html("div", { class: "choice" });
    this.said = html("ul", { class: "over-time" });
    this.told = html("div", { class: "told", "aria-live": "polite" });
    this.places = html("div", { class: "several" });
    this.title = html("strong", { class: "title" });
    const options = Object.keys(this.run.what).map((value) =>
      html("option", { value }, this.t(`run ${value}`)),
    );
    this.root.append(
      html(
        "header",
        {},
        this.title,
        html(
          "label",
          {},
          this.t("run map"),
          " ",
          html(
            "select",
            {
              onchange: ({ target }) => {
                this.what = target.value;
                this.draw();
              },
            },
            options,
          ),
        ),
      ),
      html("div", { class: "scroll" }, this.map),
      this.choice,
      this.said,
      this.told,
      this.places,
    );
    this.store = new RunPasses(model);
    this.listeners = { "change:run": () => this.refresh(), "change:graphs": () => this.came() };
    for (const [event, listener] of Object.entries(this.listeners)) model.on(event, listener);
    this.refresh();
    this.came();
  }

  /** @returns {Recorded} */
  get run() {
    return this.model.get("run");
  }

  /** @type {(key: string, places?: Record<string, string | number>) => string} */
  t(key, places = {}) {
    return filled(this.model.get("words")[this.language][key], places).join("");
  }

  close() {
    for (const [event, listener] of Object.entries(this.listeners)) this.model.off(event, listener);
    for (const app of this.apps) app.close();
    this.unwatch();
    this.root.remove();
  }

  refresh() {
    const { run } = this;
    if (run.total < this.total) this.store.clear(); // it was begun anew
    this.total = run.total;
    this.title.textContent = this.t("run title", { name: run.title, n: run.total });
    this.chosen = this.chosen.map((step) => (this.place(step) < 0 ? undefined : step));
    this.draw();
  }

  /** @param {number | undefined} step */
  place(step) {
    return this.run.columns.findIndex((column) => column.step === step);
  }

  draw() {
    const { run } = this;
    const choose = (/** @type {number} */ step, /** @type {boolean} */ other) =>
      this.choose(step, other || this.second);
    const t = (/** @type {string} */ key, /** @type {any} */ places) => this.t(key, places);
    const map = new RunMap(run, this.what, t, choose, this.language);
    const { width, height } = map;
    set(this.map, { viewBox: `0 0 ${width} ${height}`, width, height });
    fill(this.map, map.parts());
    this.chooser();
    fill(
      this.said,
      run.findings.map(({ text, severity, first }) => {
        const open = this.t("run open", { step: first });
        const opener = button(open, open, () => this.choose(first));
        const said = text[this.language];
        return html("li", { class: `is-${severity}` }, FOUND[severity], " ", said, " ", opener);
      }),
    );
    this.mark();
  }

  /** The steps by keyboard, and whether two are compared. */
  chooser() {
    const { columns } = this.run;
    const slider = (/** @type {number} */ which) => {
      const place = this.place(this.chosen[which]);
      return html("input", {
        type: "range",
        min: 0,
        max: Math.max(columns.length - 1, 0),
        value: place < 0 ? columns.length - 1 : place,
        "aria-label": this.t(which ? "run other" : "run step"),
        "aria-valuetext": String(columns[place]?.step ?? ""),
        onchange: ({ target }) => this.choose(columns[Number(target.value)].step, which === 1),
      });
    };
    if (!columns.length) return;
    fill(
      this.choice,
      html("label", {}, this.t("run step"), " ", this.chosen[0] ?? "–", " ", slider(0)),
      html(
        "label",
        {},
        html("input", {
          type: "checkbox",
          checked: this.second,
          onchange: ({ target }) => {
            this.second = target.checked;
            if (!this.second) this.chosen[1] = undefined;
            this.draw();
            this.show();
          },
        }),
        " ",
        this.t("run compare"),
      ),
      this.second &&
        html("label", {}, this.t("run other"), " ", this.chosen[1] ?? "–", " ", slider(1)),
      hint(this.t("run hint")),
    );
  }

  mark() {
    for (const column of this.map.querySelectorAll(".column")) {
      const step = Number(column.getAttribute("data-step"));
      column.classList.toggle("is-first", step === this.chosen[0]);
      column.classList.toggle("is-second", step === this.chosen[1]);
    }
  }

  /**
   * @param {number} step
   * @param {boolean} other whether it is the one to compare with
   */
  choose(step, other = false) {
    if (other) this.second = true;
    this.chosen[other && this.chosen[0] !== undefined ? 1 : 0] = step;
    this.chooser();
    this.mark();
    this.show();
  }

  // The graphs

  came() {
    this.store.came(this.chosen);
    this.show();
  }

  async show() {
    const serial = ++this.serial;
    const steps = this.chosen.filter((step) => step !== undefined);
    /** @type {any[][]} */
    const opened = [];
    for (const step of steps) {
      if (this.store.asks(step, this.passes.get(step) ?? null)) {
        fill(this.told, hint(this.t("run asked", { step })));
        return; // it comes with what has changed then
      }
      opened.push(await Promise.all(this.store.of(step).map(this.unpack, this)));
    }
    if (serial !== this.serial) return; // something else was asked for meanwhile
    const [a, b] = steps;
    fill(
      this.told,
      b === undefined ? [] : compared(this.run, this.what, [a, b], (key) => this.t(key)),
    );
    for (const app of this.apps) app.close();
    this.apps = [];
    this.places.replaceChildren(
      ...steps.map((step, n) => {
        const { loss, passes, note } = this.run.columns[this.place(step)];
        const place = html(
          "div",
          { class: "place" },
          html(
            "h3",
            {},
            this.t("run at", { step, loss: loss === null ? "–" : short(scalar(loss)) }),
          ),
          note && hint(note),
        );
        const gravest = [...opened[n]].sort((x, y) => y.gravity - x.gravity)[0]?.index;
        const pass = this.passes.get(step) ?? gravest;
        const state = opened[n].find(({ index }) => index === pass);
        const here = opened[n].map(({ index }) => index);
        if (passes > 1 && here.length) place.append(this.passChooser(step, passes, here, pass));
        if (!state) place.append(hint(this.t("run no graph", { step })));
        else {
          const { findings, ...rest } = state;
          const found = findings[this.language];
          if (found) place.append(html("pre", {}, found));
          const { model } = this;
          const [words, theme] = [model.get("words"), model.get("theme")];
          const shown = { ...rest, words, theme, language: this.language };
          this.apps.push(new App(new PageModel(shown), place));
        }
        return place;
      }),
    );
    this.places.classList.toggle("is-two", steps.length === 2);
  }

  /**
   * A step's backward passes, and which of them is shown.
   * @param {number} step
   * @param {number} made
   * @param {number[]} here
   * @param {number} pass
   */
  passChooser(step, made, here, pass) {
    const all = this.model.get("kernel") || here.length === made;
    const label = this.t(all ? "run passes" : "run some passes", { n: made, m: here.length });
    const choices = all ? Array.from({ length: made }, (_, n) => n) : here;
    const choice = html(
      "select",
      {
        "aria-label": label,
        onchange: ({ target }) => {
          this.passes.set(step, Number(target.value));
          this.show();
        },
      },
      choices.map((n) =>
        html("option", { value: n, selected: n === pass }, this.t("run pass", { n: n + 1 })),
      ),
    );
    return hint(label, " ", choice);
  }

  /** @param {OpenedPass} opened */
  async unpack({ index, structure, packed }) {
    const rest = await unpacked(packed);
    return { ...rest, index, structure: await unpacked(this.model.get("structures")[structure]) };
  }
}
