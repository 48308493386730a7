// A leaf's numbers, to type, to nudge with the arrow keys, or to drag along a slider.

import { axesOf, sizeOf } from "./arrays.js";
import { fill, hint, html } from "./elements.js";
import { finite, isNumber, scalar, typed } from "./numbers.js";
import { arrayIn, listsOf, rowsTyped } from "./typing.js";

/** @import { Children } from "./elements.js" */
/** @import { Host, Session } from "./session.js" */
/**
 * A leaf, or one number of an array: its place in the row of all.
 * @typedef {{i: number, at?: number}} Leaf
 */

/**
 * The number that a leaf is, or that stands there in it; NaN where the page does not have it.
 * @type {(session: Session, leaf: Leaf) => number}
 */
export function numberOf({ numbers, nodes }, { i, at }) {
  const q = numbers.values[i];
  if (q === null || isNumber(q)) return scalar(q);
  if (at === undefined || q.first?.length !== sizeOf(axesOf(nodes[i].shape))) return NaN;
  return scalar(q.first[at]);
}

/**
 * @param {Session} session
 * @param {Host} host
 * @param {Leaf} leaf
 * @param {number | number[]} value
 */
export function change({ nodes, numbers }, host, { i, at }, value) {
  const { id, shape } = nodes[i];
  const q = numbers.values[i];
  const single = at !== undefined && q !== null && !isNumber(q);
  const all = single ? q.first?.map((x, k) => (k === at ? value : scalar(x))) : value;
  const lists = Array.isArray(all) ? listsOf(/** @type {number[]} */ (all), axesOf(shape)) : all;
  host.ask({ kind: "set", values: { [id]: lists } });
}

/** A step that changes the second digit of a number. @type {(x: number) => number} */
const unitOf = (x) => 10 ** (Math.floor(Math.log10(Math.abs(x) || 1)) - 1);
/** @type {(x: number) => number} */
const tidy = (x) => Number(x.toPrecision(6)) + 0;
const LONGEST = 60; // characters of a text that is said to be no array
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
   * @param {Leaf | null} leaf
   */
  show(leaf) {
    const { session } = this;
    const shown = `${leaf?.i} ${leaf?.at} ${session.language} ${session.editable}`;
    if (leaf && this.shown !== shown) fill(this.root, this.build(leaf));
    this.shown = shown;
    this.root.hidden = !leaf;
    if (!leaf) return;
    const text = this.text(leaf);
    const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (
      this.root.querySelectorAll("input, textarea")
    );
    for (const input of inputs) {
      if (input === document.activeElement) continue;
      if (input.type === "range") this.reach(input, numberOf(session, leaf));
      input.value = text;
    }
  }

  /** @param {Leaf} leaf */
  text({ i, at }) {
    const { session } = this;
    const q = session.numbers.values[i];
    if (q === null || isNumber(q) || at !== undefined) return String(numberOf(session, { i, at }));
    return q.full.startsWith("[") ? q.full : rowsTyped(q, axesOf(session.nodes[i].shape));
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
   * @param {Leaf} leaf
   * @returns {Children}
   */
  build(leaf) {
    const { session, host } = this;
    if (!session.editable) return hint(session.refusal());
    const { shape } = session.nodes[leaf.i];
    const single = this.isSingle(leaf);
    const name = session.called(leaf.i, leaf.at);
    const label = session.t("change", { name });
    const settings = {
      "aria-label": label,
      spellcheck: "false",
      onchange: (/** @type {any} */ { target }) => this.type(leaf, target),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.nudge(leaf, event),
    };
    const rows = Math.min(this.text(leaf).split("\n").length || 1, 8);
    const input = single
      ? html("input", { type: "text", inputmode: "decimal", ...settings })
      : html("textarea", { rows, placeholder: session.t("paste", { shape }), ...settings });
    const slider = html("input", {
      type: "range",
      min: 0,
      max: 0,
      "aria-label": label,
      oninput: ({ target }) => change(session, host, leaf, tidy(Number(target.value))),
    });
    return [
      html("label", {}, `${name} = `),
      input,
      single && slider,
      !session.get("kernel") && hint(session.t("byFormulas")),
    ];
  }

  /** @param {Leaf} leaf */
  isSingle({ i, at }) {
    return at !== undefined || isNumber(this.session.numbers.values[i]);
  }

  /**
   * The number at the cursor goes up or down, with Shift ten times as far.
   * @param {Leaf} leaf
   * @param {KeyboardEvent} event
   */
  nudge(leaf, event) {
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
    this.type(leaf, input);
  }

  /**
   * @param {Leaf} leaf
   * @param {HTMLInputElement} input
   */
  type(leaf, input) {
    const { session, host } = this;
    const { shape } = session.nodes[leaf.i];
    const text = input.value.trim().replaceAll("−", "-");
    const single = this.isSingle(leaf);
    const value = single ? typed(text) : arrayIn(text, axesOf(shape));
    const numbers = typeof value === "number" ? [value] : (value ?? []);
    const fits = value !== undefined && numbers.every(finite);
    input.setAttribute("aria-invalid", String(!fits));
    if (!fits) {
      const why = value !== undefined ? "tooLarge" : single ? "noNumber" : "noArray";
      const said = text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : input.value;
      host.warn(session.t(why, { text: said, shape }));
      return;
    }
    host.warn("");
    if (value !== numberOf(session, leaf)) change(session, host, leaf, value);
    const slider = /** @type {HTMLInputElement | null} */ (this.root.querySelector("[type=range]"));
    if (slider) this.reach(slider, numbers[0]);
  }
}
