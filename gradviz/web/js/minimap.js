// Where one is in a picture that the stage has no room for.

import { placeOf } from "./boxes.js";
import { find, set, svg } from "./elements.js";

/** @import { Picture } from "./picture.js" */

const [WIDE, HIGH] = [150, 100]; // pixels at most ...
const SHARE = 0.22; // ... and so much of the stage's width

export class Minimap {
  /** @param {Picture} picture */
  constructor(picture) {
    this.picture = picture;
    const [wide, high] = picture.size;
    const room = Math.min(1, (picture.stage.clientWidth * SHARE || WIDE) / WIDE);
    const scale = Math.min((WIDE * room) / wide, (HIGH * room) / high);
    this.here = svg("rect", { class: "here" });
    const d = [...picture.nodes.values()].map((group) => {
      const [x, y, w, h] = placeOf(find(group, "rect", SVGRectElement));
      return `M${x} ${y}h${w}v${h}h-${w}z`;
    });
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
  }
}
