// Edges from column to column, when what they lead to closes.

import { moved, placesOf } from "./routes.js";
import { all } from "./things.js";

/** @import { Point } from "./camera.js" */
/** @import { Sheet } from "./sheet.js" */

/**
 * Edges to what closes come to the column where its box is on the way of one that was in it.
 * @param {Sheet} sheet
 * @param {SVGGElement[]} arrows
 */
export function lead(sheet, arrows) {
  const k = sheet.flat ? 1 : 0;
  const here = sheet.column(sheet.site[k]);
  const way = (/** @type {SVGGElement} */ arrow) => {
    const d = arrow.querySelector("path")?.getAttribute("d") ?? "";
    const points = placesOf(d);
    const [begin, end] = [points[0], points[points.length - 1]].map((at) => at[k]);
    return { d, begin, end, from: sheet.column(begin), to: sheet.column(end) };
  };
  /** @type {(arrow: SVGGElement) => number} */
  const within = ({ dataset }) =>
    [dataset.tail, dataset.head].filter((end) => sheet.holds(end)).length;
  const inner = arrows.filter((arrow) => within(arrow) === 2);
  for (const arrow of arrows) {
    if (within(arrow) !== 1) continue;
    const own = way(arrow);
    const leaves = sheet.holds(arrow.dataset.tail);
    const gap = leaves ? [here, own.from] : [own.to, here];
    const other = inner.find((one) => way(one).from === gap[0] && way(one).to === gap[1]);
    if (gap[0] === gap[1] || !other) continue;
    const its = way(other);
    const [column, from, to] = leaves
      ? [own.from, its.end, own.begin]
      : [own.to, its.begin, own.end];
    const cut = sheet.before[column > here ? column - 1 : column];
    const by = moved(its.d, (at) => {
      const place = /** @type {Point} */ ([...at]);
      // As far as it is in that column, it leads to the edge's own end instead of the other's.
      if (at[k] > cut === from > cut) {
        const along = cut + ((at[k] - cut) * (to - cut)) / (from - cut);
        place[k] = to > cut ? Math.min(along, to) : Math.max(along, to);
      }
      return place;
    });
    const d = leaves ? `${by}L${own.d.slice(1)}` : `${own.d}L${by.slice(1)}`;
    for (const line of all(arrow, "path")) {
      const tip = line.getAttribute("d")?.endsWith("Z");
      const head = all(other, "path").find((one) => one.getAttribute("d")?.endsWith("Z"));
      if (!tip) line.setAttribute("d", d);
      else if (!leaves && head) line.setAttribute("d", head.getAttribute("d") ?? "");
    }
  }
}
