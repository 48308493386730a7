// The ledger of reuse: what each target computes, and what it reads from the cache.

import { button, fill, formula, hint, html } from "./elements.js";
import { gradient } from "./rule.js";

/** @import { LedgerRow } from "./chain.js" */
/** @import { Session } from "./session.js" */

export class Reuse {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.root = html("section", { class: "reuse" });
  }

  refresh() {
    const { session } = this;
    const targets = session.targets();
    this.root.hidden = !targets.length;
    if (!targets.length) return;
    const t = (/** @type {string} */ key) => session.t(key);
    const key = Object.entries(session.words.key).map(([role, text]) =>
      html("span", { class: `k-${role}` }, String(text)),
    );
    fill(
      this.root,
      html(
        "h3",
        {},
        t("reuse"),
        " ",
        button(t("clear"), t("clearTitle"), () => session.aim([])),
      ),
      html("div", { class: "scroll" }, this.table(session.chain.ledger(targets).rows)),
      hint(t("vjpsHint")),
      html("p", { class: "key" }, key),
    );
  }

  /** @param {LedgerRow[]} rows */
  table(rows) {
    const { session } = this;
    const heads = ["target", "computes", "reuses", "reads", "vjps"].map((key) =>
      html("th", { scope: "col" }, session.t(key)),
    );
    const vjps = rows.reduce((sum, r) => sum + r.vjps, 0);
    const without = rows.reduce((sum, r) => sum + r.without, 0n);
    return html(
      "table",
      {},
      html("thead", {}, html("tr", {}, heads)),
      html(
        "tbody",
        {},
        rows.map((r) => this.row(r)),
      ),
      html(
        "tfoot",
        {},
        html(
          "tr",
          {},
          html("th", { scope: "row", colspan: 4 }, session.t("together")),
          html("td", {}, `${vjps} / ${without}`),
        ),
      ),
    );
  }

  /** @param {LedgerRow} row */
  row({ target, computed, reused, read, vjps, without }) {
    const { session } = this;
    const term = (/** @type {number} */ i) => formula(gradient(session, i));
    const terms = (/** @type {number[]} */ ids) =>
      ids.length ? ids.map(term) : session.t("nothing");
    return html(
      "tr",
      { "data-target": session.nodes[target].name },
      html("th", { scope: "row" }, term(target)),
      html("td", { class: "c-computed" }, terms(computed)),
      html("td", {}, terms(reused)),
      html("td", { class: "c-cached" }, terms(read)),
      html("td", {}, `${vjps} / ${without}`),
    );
  }
}
