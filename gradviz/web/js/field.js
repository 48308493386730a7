// A leaf's number, to type or to drag along a slider.

import { fill, hint, html } from "./elements.js";
import { finite, isNumber, scalar } from "./numbers.js";

/** @import { Children } from "./elements.js" */
/** @import { Host, Session } from "./session.js" */

/**
 * @param {Session} session
 * @param {Host} host
 * @param {number} i
 * @param {number | number[]} value
 */
export function change(session, host, i, value) {
  host.ask({ kind: "set", values: { [session.nodes[i].id]: value } });
}

export class Field {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    this.root = html("div", { class: "field" });
    this.shown = "";
  }

  /**
   * The field stays while somebody is in it.
   * @param {number | null} i
   */
  show(i) {
    const { session } = this;
    const shown = `${i} ${session.language} ${session.editable}`;
    if (i !== null && this.shown !== shown) fill(this.root, this.build(i));
    this.shown = shown;
    this.root.hidden = i === null;
    if (i === null) return;
    const q = session.numbers.values[i];
    const text = q === null || isNumber(q) ? String(scalar(q)) : q.full;
    for (const input of this.root.querySelectorAll("input")) {
      if (input !== document.activeElement) input.value = text;
    }
  }

  /**
   * @param {number} i
   * @returns {Children}
   */
  build(i) {
    const { session, host } = this;
    if (!session.editable) return hint(session.refusal());
    const { name } = session.nodes[i];
    const q = session.numbers.values[i];
    if (q !== null && !isNumber(q) && !q.full.startsWith("[")) {
      return hint(session.t("largeArray", { name }));
    }
    const label = session.t("change", { name });
    const input = html("input", {
      type: "text",
      inputmode: "decimal",
      "aria-label": label,
      spellcheck: "false",
      onchange: ({ target }) => this.type(i, target),
    });
    const x = scalar(session.numbers.values[i]);
    const reach = Math.max(2 * Math.abs(x), 1);
    const slider = html("input", {
      type: "range",
      min: x - reach,
      max: x + reach,
      step: reach / 200,
      "aria-label": label,
      oninput: ({ target }) =>
        change(session, host, i, Number(Number(target.value).toPrecision(6))),
    });
    return [
      html("label", {}, `${name} = `),
      input,
      finite(x) && slider,
      !session.get("kernel") && hint(session.t("byFormulas")),
    ];
  }

  /**
   * @param {number} i
   * @param {HTMLInputElement} input
   */
  type(i, input) {
    const { session, host } = this;
    const q = session.numbers.values[i];
    const text = input.value.trim().replaceAll("−", "-");
    /** @type {any} */
    let value = NaN;
    if (isNumber(q)) value = text === "" ? NaN : Number(text);
    else {
      try {
        value = JSON.parse(text);
      } catch {
        /* said below */
      }
    }
    const fits = isNumber(q) ? finite(value) : Array.isArray(value);
    input.setAttribute("aria-invalid", String(!fits));
    if (!fits) {
      host.warn(session.t(isNumber(q) ? "noNumber" : "noArray", { text: input.value }));
      return;
    }
    host.warn("");
    if (value !== scalar(q)) change(session, host, i, value);
  }
}
