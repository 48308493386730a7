// The backward passes of a recorded run's steps: all that a page has, those that a kernel has sent.

/** @import { Model } from "./session.js" */

export class RunPasses {
  /** @type {Map<number, OpenedPass[]>} by step */
  here = new Map();
  asked = "";

  /** @param {Model} model */
  constructor(model) {
    this.model = model;
  }

  clear() {
    this.here.clear();
  }

  /** @param {number} step */
  of(step) {
    return this.here.get(step) ?? [];
  }

  /**
   * Some have come; of a kernel only those of the steps that are looked at stay.
   * @param {(number | undefined)[]} chosen
   */
  came(chosen) {
    if (this.model.get("kernel"))
      for (const step of this.here.keys()) if (!chosen.includes(step)) this.here.delete(step);
    for (const [key, passes] of Object.entries(this.model.get("graphs"))) {
      const step = Number(key);
      const known = new Map(this.of(step).map((one) => [one.index, one]));
      for (const one of passes) known.set(one.index, one);
      this.here.set(
        step,
        [...known.values()].sort((a, b) => a.index - b.index),
      );
    }
  }

  /**
   * Ask the kernel for a pass of a step that is not here, once; whether it was asked.
   * @param {number} step
   * @param {number | null} pass null: those that were examined
   */
  asks(step, pass) {
    const asked = `${step} ${pass}`;
    const known = this.here.has(step) && pass === null;
    if (known || this.of(step).some(({ index }) => index === pass)) return false;
    if (!this.model.get("kernel") || asked === this.asked) return false;
    this.asked = asked;
    this.model.send({ kind: "open", step, pass });
    return true;
  }
}
