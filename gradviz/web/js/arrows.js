// Arrows that point backwards, and what runs along them.

import { set, svg } from "./elements.js";

const HEAD = 11; // the length of an arrow's head that points backwards
const FLIGHT = 700; // ms

/**
 * An arrow has a second head, at its tail, from when it first points backwards.
 * @param {SVGGElement} group
 */
export function turned(group) {
  const line = group.querySelector("path");
  if (!line || group.querySelector(".back-head")) return;
  const tip = line.getPointAtLength(0);
  const base = line.getPointAtLength(HEAD);
  const [x, y] = [(base.x - tip.x) / HEAD, (base.y - tip.y) / HEAD];
  const corner = (/** @type {number} */ side) =>
    `${(base.x - side * y * HEAD * 0.45).toFixed(2)} ${(base.y + side * x * HEAD * 0.45).toFixed(2)}`;
  const d = `M${tip.x} ${tip.y}L${corner(1)}L${corner(-1)}Z`;
  line.after(svg("path", { d, class: "back-head" }));
}

/**
 * A dot runs along a line, from its end to its beginning.
 * @param {SVGPathElement} line
 * @param {Element} over where it is drawn
 * @param {(frame: number) => void} running what can be cancelled
 */
export function flying(line, over, running) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const length = line.getTotalLength();
  const start = performance.now();
  const dot = svg("circle", { class: "dot", r: 6 });
  over.append(dot);
  const move = (/** @type {number} */ now) => {
    const done = Math.min((now - start) / FLIGHT, 1);
    const { x, y } = line.getPointAtLength(length * (1 - done));
    set(dot, { cx: x, cy: y });
    if (done < 1) running(requestAnimationFrame(move));
    else dot.remove();
  };
  move(start);
}
