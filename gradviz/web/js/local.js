// What a page does without Python: it answers the requests of its parts by itself.

import { flat, fromLists, mapped, sameShape, shapeOf } from "./arrays.js";
import { rounding } from "./functions.js";
import { finite, norm, scalar, wire } from "./numbers.js";
import { Pictures } from "./pictures.js";
import { Machine, numbersOfRun } from "./program.js";
import { filled, languageOf } from "./words.js";

/** @import { Leaves, Run } from "./run.js" */
/** @import { Model } from "./session.js" */
/**
 * Where one can go back to.
 * @typedef {{past: Leaves[], at: number, history: Quantity[]}} Place
 */

const PRECISE = { float64: 1e-6, float32: 1e-2 }; // as near the page's numbers are to Python's
const TOGETHER = 600; // ms in which the changes of one leaf are undone as one

/** Answers the requests of a page as the kernel answers those of a widget. */
class Local {
  /** @param {PageModel} model */
  constructor(model) {
    this.model = model;
    /** @type {Machine | undefined} */
    this.made = undefined;
    /** @type {Leaves[]} */
    this.past = [];
    /** @type {Place[]} */
    this.done = [];
    /** @type {Place[]} */
    this.undone = [];
    this.last = { what: "", when: 0 };
    this.pictures = new Pictures(model, (text, name) => this.t(text, { name }));
  }

  get structure() {
    return /** @type {Structure} */ (this.model.get("structure"));
  }

  /** The program; at first it is made sure that it computes what Python computed. */
  get machine() {
    if (this.made) return this.made;
    const { program, refusal, nodes } = this.structure;
    if (!program) throw new Error(refusal[this.language]);
    const machine = new Machine(program);
    const { values, grads } = numbersOfRun(machine.run(machine.recorded).run, this.structure);
    const recorded = this.model.get("numbers");
    for (const [ours, theirs] of [
      [values, recorded.values],
      [grads, recorded.grads],
    ]) {
      const most = Math.max(...theirs.map(norm).filter(finite), 0);
      ours.forEach((/** @type {Quantity | null} */ q, /** @type {number} */ i) => {
        const { dtype, name } = nodes[i];
        const precise = dtype === "float32" ? PRECISE.float32 : PRECISE.float64;
        const [own, other] = [norm(q), norm(theirs[i])];
        const apart = Math.abs(own - other) > precise * (other + 1e-6 * most);
        if (finite(other) ? apart : finite(own)) throw new Error(this.t("disagrees", { name }));
      });
    }
    this.past = [machine.recorded];
    this.made = machine;
    return machine;
  }

  /**
   * Both passes, unless the program would have gone another way.
   * @param {Leaves} leaves
   */
  compute(leaves) {
    const { run, astray } = this.machine.run(leaves);
    if (astray !== undefined) throw new Error(this.t("astray", { place: astray }));
    return run;
  }

  /** @param {Run} run */
  loss(run) {
    return wire(flat(run.values[run.program.output])[0]);
  }

  /** @param {ViewRequest & {serial: string}} request */
  async answer(request) {
    let trouble = "";
    try {
      if (request.kind === "set") this.set(request);
      else if (request.kind === "train") trouble = this.train(request);
      else if (request.kind === "at") this.at(request);
      else if (request.kind === "fold") await this.pictures.fold(request);
      else if (request.kind === "turn") await this.pictures.turn(request.direction);
      else this.go(request.kind);
    } catch (error) {
      trouble = String(error instanceof Error ? error.message : error);
    }
    this.model.set("answer", { serial: request.serial, trouble });
  }

  /** @returns {Place} */
  place() {
    const [at, history] = [this.model.get("at"), this.model.get("history")];
    return { past: this.past, at, history };
  }

  /**
   * Note where one can go back to; what was undone is forgotten.
   * @param {string} what
   * @param {Place} place
   */
  note(what, place) {
    const now = Date.now();
    const again = what !== "" && what === this.last.what && now - this.last.when < TOGETHER;
    if (!again) this.done.push(place);
    this.last = { what, when: now };
    this.undone = [];
  }

  /**
   * @param {Run} run
   * @param {Place} place
   */
  show(run, { past, at, history }) {
    this.past = past;
    this.model.set("numbers", { ...numbersOfRun(run, this.structure), moved: true });
    this.model.set("history", history);
    this.model.set("at", at);
    this.model.set("edits", [this.done.length, this.undone.length]);
  }

  /** @param {SetRequest} request */
  set({ values }) {
    const { recorded, program } = this.machine;
    const leaves = { ...this.past[this.model.get("at")] };
    for (const [id, given] of Object.entries(values)) {
      const i = this.structure.nodes.findIndex((node) => node.id === id);
      const { name, dtype, shape } = this.structure.nodes[i];
      const value = fromLists(given);
      if (!(i in recorded) || !dtype.startsWith("float"))
        throw new Error(this.t("integers", { name }));
      if (value === undefined || !sameShape(shapeOf(value), shapeOf(recorded[i]))) {
        throw new Error(this.t("otherShape", { name, shape }));
      }
      leaves[i] = rounding(program.types[program.shown[i][0]])(value);
    }
    const run = this.compute(leaves);
    this.note(Object.keys(values).join(), this.place());
    this.show(run, { past: [leaves], at: 0, history: [this.loss(run)] });
  }

  /**
   * Steps of gradient descent, from the point that is shown: what came after it is forgotten.
   * @param {TrainRequest} request
   * @returns {string} why it ended before
   */
  train({ steps, rate }) {
    const { program } = this.machine;
    const before = this.place();
    const past = this.past.slice(0, before.at + 1);
    let run = this.compute(past[before.at]);
    const history = before.history.slice(0, past.length);
    if (!history.length) history.push(this.loss(run));
    let trouble = "";
    for (let n = 0; n < steps && !trouble && finite(scalar(history[history.length - 1])); n++) {
      const leaves = { ...past[past.length - 1] };
      for (const i of this.structure.moving) {
        const [own] = program.shown[i];
        const round = rounding(program.types[own]);
        const step = round(mapped((g) => rate * g, run.gradients[own] ?? 0));
        leaves[i] = round(mapped((x, d) => x - d, leaves[i], step));
      }
      try {
        run = this.compute(leaves);
        past.push(leaves);
        history.push(this.loss(run));
      } catch (error) {
        trouble = String(error instanceof Error ? error.message : error);
      }
    }
    if (past.length > before.at + 1) {
      this.note("", before);
      this.show(run, { past, at: past.length - 1, history });
    }
    return trouble;
  }

  /** @param {AtRequest} request */
  at({ index }) {
    const { past, history } = this.place();
    if (past[index]) this.show(this.compute(past[index]), { past, at: index, history });
  }

  /** @param {GoRequest["kind"]} way */
  go(way) {
    const { recorded } = this.machine;
    const now = this.place();
    const [from, onto] = way === "redo" ? [this.undone, this.done] : [this.done, this.undone];
    const to = way === "reset" ? { past: [recorded], at: 0, history: [] } : from.pop();
    if (!to) return;
    if (way === "reset") this.note("", now);
    else onto.push(now);
    this.last.what = "";
    this.show(this.compute(to.past[to.at]), to);
  }

  /** @type {(text: string, places: Record<string, string>) => string} */
  t(text, places) {
    return filled(this.model.get("words")[this.language][text], places).join("");
  }

  get language() {
    return languageOf(this.model.get("words"), this.model.get("language"));
  }
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
      edits: [0, 0],
      rate: 0.5,
      lesson: null,
      limit: null,
      compact: false,
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
