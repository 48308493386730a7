// The presenter's mode: large type, picture and steps alone, and the keys of a presenter's remote.

import { button } from "./elements.js";

/** @import { Frame } from "./frame.js" */

/** @type {Record<string, number>} */
const KEYS = { PageDown: 1, PageUp: -1 };

export class Presenter {
  /** @param {Frame} frame */
  constructor(frame) {
    this.frame = frame;
    const t = (/** @type {string} */ key) => frame.session.t(key);
    this.root = button(t("presentShort"), t("present"), () => this.toggle(), {
      class: "present",
    });
  }

  get app() {
    return /** @type {HTMLElement | null} */ (this.frame.stage.closest(".gradviz-app"));
  }
  get on() {
    return Boolean(this.app?.classList.contains("is-presenting"));
  }

  toggle(on = !this.on) {
    const { app } = this;
    if (!app) return;
    app.classList.toggle("is-presenting", on);
    // Where a frame may not fill the screen, it is large all the same.
    if (on) app.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement === app) document.exitFullscreen();
    this.frame.begin();
    app.focus({ preventScroll: true });
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it was a presenter's
   */
  key(key) {
    if (key === "p") this.toggle();
    else if (this.on && key === "Escape") this.toggle(false);
    else if (this.on && KEYS[key]) this.frame.transport.move(KEYS[key]);
    else return false;
    return true;
  }
}
