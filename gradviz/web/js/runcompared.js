// Two steps of a recorded run side by side: the rows of its map at both, the most different first.

import { html } from "./elements.js";
import { short } from "./numbers.js";
import { number } from "./runmap.js";

const MOST = 12; // rows

/**
 * @param {Recorded} run
 * @param {string} what
 * @param {number[]} steps two
 * @param {(key: string) => string} t
 */
export function compared(run, what, steps, t) {
  const [a, b] = steps.map((step) => run.columns.findIndex((column) => column.step === step));
  const cells = run.cells[what];
  const rows = run.rows.map((name, i) => {
    const [one, other] = [number(cells[i][a]), number(cells[i][b])];
    const apart = Math.abs(Math.log((other || 1e-300) / (one || 1e-300)));
    return { name, one, other, apart: Number.isNaN(apart) ? Infinity : apart };
  });
  rows.sort((x, y) => y.apart - x.apart);
  const said = (/** @type {number | undefined} */ x) => (x === undefined ? "–" : short(x));
  const times = (/** @type {any} */ { one, other }) => (one ? `×${short(other / one, 3)}` : "");
  const head = [t(`run ${what}`), ...steps, ""].map((cell) => html("th", { scope: "col" }, cell));
  const body = rows
    .slice(0, MOST)
    .map((row) =>
      html(
        "tr",
        {},
        html("th", { scope: "row" }, row.name),
        html("td", {}, said(row.one)),
        html("td", {}, said(row.other)),
        html("td", {}, row.one === undefined || row.other === undefined ? "" : times(row)),
      ),
    );
  return html(
    "div",
    { class: "scroll" },
    html(
      "table",
      { class: "compared" },
      html("thead", {}, html("tr", {}, head)),
      html("tbody", {}, body),
    ),
  );
}
