// Stepping through both passes: the buttons, the slider, playing.

import { button, html, set } from "./elements.js";

/** @import { Session } from "./session.js" */

const PACE = 1300; // ms between steps while playing

export class Transport {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    const t = (/** @type {string} */ key) => session.t(key);
    this.slider = html("input", {
      type: "range",
      min: 0,
      max: session.last,
      step: 1,
      "aria-label": t("step"),
      oninput: ({ target }) => this.jump(Number(target.value)),
    });
    this.player = button("▶", t("play"), () => this.play(), { class: "play" });
    this.counter = html("output", { class: "counter" });
    this.root = html(
      "div",
      { class: "transport" },
      button("⇤", t("first"), () => this.jump(0)),
      button("←", t("previous"), () => this.jump(session.step - 1)),
      this.player,
      button("→", t("next"), () => this.jump(session.step + 1)),
      button("⇥", t("last"), () => this.jump(session.last)),
      this.slider,
      this.counter,
    );
  }

  /** @param {number} step */
  jump(step) {
    this.stop();
    this.session.go(step);
  }

  play() {
    const { session } = this;
    if (this.timer) {
      this.stop();
      return;
    }
    if (session.done) session.go(0);
    this.timer = setInterval(() => {
      session.go(session.step + 1);
      if (session.done) this.stop();
    }, PACE);
    this.playing("❚❚", "pause");
  }
  stop() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.playing("▶", "play");
  }
  /** @type {(sign: string, key: string) => void} */
  playing(sign, key) {
    const title = this.session.t(key);
    this.player.textContent = sign;
    set(this.player, { title, "aria-label": title });
  }

  /** @param {string} place */
  refresh(place) {
    this.slider.value = String(this.session.step);
    this.slider.setAttribute("aria-valuetext", place);
    this.counter.textContent = place;
  }
}
