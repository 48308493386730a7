// Gradient descent: its controls, the curve of J, and the way back through its steps.

import { button, fill, hint, html, svg } from "./elements.js";
import { finite, norm, scalar, short, typed } from "./numbers.js";

/** @import { Host, Session } from "./session.js" */

const BEYOND = 100; // a step that moves a parameter by so many times its own size
const RISEN = 0.1; // a loss that has risen by such a part

export class Training {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    this.reason = "";
    const t = (/** @type {string} */ key) => session.t(key);
    this.rate = html("input", {
      type: "text",
      inputmode: "decimal",
      size: 6,
      "aria-label": t("rate"),
      value: String(session.get("rate")),
      onchange: () => this.weigh(),
    });
    this.said = html("p", { class: "alarm", role: "status", hidden: true });
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
      button(
        session.t("steps", { n }),
        session.t(n === 1 ? "stepTitle" : "stepsTitle", { n }),
        () => this.train(n),
      ),
    );
    this.root = html(
      "section",
      { class: "training" },
      html("h3", {}, t("train")),
      why
        ? hint(why)
        : [
            html("p", {}, html("label", {}, "η = ", this.rate), " ", steps),
            hint(
              t("moves"),
              " ",
              session.structure.moving.map((i) => session.nodes[i].name).join(", "),
            ),
            this.said,
            this.plot,
            html("div", { class: "scrub" }, this.scrubber, this.losses),
          ],
    );
  }

  /** @param {number} steps */
  train(steps) {
    const rate = this.weigh();
    if (rate === undefined) return;
    this.session.put("rate", rate);
    this.host.ask({ kind: "train", steps, rate });
  }

  /** The learning rate, if it is a number; what is to be said of it is said. */
  weigh() {
    const { session, host } = this;
    const rate = typed(this.rate.value);
    const usable = rate !== undefined && finite(rate);
    this.rate.setAttribute("aria-invalid", String(!usable));
    const text = this.rate.value;
    host.warn(usable ? "" : session.t(rate === undefined ? "noNumber" : "tooLarge", { text }));
    if (!usable) return undefined;
    const { values, grads } = session.numbers;
    const far = session.structure.moving
      .map((i) => ({ i, times: (rate * norm(grads[i])) / (norm(values[i]) || Infinity) }))
      .reduce((most, one) => (one.times > most.times ? one : most), { i: -1, times: 0 });
    this.reason = "";
    if (rate <= 0) this.reason = session.t("rateUphill");
    else if (far.times > BEYOND) {
      const { name } = session.nodes[far.i];
      this.reason = session.t("rateFar", { rate: short(rate), name, times: short(far.times, 3) });
    }
    this.say();
    return rate;
  }

  /** What is wrong with the loss, or with the learning rate. */
  say() {
    const text = this.alarm() || this.reason;
    this.said.textContent = text;
    this.said.hidden = !text;
  }

  /** What the curve shows of a loss that runs away. */
  alarm() {
    const { session } = this;
    const history = session.get("history").map(scalar);
    const at = session.get("at");
    const rate = session.get("rate");
    const places = { name: session.loss, rate: short(rate), less: short(rate / 10, 2) };
    if (at === 0 || rate <= 0) return "";
    if (!finite(history[at])) {
      const n = history.findIndex((loss) => !finite(loss));
      return session.t("lossLost", { ...places, n });
    }
    const lowest = Math.min(...history.slice(0, at + 1).filter(finite));
    const rise = history[at] - lowest;
    if (!(rise > RISEN * (history[0] - lowest) && rise > RISEN * Math.abs(lowest))) return "";
    return session.t("lossRose", { ...places, first: short(lowest), now: short(history[at]) });
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
    this.say();
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
