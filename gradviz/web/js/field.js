// A leaf's numbers, to type, to nudge with the arrow keys, or to drag along a slider.

import { fill, hint, html } from "./elements.js";
import { finite, isNumber, scalar, typed } from "./numbers.js";
import { arrayIn, rowsTyped } from "./typing.js";

/** @import { Children } from "./elements.js" */
/** @import { Host, Session } from "./session.js" */

/**
 * @param {Session} session
 * @param {Host} host
 * @param {number} i
 * @param {number | number[]} value
 */
export function change(session, host, i, value) {
  host.ask({ kind: "set", values: { [session.nodes[i].id]: value } });
}

/** A step that changes the second digit of a number. @type {(x: number) => number} */
const unitOf = (x) => 10 ** (Math.floor(Math.log10(Math.abs(x) || 1)) - 1);
/** @type {(x: number) => number} */
const tidy = (x) => Number(x.toPrecision(6)) + 0;
const LONGEST = 60; // characters of a text that is said to be no array
/** @type {(session: Session, i: number) => number[]} */
const shapeOfNode = ({ nodes }, i) => nodes[i].shape.split("×").filter(Boolean).map(Number);
const NUMBER = /[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/gi;

export class Field {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    this.root = html("div", { class: "field" });
    this.shown = "";
  }

  /**
   * The field stays while somebody is in it.
   * @param {number | null} i
   */
  show(i) {
    const { session } = this;
    const shown = `${i} ${session.language} ${session.editable}`;
    if (i !== null && this.shown !== shown) fill(this.root, this.build(i));
    this.shown = shown;
    this.root.hidden = i === null;
    if (i === null) return;
    const q = session.numbers.values[i];
    const text = this.text(i);
    const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (
      this.root.querySelectorAll("input, textarea")
    );
    for (const input of inputs) {
      if (input === document.activeElement) continue;
      if (input.type === "range") this.reach(input, scalar(q));
      input.value = text;
    }
  }

  /** @param {number} i */
  text(i) {
    const { session } = this;
    const q = session.numbers.values[i];
    if (q === null || isNumber(q)) return String(scalar(q));
    return q.full.startsWith("[") ? q.full : rowsTyped(q, shapeOfNode(session, i));
  }

  /**
   * A slider reaches twice as far as its number, and follows it.
   * @param {HTMLInputElement} slider
   * @param {number} x
   */
  reach(slider, x) {
    slider.hidden = !finite(x);
    if (!finite(x) || (x > Number(slider.min) && x < Number(slider.max))) return;
    const reach = Math.max(2 * Math.abs(x), 1);
    Object.assign(slider, { min: x - reach, max: x + reach, step: reach / 200 });
  }

  /**
   * @param {number} i
   * @returns {Children}
   */
  build(i) {
    const { session, host } = this;
    if (!session.editable) return hint(session.refusal());
    const { name, shape } = session.nodes[i];
    const q = session.numbers.values[i];
    const label = session.t("change", { name });
    const settings = {
      "aria-label": label,
      spellcheck: "false",
      onchange: (/** @type {any} */ { target }) => this.type(i, target),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.nudge(i, event),
    };
    const rows = Math.min(this.text(i).split("\n").length || 1, 8);
    const input = isNumber(q)
      ? html("input", { type: "text", inputmode: "decimal", ...settings })
      : html("textarea", { rows, placeholder: session.t("paste", { shape }), ...settings });
    const slider = html("input", {
      type: "range",
      min: 0,
      max: 0,
      "aria-label": label,
      oninput: ({ target }) => change(session, host, i, tidy(Number(target.value))),
    });
    return [
      html("label", {}, `${name} = `),
      input,
      isNumber(q) && slider,
      !session.get("kernel") && hint(session.t("byFormulas")),
    ];
  }

  /**
   * The number at the cursor goes up or down, with Shift ten times as far.
   * @param {number} i
   * @param {KeyboardEvent} event
   */
  nudge(i, event) {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const input = /** @type {HTMLInputElement} */ (event.target);
    const text = input.value.replaceAll("−", "-");
    const at = input.selectionStart ?? 0;
    const found = [...text.matchAll(NUMBER)].find((m) => at <= m.index + m[0].length);
    if (!way || !found || text.includes("\n")) return;
    event.preventDefault();
    const x = Number(found[0]);
    const next = String(tidy(x + way * unitOf(x) * (event.shiftKey ? 10 : 1)));
    input.value = text.slice(0, found.index) + next + text.slice(found.index + found[0].length);
    input.setSelectionRange(found.index, found.index + next.length);
    this.type(i, input);
  }

  /**
   * @param {number} i
   * @param {HTMLInputElement} input
   */
  type(i, input) {
    const { session, host } = this;
    const q = session.numbers.values[i];
    const text = input.value.trim().replaceAll("−", "-");
    const single = isNumber(q);
    /** @type {any} */
    const value = single ? typed(text) : arrayIn(text, shapeOfNode(session, i));
    const fits = single ? finite(value) : Array.isArray(value);
    input.setAttribute("aria-invalid", String(!fits));
    if (!fits) {
      const why = !single ? "noArray" : value === undefined ? "noNumber" : "tooLarge";
      const said = text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : input.value;
      host.warn(session.t(why, { text: said, shape: session.nodes[i].shape }));
      return;
    }
    host.warn("");
    if (value !== scalar(q)) change(session, host, i, value);
    const slider = /** @type {HTMLInputElement | null} */ (this.root.querySelector("[type=range]"));
    if (slider) this.reach(slider, value);
  }
}
