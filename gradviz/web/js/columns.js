// Edges where a fold closes: from column to column, and beside its box.

import { moved, placesOf, tracedBy } from "./routes.js";
import { all } from "./things.js";

/** @import { Point } from "./camera.js" */
/** @import { Sheet } from "./sheet.js" */

const CLEAR = 8; // of an edge, from a box that it goes around, ...
const AHEAD = 14; // ... and as far above and below that it begins to

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

/**
 * Edges that would run behind the box of what has closed run beside it.
 * @type {(sheet: Sheet, arrows: SVGGElement[], corner: Point) => void}
 */
export function aside(sheet, arrows, corner) {
  const { room, box } = sheet;
  const k = sheet.flat ? 1 : 0;
  const [low, high] = [corner[k], corner[k] + room[k]];
  /** @type {(at: Point, wide: number, long: number) => boolean} */
  const behind = (at, wide, long) =>
    at[k] > low - wide &&
    at[k] < high + wide &&
    at[1 - k] > corner[1 - k] - long &&
    at[1 - k] < corner[1 - k] + room[1 - k] + long;
  for (const arrow of arrows) {
    const { tail, head } = arrow.dataset;
    const [line] = all(arrow, "path");
    const d = line.getAttribute("d") ?? "";
    const hidden = tracedBy(d).filter((at) => behind(at, 0, 0));
    const first = hidden.filter((at) => 2 * at[k] < low + high).length;
    const across = first > 0 && first < hidden.length;
    if ([tail, head].includes(box) || !hidden.length || across) continue;
    const way = moved(d, (at) => {
      const place = /** @type {Point} */ ([...at]);
      if (behind(at, CLEAR, AHEAD)) place[k] = first ? low - CLEAR : high + CLEAR;
      return place;
    });
    line.setAttribute("d", way);
  }
}
