// What is seen of a picture: all of it, a part that is zoomed and moved.

/** @typedef {{x: number, y: number, scale: number}} Place on the screen */

const LEGIBLE = 0.62; // the scale at which 11 px are still read

export class Camera {
  /**
   * @param {HTMLElement} stage where it is shown
   * @param {SVGSVGElement} root
   */
  constructor(stage, root) {
    this.stage = stage;
    this.root = root;
    const { width: wide, height: high } = root.viewBox.baseVal;
    /** @type {[number, number]} */
    this.size = [wide, high];
    /** @type {[number, number, number, number]} */
    this.view = [0, 0, wide, high];
  }

  /** At first so large that it can be read, from its beginning; a stage without a size has none. */
  begin() {
    const { width: wide, height: high } = this.stage.getBoundingClientRect();
    const [w, h] = this.size;
    if (!wide || Math.min(wide / w, high / h) >= LEGIBLE) return;
    const [x, y] = [wide / LEGIBLE, high / LEGIBLE];
    this.look(Math.min((w - x) / 2, 0), (h - y) / 2, x, y);
  }

  /** @type {(x: number, y: number, w: number, h: number) => void} */
  look(x, y, w, h) {
    this.view = [x, y, w, h];
    this.root.setAttribute("viewBox", this.view.map((n) => n.toFixed(2)).join(" "));
  }
  fit() {
    this.look(0, 0, ...this.size);
  }
  /** @param {number} factor */
  scale(factor, at = [0.5, 0.5]) {
    const [x, y, w, h] = this.view;
    const wide = Math.min(Math.max(w / factor, 120), this.size[0] * 3);
    const high = (h * wide) / w;
    this.look(x + (w - wide) * at[0], y + (h - high) * at[1], wide, high);
  }
  /** @type {(dx: number, dy: number) => void} */
  pan(dx, dy) {
    const scale = 1 / (this.root.getScreenCTM()?.a ?? 1);
    const [x, y, w, h] = this.view;
    this.look(x - dx * scale, y - dy * scale, w, h);
  }
  /** @type {(group: SVGGElement) => Element} its rectangle, or the frame that it is a heading of */
  outline(group) {
    const { scope } = group.dataset;
    const frames = [
      .../** @type {NodeListOf<SVGElement>} */ (this.root.querySelectorAll(".group")),
    ];
    const own = scope !== undefined && frames.find(({ dataset }) => dataset.scope === scope);
    return own || (group.querySelector("rect") ?? group);
  }
  /** @type {(group: SVGGElement) => Place} */
  place(group) {
    const { x, y } = this.outline(group).getBoundingClientRect();
    return { x, y, scale: this.root.getScreenCTM()?.a ?? 1 };
  }
  /**
   * Show the picture so that a box has its corner where another had it.
   * @param {SVGGElement} group
   * @param {Place} place
   */
  pin(group, { x, y, scale }) {
    const { width: wide, height: high } = this.root.getBoundingClientRect();
    this.look(0, 0, wide / scale, high / scale);
    const now = this.place(group);
    this.pan(x - now.x, y - now.y);
  }
  /**
   * Bring an element into view.
   * @param {Element} element
   */
  reveal(element) {
    const box = element.getBoundingClientRect();
    const stage = this.stage.getBoundingClientRect();
    const { left, right, top, bottom } = stage;
    if (box.left >= left && box.right <= right && box.top >= top && box.bottom <= bottom) return;
    this.pan(
      stage.x + (stage.width - box.width) / 2 - box.x,
      stage.y + (stage.height - box.height) / 2 - box.y,
    );
  }
}
