// What is shown and what is asked for: the model's traits, and what follows from them.

import { axesOf, stepsOf } from "./arrays.js";
import { boxOf } from "./boxes.js";
import { Chain } from "./chain.js";
import { courseOf } from "./course.js";
import { masked } from "./mask.js";
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
 * A name without its mathematics, where that is left out.
 * @type {(name: string) => Formula}
 */
const plain = (name) => ({
  math: ["mtext", name],
  tex: `\\text{${name.replace(/[\\{}$&#^_%~]/g, (c) => `\\char${c.charCodeAt(0)} `)}}`,
});

/**
 * A list with `x` in it if it was not, and without it if it was.
 * @type {(list: string[], x: string) => string[]}
 */
export const toggled = (list, x) => (list.includes(x) ? list.filter((y) => y !== x) : [...list, x]);

/** Of one structure: a program that took another branch has another one, and another Session. */
export class Session {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.structure = this.get("structure");
    this.nodes = this.structure.nodes.map((node) => ({
      ...node,
      label: node.label ?? plain(node.name),
    }));
    this.edges = this.structure.edges;
    this.output = this.structure.output;
    this.loss = this.nodes[this.output].name;
    this.chain = new Chain(this.structure);
    this.words = this.get("words")[this.language];
    /** @type {number[] | null} the path that is pointed at */
    this.path = null;
    /** @type {number[]} edges that a question points at */
    this.pointed = [];
    this.course = this.plan();
    /** @type {unknown[]} what the course was made of */
    this.planned = this.plans();
    this.past = this.chain.until(this.course, this.step);
    this.numbers = masked(this, this.get("numbers"));
  }

  plans() {
    return [this.get("drawing"), this.get("targets")];
  }
  plan() {
    return courseOf(this.chain, this.targets(), this.get("drawing"));
  }

  /** The numbers as they are now, as far as this step tells them; they stay together. */
  take() {
    const plans = this.plans();
    if (plans.some((part, n) => part !== this.planned[n])) {
      this.course = this.plan();
      this.planned = plans;
    }
    this.past = this.chain.until(this.course, this.step);
    this.numbers = masked(this, this.get("numbers"));
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

  get last() {
    return this.course.events.length - 1;
  }
  /** The event after which both passes stand: never in the middle of a closed fold. */
  get step() {
    return this.stops.find((stop) => stop >= this.get("step")) ?? this.stops[this.stops.length - 1];
  }
  /** Where stepping stops; in a lesson only as far as has been answered. */
  get stops() {
    const { stops } = this.course;
    const limit = this.get("limit") ?? Infinity;
    return limit < this.last ? stops.filter((stop, n) => stop <= limit || !n) : stops;
  }
  get done() {
    return this.step === this.last;
  }
  /** Which of the stops this is. */
  get stop() {
    return this.stops.indexOf(this.step);
  }
  /** @param {number} stop */
  go(stop) {
    const { stops } = this;
    const next = stops[Math.min(Math.max(stop, 0), stops.length - 1)];
    if (next !== this.step) this.put("step", next === this.last ? this.end : next);
  }
  finish() {
    this.go(this.stops.length - 1);
  }
  /** After every event of any course. */
  get end() {
    return Math.max(this.last, this.structure.steps.length - 1);
  }

  /** The edges whose local derivatives a lesson has asked for and told. */
  answered() {
    const { questions = [] } = this.get("lesson") ?? {};
    const { attempts } = this.get("progress");
    return questions.flatMap(({ kind, edge }, n) =>
      kind === "local" && (attempts[n]?.right || attempts[n]?.shown) ? [edge] : [],
    );
  }

  // Selecting

  /**
   * A value's name, or that of one of its numbers: W[0,1].
   * @param {number} i
   * @param {number} [at]
   */
  called(i, at) {
    const { name, shape } = this.nodes[i];
    const axes = axesOf(shape);
    if (at === undefined || !axes.length) return name;
    return `${name}[${stepsOf(axes).map((step, k) => Math.floor(at / step) % axes[k])}]`;
  }

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
  /**
   * The closed fold that a value is in, by its last part.
   * @param {number} i
   */
  foldOf(i) {
    const drawing = this.get("drawing");
    return drawing.closed[boxOf(drawing, i)] ?? this.nodes[i].name;
  }
  /** @param {number} i */
  toggleTarget(i) {
    this.aim(toggled(this.get("targets"), this.nodes[i].id));
  }
  /**
   * Other targets, and the end of their ledger.
   * @param {string[]} targets
   */
  aim(targets) {
    this.put("targets", targets);
    this.take();
    if (this.get("step") < this.end) this.put("step", this.end);
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
    return Boolean(this.get("kernel") || this.structure.program);
  }
  /** Why a leaf cannot be changed here; "" where it can. */
  refusal() {
    return this.editable ? "" : this.t("noKernel", { why: this.why });
  }
  /** Why the page does not compute. */
  get why() {
    return this.structure.refusal[this.language] ?? "";
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
