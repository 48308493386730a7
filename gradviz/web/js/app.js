// What lasts: the model is listened to, and each of its structures gets a frame.

import { html, KEPT } from "./elements.js";
import { Frame } from "./frame.js";
import { Requests } from "./requests.js";
import { Session } from "./session.js";
import { paint, watch } from "./theme.js";

/** @import { Model } from "./session.js" */

/** JSON has no −0: it travels as text. @type {(message: object) => object} */
const signed = (message) =>
  JSON.parse(JSON.stringify(message, (_, x) => (Object.is(x, -0) ? "-0" : x)));

export class App {
  /**
   * @param {Model} model
   * @param {HTMLElement} el
   */
  constructor(model, el) {
    this.model = model;
    this.requests = new Requests(
      (message) => model.send(signed(message)),
      (serial) => this.session.put("settled", serial),
      () => this.frame.warn(this.session.t("gone")),
    );
    this.root = html("div", {
      class: "gradviz-app",
      role: "region",
      ...KEPT,
      onkeydown: (event) => {
        event.stopPropagation();
        this.frame.key(event);
      },
    });
    el.append(this.root);
    this.due = false;
    /** @type {(() => void)[]} */
    this.cleanup = [];
    const repaint = () => paint(this.root, model.get("theme"));
    repaint();
    this.cleanup.push(watch(repaint));
    this.session = new Session(model);
    this.frame = new Frame(this.root, this.session, this.requests, -1);
    this.on("theme", repaint);
    this.listen();
  }

  listen() {
    // A program that took another branch has another structure, which is built as a whole.
    const known = () => this.model.get("structure") === this.session.structure;
    const soon = () => known() && this.soon();
    for (const name of [
      "numbers",
      "step",
      "selected",
      "targets",
      "history",
      "at",
      "limit",
      "progress",
    ]) {
      this.on(name, soon);
    }
    for (const name of ["structure", "language"])
      this.on(name, () => this.keeping(() => this.build()));
    this.on("drawing", () => known() && this.frame.draw());
    this.on("answer", () => {
      const { serial, trouble = "", again } = this.session.get("answer");
      this.requests.answered(serial, () => {
        if (again) this.frame.ask(again);
        else this.frame.warn(trouble);
      });
    });
  }
  /**
   * @param {string} name
   * @param {() => void} listener
   */
  on(name, listener) {
    this.model.on(`change:${name}`, listener);
    this.cleanup.push(() => this.model.off(`change:${name}`, listener));
  }

  build() {
    const { transport, controls } = this.frame;
    transport.stop();
    this.session = new Session(this.model);
    this.frame = new Frame(this.root, this.session, this.requests, controls.focus);
  }

  close() {
    this.frame.transport.stop();
    this.requests.forget();
    for (const undo of this.cleanup) undo();
    this.root.remove();
  }

  /** Several changes of one moment are drawn at once. */
  soon() {
    if (!this.due) {
      queueMicrotask(() => {
        this.due = false;
        this.keeping(() => this.frame.refresh());
      });
    }
    this.due = true;
  }

  /**
   * What had the focus may be drawn anew: the keyboard stays here, not with the notebook around.
   * @param {() => void} draw
   */
  keeping(draw) {
    const top = /** @type {Document | ShadowRoot} */ (this.root.getRootNode());
    const within = () => this.root.contains(top.activeElement);
    const had = within();
    draw();
    if (had && !within()) this.root.focus({ preventScroll: true });
  }
}
