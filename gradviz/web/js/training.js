// Gradient descent: its controls, the curve of J, and the way back through its steps.

import { button, fill, hint, html, svg } from "./elements.js";
import { finite, scalar, short } from "./numbers.js";

/** @import { Host, Session } from "./session.js" */

export class Training {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    const t = (/** @type {string} */ key) => session.t(key);
    this.rate = html("input", {
      type: "text",
      inputmode: "decimal",
      size: 6,
      "aria-label": t("rate"),
      value: String(session.get("rate")),
    });
    this.plot = svg("svg", { class: "plot", viewBox: "0 0 300 120", role: "img" });
    this.scrubber = html("input", {
      type: "range",
      min: 0,
      max: 0,
      value: 0,
      "aria-label": t("scrub"),
      oninput: ({ target }) => host.ask({ kind: "at", index: Number(target.value) }),
    });
    this.losses = html("output", { class: "counter" });
    const why = session.refusal();
    const steps = [1, 10, 100].map((n) =>
      button(session.t("steps", { n }), session.t("stepsTitle", { n }), () => this.train(n)),
    );
    this.root = html(
      "section",
      { class: "training" },
      html("h3", {}, t("train")),
      why
        ? hint(why)
        : [
            html("p", {}, html("label", {}, "η = ", this.rate), " ", steps),
            this.plot,
            html("div", { class: "scrub" }, this.scrubber, this.losses),
          ],
    );
  }

  /** @param {number} steps */
  train(steps) {
    const { session, host } = this;
    const rate = Number(this.rate.value.trim() || NaN);
    this.rate.setAttribute("aria-invalid", String(!finite(rate)));
    if (!finite(rate)) {
      host.warn(session.t("noNumber", { text: this.rate.value }));
      return;
    }
    session.put("rate", rate);
    host.ask({ kind: "train", steps, rate });
  }

  refresh() {
    const { session } = this;
    const history = session.get("history").map(scalar);
    const at = session.get("at");
    if (document.activeElement !== this.rate) this.rate.value = String(session.get("rate"));
    this.scrubber.max = String(Math.max(history.length - 1, 0));
    this.scrubber.value = String(at);
    this.scrubber.disabled = history.length < 2;
    const place = { n: at, name: session.loss, value: short(history[at]) };
    this.losses.textContent = history.length > 1 ? session.t("atStep", place) : "";
    const known = history.filter(finite);
    this.plot.toggleAttribute("hidden", known.length < 2);
    if (known.length > 1) this.draw(history, known, at);
  }

  /**
   * @param {number[]} history
   * @param {number[]} known those of it that are finite
   * @param {number} at
   */
  draw(history, known, at) {
    const { session } = this;
    const name = session.loss;
    const steps = history.length - 1;
    const low = Math.min(0, ...known);
    const high = Math.max(...known);
    const x = (/** @type {number} */ n) => 44 + (248 * n) / steps;
    const y = (/** @type {number} */ loss) => 104 - (92 * (loss - low)) / (high - low || 1);
    const point = (/** @type {number} */ loss, /** @type {number} */ n) =>
      finite(loss) ? `${x(n).toFixed(1)},${y(loss).toFixed(1)}` : "";
    /** @type {(text: string, px: number, py: number, anchor: string) => Element} */
    const label = (text, px, py, anchor) =>
      svg("text", { x: px, y: py, "text-anchor": anchor, class: "f-soft" }, text);
    const [first, last] = [short(history[0]), short(history[steps])];
    this.plot.setAttribute("aria-label", session.t("plotted", { name, first, last, n: steps }));
    fill(
      this.plot,
      svg("path", { d: "M44 8V104H296", class: "axis" }),
      label(short(high, 3), 40, 14, "end"),
      label(short(low, 3), 40, 106, "end"),
      label("0", 44, 117, "start"),
      label(String(steps), 296, 117, "end"),
      label(name, 296, 14, "end"),
      svg("polyline", { points: history.map(point).join(" "), class: "curve" }),
      finite(history[at]) && svg("circle", { cx: x(at), cy: y(history[at]), r: 4, class: "here" }),
    );
  }
}
