// Moving the picture: one pointer drags it, two pinch it, a wheel with Ctrl zooms.

import { set } from "./elements.js";

/** @import { Picture } from "./picture.js" */
/** @import { Point } from "./camera.js" */

const STILL = 5; // pixels that a press may shake

export class Gestures {
  /** @param {Picture} picture */
  constructor(picture) {
    this.picture = picture;
    /** @type {Map<number, Point>} */
    this.pointers = new Map();
    this.moved = 0;
    const up = (/** @type {PointerEvent} */ event) => this.pointers.delete(event.pointerId);
    set(picture.root, {
      onpointerdown: (event) => this.down(event),
      onpointermove: (event) => this.move(event),
      onpointerup: up,
      onpointercancel: up,
    });
    picture.root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /** Whether the last press was one that moved the picture. */
  get dragged() {
    return this.moved > STILL;
  }

  /** @param {PointerEvent} event */
  down({ button, pointerId, clientX, clientY }) {
    if (button) return;
    if (!this.pointers.size) this.moved = 0;
    this.pointers.set(pointerId, [clientX, clientY]);
  }

  /** Where the pointers are together, and how far from that. */
  get spread() {
    const points = [...this.pointers.values()];
    const [x, y] = [0, 1].map((k) => points.reduce((sum, p) => sum + p[k], 0) / points.length);
    return { x, y, size: Math.hypot(points[0][0] - x, points[0][1] - y) };
  }

  /** @param {PointerEvent} event */
  move({ pointerId, clientX, clientY, buttons }) {
    const old = this.pointers.get(pointerId);
    if (!old) return;
    if (!buttons) {
      this.pointers.delete(pointerId); // it was lifted elsewhere
      return;
    }
    const { picture } = this;
    const before = this.spread;
    const was = this.moved;
    this.moved += Math.abs(clientX - old[0]) + Math.abs(clientY - old[1]);
    if (!this.dragged) return; // all of it is made up for once it is more than a shake
    if (was <= STILL) picture.root.setPointerCapture(pointerId);
    this.pointers.set(pointerId, [clientX, clientY]);
    const after = this.spread;
    picture.pan(after.x - before.x, after.y - before.y);
    if (before.size) picture.scale(after.size / before.size, this.share(after.x, after.y));
  }

  /** @type {(x: number, y: number) => Point} */
  share(x, y) {
    const box = this.picture.root.getBoundingClientRect();
    return [(x - box.left) / box.width, (y - box.top) / box.height];
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    const { deltaX, deltaY, ctrlKey, metaKey, clientX, clientY } = event;
    const zooms = ctrlKey || metaKey;
    if (!zooms && Math.abs(deltaX) <= Math.abs(deltaY)) return; // scrolling belongs to the host
    event.preventDefault();
    if (zooms) this.picture.scale(Math.exp(-deltaY / 300), this.share(clientX, clientY));
    else this.picture.pan(-deltaX, 0);
  }
}
