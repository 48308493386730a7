// Frames and their headings, when what is in them and edges have moved.

import { set, svg } from "./elements.js";
import { tracedBy } from "./routes.js";
import { gaps } from "./stretches.js";
import { all, shift, sides } from "./things.js";

/** @import { Sheet } from "./sheet.js" */
/** @import { Sides } from "./things.js" */

const SAID = 10; // letters after a name that say something of its class

/** Whether something is in a frame. @type {(at: Sides, frame: Sides) => boolean} */
const within = ([left, top, right, bottom], [x, y, z, w]) =>
  x <= left && right <= z && y <= top && bottom <= w;

/** Whether a heading is that of a frame. @type {(title: Sides, frame: Sides) => boolean} */
export const heads = ([left, top, right], [x, y, z]) =>
  x < left && right < z && top - y > 0 && top - y < 6;

/**
 * Where frames are and come to lie: as far from what is in it as before, where that only moves.
 * @type {(sheet: Sheet) => Map<Element, {at: Sides, to: Sides}>}
 */
export function framed(sheet) {
  const [nodes, pills, frames] = ["g.node", "g.pill", ".group"].map((kind) =>
    all(sheet.panel, kind).filter((thing) => !sheet.leaves(thing)),
  );
  const put = (/** @type {Sides} */ [left, top, right, bottom]) =>
    /** @type {Sides} */ ([...sheet.put([left, top]), ...sheet.put([right - 0.01, bottom - 0.01])]);
  const moved = (/** @type {Sides} */ at) => {
    const [dx, dy] = sheet.way(at);
    return at.map((n, k) => n + (k % 2 ? dy : dx));
  };
  /** @type {(things: number[][], k: number) => number} */
  const end = (things, k) => (k < 2 ? Math.min : Math.max)(...things.map((at) => at[k]));
  const kept = (/** @type {Sides} */ at) => {
    const own = nodes.filter((node) => within(sides(node), at));
    if (within(sheet.site, at) || !own.length) return put(at);
    const names = new Set(own.map(({ dataset }) => dataset.node));
    const labels = pills.filter(
      ({ dataset: { tail, head } }) => names.has(tail) && names.has(head),
    );
    const things = [...own, ...labels].map(sides);
    const then = things.map(moved);
    return /** @type {Sides} */ (at.map((n, k) => n + end(then, k) - end(things, k)));
  };
  return new Map(frames.map((frame) => [frame, { at: sides(frame), to: kept(sides(frame)) }]));
}

/** Headings come to where no edge runs through them, and no label stands. @param {SVGGElement} panel */
export function seat(panel) {
  const lines = all(panel, "g.arrow path").map((line) => tracedBy(line.getAttribute("d") ?? ""));
  const labels = all(panel, "g.pill").map(sides);
  const ways = [
    ...lines,
    ...labels.map(([a, b, c, d]) => [
      [a, b],
      [c, d],
    ]),
  ];
  const frames = all(panel, ".group").map(sides);
  for (const title of all(panel, "g.group-title")) {
    const [left, top, right, bottom] = sides(title);
    const frame = frames.find((at) => heads(sides(title), at));
    if (!frame) continue;
    const crossed = ways
      .flatMap((way) => way.slice(1).map((point, n) => [way[n], point]))
      .filter(([[, a], [, b]]) => Math.min(a, b) < bottom && Math.max(a, b) > top)
      .map(
        ([[a], [b]]) => /** @type {[number, number]} */ ([Math.min(a, b) - 3, Math.max(a, b) + 3]),
      );
    if (!crossed.some(([a, b]) => a < right && b > left)) continue;
    const texts = all(title, "text");
    const shown = texts.map(({ textContent }) => textContent).join("");
    const whole = title.querySelector("title")?.textContent ?? shown;
    const letter = (right - left) / shown.length;
    const rooms = gaps([frame[0] + 8, frame[2] - 4], crossed);
    const most = Math.floor(Math.max(0, ...rooms.map(([a, b]) => b - a)) / letter);
    const maths = title.querySelector("[font-style]"); // of many pieces
    const said = maths ? whole : fitted(whole, most);
    const wide = letter * said.length;
    const room = rooms.find(([a, b]) => b - a >= wide);
    if (!room) continue; // no place
    shift(title, [room[0] - left, 0]);
    if (maths || said === shown) continue;
    for (const text of texts.slice(1)) text.remove();
    texts[0].textContent = said;
    set(texts[0], { textLength: wide - 8 });
    set(all(title, "rect")[0], { width: wide });
    if (whole === shown) texts[0].before(svg("title", {}, whole));
  }
}

/**
 * As much of a heading as fits in so many letters: of what it says of a class, or its name.
 * @type {(whole: string, most: number) => string}
 */
function fitted(whole, most) {
  const [name] = whole.split(" · ");
  const short = /^.*? · (\d+ × )?[A-Z]\w*/.exec(whole)?.[0] ?? name;
  const fit = [whole, short].find((said) => said.length <= most);
  if (fit) return fit;
  return most < name.length + SAID ? name : `${short.slice(0, most - 2)}…`; // (that is wide)
}
