// The boxes of a picture: in which one a value is, and where it stands.

import { numeric } from "./elements.js";

/** @import { Point } from "./camera.js" */

/**
 * How far a group has been moved.
 * @type {(group: Element) => Point}
 */
export function shiftOf(group) {
  const [x = 0, y = 0] = (group.getAttribute("transform")?.match(/-?[\d.]+/g) ?? []).map(Number);
  return [x, y];
}

/**
 * The corner of a rectangle, and its size.
 * @type {(rect: Element) => [number, number, number, number]}
 */
export function placeOf(rect) {
  const [x, y, w, h] = ["x", "y", "width", "height"].map((name) => numeric(rect, name));
  const [dx, dy] = rect.parentElement?.matches("g.node, g.pill, g.group-title")
    ? shiftOf(rect.parentElement)
    : [0, 0];
  return [x + dx, y + dy, w, h];
}

/**
 * Its own, or the closed one that it is hidden in.
 * @type {(drawing: Drawing, i: number) => number}
 */
export function boxOf({ inside }, i) {
  let [low, high] = [0, inside.length]; // the runs are in order
  while (low < high) {
    const middle = (low + high) >> 1;
    if (inside[middle][1] < i) low = middle + 1;
    else high = middle;
  }
  const run = inside[low];
  return run && run[0] <= i ? run[2] : i;
}

/**
 * What the box of a fold or a layer says of itself, and how much is in it; nothing of a value.
 * @type {(box: SVGGElement) => string[]}
 */
export function headed(box) {
  if (!["fold", "layer"].includes(box.dataset.kind ?? "")) return [];
  const [name, ...about] = box.querySelectorAll("g");
  const counts = /^\s*[\d.,]+ \p{L}/u; // of parameters, or of what is folded
  const told = about.filter((text) =>
    text.matches("[data-word]") ? counts.test(text.textContent) : text.matches(".f-soft"),
  );
  return [name, ...told]
    .map((text) => (text.querySelector("title") ?? text).textContent.trim())
    .filter((said) => !said.startsWith("="));
}
