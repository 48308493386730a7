// What a page does without Python: it answers the requests of its parts by itself.

import { scalar } from "./numbers.js";
import { compute } from "./program.js";
import { filled, languageOf } from "./words.js";

/** @import { Model } from "./session.js" */
/** @typedef {Record<number, number>} Leaves values by shown node */

/** Answers the requests of a page as the kernel answers those of a widget. */
class Local {
  /** @param {PageModel} model */
  constructor(model) {
    this.model = model;
    this.past = [this.leaves()];
    /** @type {Drawing[] | undefined} */
    this.drawings = undefined;
  }

  get story() {
    return /** @type {Story} */ (this.model.get("story"));
  }

  /** @returns {Leaves} */
  leaves() {
    const { values } = this.model.get("numbers");
    const leaves = this.story.nodes.flatMap((node, i) => (node.leaf ? [i] : []));
    return Object.fromEntries(leaves.map((i) => [i, scalar(values[i])]));
  }

  /** @param {Leaves} leaves */
  compute(leaves) {
    const { program, edges, refusal } = this.story;
    if (!program) throw new Error(refusal);
    return compute(program, edges, leaves);
  }

  /** @param {Numbers} numbers */
  loss(numbers) {
    return numbers.values[this.story.output];
  }

  /** @param {ViewRequest & {serial: string}} request */
  async answer(request) {
    let trouble = "";
    try {
      if (request.kind === "set") this.set(request);
      else if (request.kind === "train") this.train(request);
      else if (request.kind === "at") this.at(request);
      else await this.fold(request);
    } catch (error) {
      trouble = String(error instanceof Error ? error.message : error);
    }
    this.model.set("answer", { serial: request.serial, trouble });
  }

  /** @param {SetRequest} request */
  set({ values }) {
    const leaves = this.leaves();
    for (const [id, value] of Object.entries(values)) {
      leaves[this.story.nodes.findIndex((node) => node.id === id)] = Number(value);
    }
    const numbers = this.compute(leaves);
    this.model.set("numbers", numbers);
    this.past = [this.leaves()];
    this.model.set("history", [this.loss(numbers)]);
    this.model.set("at", 0);
  }

  /** @param {TrainRequest} request */
  train({ steps, rate }) {
    let numbers = this.model.get("numbers");
    // From the point that is shown: what came after it is forgotten.
    this.past = this.past.slice(0, this.model.get("at") + 1);
    const history = this.model.get("history").slice(0, this.past.length);
    if (!history.length) history.push(this.loss(numbers));
    for (let n = 0; n < steps; n++) {
      const leaves = { ...this.past[this.past.length - 1] };
      for (const i of this.story.moving) leaves[i] -= rate * scalar(numbers.grads[i] ?? 0);
      numbers = this.compute(leaves);
      this.past.push(leaves);
      history.push(this.loss(numbers));
    }
    this.model.set("numbers", numbers);
    this.model.set("history", history);
    this.model.set("at", history.length - 1);
  }

  /** @param {AtRequest} request */
  at({ index }) {
    if (!this.past[index]) return;
    this.model.set("numbers", this.compute(this.past[index]));
    this.model.set("at", index);
  }

  /** @param {FoldRequest} request */
  async fold({ folded, key }) {
    this.drawings ??= /** @type {Drawing[]} */ (await unpacked(this.model.get("drawings")));
    const shut = folded.includes(key);
    /** @type {(drawing: Drawing) => number} */
    const apart = (drawing) => differing(folded, drawing.folded).length;
    const [found] = this.drawings
      .filter(({ folded, scopes }) => scopes.includes(key) && folded.includes(key) === shut)
      .sort((a, b) => apart(a) - apart(b));
    if (!found) throw new Error(this.t(shut ? "notClosed" : "notOpened", key));
    this.model.set("drawing", found);
    this.model.set("folded", found.folded);
    if (apart(found)) throw new Error(this.t("notTogether", key));
  }

  /** @type {(text: string, name: string) => string} */
  t(text, name) {
    const all = this.model.get("words");
    return filled(all[languageOf(all, this.model.get("language"))][text], { name }).join("");
  }
}

/**
 * What is in one of two lists only.
 * @type {(some: string[], others: string[]) => string[]}
 */
const differing = (some, others) => [
  ...some.filter((x) => !others.includes(x)),
  ...others.filter((x) => !some.includes(x)),
];

/**
 * What travels compressed.
 * @param {string} text
 * @returns {Promise<any>}
 */
export async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/**
 * A page's model: anywidget's interface, with no Python behind it.
 * @implements {Model}
 */
export class PageModel {
  /** @param {Partial<State>} state */
  constructor(state) {
    /** @type {Record<string, any>} */
    this.state = {
      step: 1e9,
      selected: [],
      targets: [],
      history: [],
      at: 0,
      rate: 0.5,
      lesson: null,
      limit: null,
      progress: { name: "", at: 0, attempts: [] },
      answer: {},
      language: "",
      theme: "auto",
      ...state,
    };
    /** @type {Map<string, (() => void)[]>} */
    this.listeners = new Map();
    this.local = new Local(this);
  }
  /** @param {string} name */
  get(name) {
    return this.state[name];
  }
  /**
   * @param {string} name
   * @param {any} value
   */
  set(name, value) {
    this.state[name] = value;
    for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
  }
  save_changes() {}
  /** @type {Model["on"]} */
  on(event, listener) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }
  /** @type {Model["off"]} */
  off(event, listener) {
    const left = (this.listeners.get(event) ?? []).filter((other) => other !== listener);
    this.listeners.set(event, left);
  }
  /** @param {ViewRequest & {serial: string}} request */
  send(request) {
    if (request.kind) this.local.answer(request);
  }
}
