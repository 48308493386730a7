// Where one is in a picture that the stage has no room for.

import { placeOf, shiftOf } from "./boxes.js";
import { find, numeric, set, svg } from "./elements.js";

/** @import { Picture } from "./picture.js" */

const [WIDE, HIGH] = [150, 100]; // pixels at most ...
const SHARE = 0.22; // ... and so much of the stage's width
const FROM = 9; // from the stage's edges, with its border

export class Minimap {
  /** @param {Picture} picture */
  constructor(picture) {
    this.picture = picture;
    const [wide, high] = picture.size;
    const room = Math.min(1, (picture.stage.clientWidth * SHARE || WIDE) / WIDE);
    const scale = Math.min((WIDE * room) / wide, (HIGH * room) / high);
    this.here = svg("rect", { class: "here" });
    const panel = shiftOf(find(picture.root, "g.panel", SVGGElement));
    this.boxes = [...picture.nodes.values()].map((group) => {
      const [x, y, w, h] = placeOf(find(group, "rect", SVGRectElement));
      return [x + panel[0], y + panel[1], w, h];
    });
    const d = this.boxes.map(([x, y, w, h]) => `M${x} ${y}h${w}v${h}h-${w}z`);
    /** @type {SVGSVGElement} */
    this.root = svg(
      "svg",
      {
        class: "overview",
        viewBox: `0 0 ${wide} ${high}`,
        width: Math.max(Math.round(wide * scale), 12),
        height: Math.max(Math.round(high * scale), 12),
        preserveAspectRatio: "none",
        "aria-hidden": "true",
        onpointerdown: (event) => this.root.setPointerCapture(event.pointerId),
        onpointermove: (event) => event.buttons && this.go(event),
        onclick: (event) => this.go(event),
      },
      svg("path", { d: d.join("") }),
      this.here,
    );
    this.refresh();
  }

  /** @param {PointerEvent | MouseEvent} event */
  go({ clientX, clientY }) {
    const { picture, root } = this;
    const box = root.getBoundingClientRect();
    const [wide, high] = picture.size;
    const x = ((clientX - box.left) / box.width) * wide;
    const y = ((clientY - box.top) / box.height) * high;
    picture.look([x, y], picture.zoom);
  }

  refresh() {
    const { view, size } = this.picture;
    const [x, y, w, h] = view;
    const ends = [x, y, x + w, y + h].map((n, k) => Math.min(Math.max(n, 0), size[k % 2]));
    const [left, top, right, bottom] = ends;
    set(this.here, { x: left, y: top, width: right - left, height: bottom - top });
    const all = right - left >= size[0] - 1 && bottom - top >= size[1] - 1;
    this.root.classList.toggle("is-away", all);
    if (!all) this.stand();
  }

  /** In the corner where it covers the fewest boxes. */
  stand() {
    const { view, zoom } = this.picture;
    const own = ["width", "height"].map((side) => (numeric(this.root, side) + FROM) / zoom);
    /** @type {(right: number, low: number) => number} */
    const covered = (right, low) => {
      const [x, y] = [right, low].map((far, k) => view[k] + far * (view[k + 2] - own[k]));
      return this.boxes.filter(
        ([left, top, w, h]) => left < x + own[0] && left + w > x && top < y + own[1] && top + h > y,
      ).length;
    };
    const corners = [3, 2, 1, 0].map((n) => ({ n, boxes: covered(n & 1, n >> 1) }));
    const { n, boxes } = corners.reduce((a, b) => (b.boxes < a.boxes ? b : a));
    this.root.dataset.corner = `${n}`;
    this.root.classList.toggle("is-over", boxes > 0);
  }
}
