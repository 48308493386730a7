// Stepping through both passes: the buttons, the slider, playing.

import { button, html, set } from "./elements.js";

/** @import { Session } from "./session.js" */

const PACE = 1300; // ms between steps while playing, at speed 1
const SPEEDS = [0.5, 1, 2, 4];

export class Transport {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    const t = (/** @type {string} */ key) => session.t(key);
    this.slider = html("input", {
      type: "range",
      min: 0,
      step: 1,
      "aria-label": t("step"),
      oninput: ({ target }) => this.jump(Number(target.value)),
    });
    this.player = button("▶", t("play"), () => this.play(), { class: "play" });
    this.speed = html(
      "select",
      { "aria-label": t("speed"), title: t("speed"), class: "speed" },
      SPEEDS.map((value) => html("option", { value, selected: value === 1 }, `${value}×`)),
    );
    this.counter = html("output", { class: "counter" });
    this.root = html(
      "div",
      { class: "transport" },
      button("⇤", t("first"), () => this.jump(0)),
      button("←", t("previous"), () => this.move(-1)),
      this.player,
      button("→", t("next"), () => this.move(1)),
      button("⇥", t("last"), () => this.jump(Infinity)),
      this.slider,
      this.speed,
      this.counter,
    );
  }

  /** @param {number} stop */
  jump(stop) {
    this.stop();
    this.session.go(stop);
  }
  /** @param {number} by */
  move(by) {
    this.jump(this.session.stop + by);
  }

  play() {
    const { session } = this;
    if (this.timer) {
      this.stop();
      return;
    }
    if (session.stop === session.stops.length - 1) session.go(0);
    this.playing("❚❚", "pause");
    this.wait();
  }
  wait() {
    const { session } = this;
    this.timer = setTimeout(() => {
      session.go(session.stop + 1);
      if (session.stop === session.stops.length - 1) this.stop();
      else this.wait();
    }, PACE / Number(this.speed.value));
  }
  stop() {
    clearTimeout(this.timer);
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
    this.slider.max = String(this.session.stops.length - 1);
    this.slider.value = String(this.session.stop);
    this.slider.setAttribute("aria-valuetext", place);
    this.counter.textContent = place;
  }
}
