// What a picture is made of: where its boxes, labels, frames and headings are.

import { placeOf, shiftOf } from "./boxes.js";
import { find } from "./elements.js";

/** @import { Point } from "./camera.js" */
/** @typedef {[number, number, number, number]} Sides left, top, right, bottom */

/** @type {(within: Element, selector: string) => SVGGElement[]} */
export const all = (within, selector) => [
  ...within.querySelectorAll(/** @type {"g"} */ (selector)),
];

/** @type {(group: Element, by: Point) => void} */
export function shift(group, [dx, dy]) {
  const [x, y] = shiftOf(group);
  group.setAttribute("transform", `translate(${(x + dx).toFixed(2)} ${(y + dy).toFixed(2)})`);
}
/** @type {(thing: Element) => Sides} */
export function sides(thing) {
  const rect = thing.matches("rect") ? thing : find(thing, "rect", SVGRectElement);
  const [x, y, w, h] = placeOf(rect);
  return [x, y, x + w, y + h];
}
/** From where to where things are, on one axis. @type {(things: Sides[], k: number) => [number, number][]} */
export const reach = (things, k) => things.map((at) => [at[k], at[k + 2]]);
