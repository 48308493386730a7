// What is shown and what is asked for: the model's traits, and what follows from them.

import { Chain } from "./chain.js";
import { finite, isNumber, scalar, short } from "./numbers.js";
import { filled, languageOf } from "./words.js";

/**
 * What anywidget gives: the other half is Python, or alone.js.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, listener: () => void) => void} on
 * @property {(event: string, listener: () => void) => void} off
 * @property {(message: any) => void} send
 */
/** @typedef {{node?: number, edge?: number}} Asked */

/**
 * A list with `x` in it if it was not, and without it if it was.
 * @type {(list: string[], x: string) => string[]}
 */
export const toggled = (list, x) => (list.includes(x) ? list.filter((y) => y !== x) : [...list, x]);

/** Of one story: a program that took another branch has another story, and another Session. */
export class Session {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.story = this.get("story");
    this.nodes = this.story.nodes;
    this.edges = this.story.edges;
    this.output = this.story.output;
    this.loss = this.nodes[this.output].name;
    this.last = this.story.steps.length - 1;
    this.chain = new Chain(this.story);
    this.words = this.get("words")[this.language];
    /** @type {number[] | null} the path that is pointed at */
    this.path = null;
    this.numbers = this.get("numbers");
    this.past = this.chain.until(this.step, this.numbers.messages);
  }

  /** The numbers as they are now; they stay together until the next time. */
  take() {
    this.numbers = this.get("numbers");
    this.past = this.chain.until(this.step, this.numbers.messages);
  }

  /**
   * @template {keyof State} K
   * @param {K} name
   * @returns {State[K]}
   */
  get(name) {
    return this.model.get(name);
  }
  /**
   * @template {keyof State} K
   * @param {K} name
   * @param {State[K]} value
   */
  put(name, value) {
    this.model.set(name, value);
    try {
      this.model.save_changes();
    } catch {
      /* no kernel: the view keeps its own state */
    }
  }

  // Words

  get language() {
    return languageOf(this.get("words"), this.get("language"));
  }
  /**
   * What is said: a text with places, `{name}`, for texts and elements.
   * @template [T=never]
   * @param {string} key
   * @param {Record<string, T | string | number | bigint>} places
   * @returns {(T | string | number | bigint)[]}
   */
  say(key, places = {}) {
    return filled(this.words[key] ?? key, places);
  }
  /**
   * @param {string} key
   * @param {Record<string, string | number | bigint>} [places]
   */
  t(key, places) {
    return this.say(key, places).join("");
  }
  /** @param {number} n */
  ordinal(n) {
    return this.words.ordinals[n - 1] ?? this.t("nth", { n });
  }

  // Steps

  get step() {
    return Math.min(Math.max(this.get("step"), 0), this.last);
  }
  get done() {
    return this.step === this.last;
  }
  /** @param {number} step */
  go(step) {
    const next = Math.min(Math.max(step, 0), this.last);
    if (next !== this.step) this.put("step", next);
  }

  // Selecting

  /** @param {string} id */
  index(id) {
    return this.nodes.findIndex((node) => node.id === id);
  }
  targets() {
    return this.get("targets")
      .map((id) => this.index(id))
      .filter((i) => i >= 0);
  }
  /**
   * @param {number} e
   * @param {"id" | "name"} said
   */
  edgeName(e, said = "id") {
    const { edges, nodes } = this;
    const { u, v, key } = edges[e];
    const twins = edges.filter((other) => other.u === u && other.v === v);
    return `${nodes[u][said]}→${nodes[v][said]}${twins.length > 1 ? `#${key}` : ""}`;
  }
  /**
   * What the trait `selected` names: nodes, and edges as "u→v".
   * @returns {Asked[]}
   */
  selection() {
    return this.get("selected").flatMap((name) => this.named(name) ?? []);
  }
  /**
   * @param {string} name
   * @returns {Asked | undefined}
   */
  named(name) {
    const node = this.index(name);
    if (node >= 0) return { node };
    const edge = this.edges.findIndex((_, e) => this.edgeName(e) === name);
    return edge >= 0 ? { edge } : undefined;
  }
  /** @param {string | null} name */
  select(name) {
    this.path = null;
    this.put("selected", name ? [name] : []);
  }
  /** @param {number} i */
  toggleTarget(i) {
    if (!this.done) this.go(this.last);
    this.put("targets", toggled(this.get("targets"), this.nodes[i].id));
  }

  // What is said of values and gradients

  /** @param {number} i */
  hasChain(i) {
    return i !== this.output && this.chain.out[i].length > 0 && this.numbers.grads[i] !== null;
  }
  /** @param {number} i */
  stateInWords(i) {
    return this.t(`state ${this.numbers.states[i]}`, { name: this.loss });
  }
  /** What is wrong with the numbers that are shown. */
  trouble() {
    const { trouble, values } = this.numbers;
    const loss = values[this.output];
    if (trouble || !isNumber(loss) || finite(scalar(loss))) return trouble;
    return this.t("nonFinite", { name: this.loss, value: short(scalar(loss)) });
  }

  // Changing

  get editable() {
    return Boolean(this.get("kernel") || this.story.program);
  }
  /** Why a leaf cannot be changed here; "" where it can. */
  refusal() {
    return this.editable ? "" : this.t("noKernel", { why: this.story.refusal });
  }
}

/**
 * What a part of the page asks of the whole.
 * @typedef {object} Host
 * @property {(request: ViewRequest) => void} ask the other half of the model
 * @property {(text: string) => void} warn
 * @property {() => void} mark draw marks and badges again
 * @property {(key: string) => void} toggle open or close a fold
 */
