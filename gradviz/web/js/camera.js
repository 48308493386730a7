// What is seen of a picture: the point in the middle of the stage, and how large it is there.
//
// The size is kept when the stage gets another one, so a browser's zoom enlarges the picture too.

/** @typedef {{x: number, y: number, scale: number}} Place on the screen */
/** @typedef {[number, number]} Point */

const LEGIBLE = 0.95; // pixels a unit: the smallest print of cards has 9.5 units
const WHOLE = 0.65; // of what can be seen at once: its numbers, of 12.5 units, have 8 pixels
const LARGEST = 1.5; // at first; more looks coarse
const CLOSEST = 12;

/** @type {(x: number, least: number, most: number) => number} */
const between = (x, least, most) => Math.min(Math.max(x, least), most);

export class Camera {
  /**
   * @param {HTMLElement} stage where it is shown
   * @param {SVGSVGElement} root
   */
  constructor(stage, root) {
    this.stage = stage;
    this.root = root;
    const { width: wide, height: high } = root.viewBox.baseVal;
    /** @type {Point} */
    this.size = [wide, high];
    /** @type {[number, number, number, number]} */
    this.view = [0, 0, wide, high];
    /** @type {Point} */
    this.middle = [wide / 2, high / 2];
    this.zoom = 0; // none until the stage has a size
    /** @type {Point | null} where it begins if there is not room for all */
    this.start = null;
    this.looked = () => {};
    new ResizeObserver(() => this.look(this.middle, this.zoom)).observe(root);
  }

  /** @returns {Point} */
  get room() {
    const { width, height } = this.root.getBoundingClientRect();
    return [width, height];
  }
  /** At what size there is room for all. */
  get whole() {
    const [wide, high] = this.room;
    return Math.min(wide / this.size[0], high / this.size[1]);
  }

  /** @type {(middle: Point, zoom: number) => void} */
  look(middle, zoom) {
    const room = this.room;
    if (!room[0]) return;
    if (!zoom) {
      this.begin(this.start);
      return;
    }
    this.zoom = zoom;
    this.middle = /** @type {Point} */ (middle.map((n, k) => between(n, 0, this.size[k])));
    const [w, h] = room.map((n) => n / zoom);
    this.see(this.middle[0] - w / 2, this.middle[1] - h / 2, w, h);
  }
  /** @type {(x: number, y: number, w: number, h: number) => void} */
  see(x, y, w, h) {
    this.view = [x, y, w, h];
    this.root.setAttribute("viewBox", this.view.map((n) => n.toFixed(2)).join(" "));
    this.looked();
  }

  /**
   * At first so large that it can be read: whole where that is not too small, else around `at`.
   * @param {Point | null} at
   */
  begin(at) {
    this.start = at;
    if (!this.room[0]) return;
    this.within(at ?? [0, 0], this.whole < WHOLE ? LEGIBLE : Math.min(this.whole, LARGEST));
  }
  /** @type {(at: Point, zoom: number) => void} with no emptiness beside what could be seen instead */
  within(at, zoom) {
    const middle = this.size.map((all, k) => {
      const seen = this.room[k] / zoom;
      return seen >= all ? all / 2 : between(at[k], seen / 2, all - seen / 2);
    });
    this.look(/** @type {Point} */ (middle), zoom);
  }
  fit() {
    const [wide, high] = this.size;
    this.look([wide / 2, high / 2], this.whole);
  }
  /** All of it on paper, whatever the stage's shape is there. */
  print() {
    this.see(0, 0, ...this.size);
  }
  /**
   * @param {number} factor
   * @param {Point} at what stays where it is, as shares of the stage
   */
  scale(factor, at = [0.5, 0.5]) {
    const zoom = between(this.zoom * factor, Math.min(this.whole, this.zoom) / 3, CLOSEST);
    const moved = this.middle.map(
      (n, k) => n + this.room[k] * (at[k] - 0.5) * (1 / this.zoom - 1 / zoom),
    );
    this.look(/** @type {Point} */ (moved), zoom);
  }
  /** @type {(dx: number, dy: number) => void} by pixels */
  pan(dx, dy) {
    const [x, y] = this.middle;
    this.look([x - dx / this.zoom, y - dy / this.zoom], this.zoom);
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
    return { x, y, scale: this.zoom };
  }
  /**
   * Show the picture so that a box has its corner where another had it.
   * @param {SVGGElement} group
   * @param {Place} place
   */
  pin(group, { x, y, scale }) {
    this.look(this.middle, scale);
    const now = this.place(group);
    this.pan(x - now.x, y - now.y);
  }
  /** Show the same place as another did. @param {Camera} other */
  stay({ view: [x, y], zoom }) {
    const [w, h] = this.room.map((n) => n / zoom);
    this.zoom = zoom;
    this.see(x, y, w, h);
    this.middle = [x + w / 2, y + h / 2];
  }
  /**
   * Bring elements into view; the last of them, where there is not room for all.
   * @param {...Element} elements
   */
  reveal(...elements) {
    const stage = this.stage.getBoundingClientRect();
    const boxes = elements.map((element) => element.getBoundingClientRect());
    const left = Math.min(...boxes.map((box) => box.left));
    const right = Math.max(...boxes.map((box) => box.right));
    const top = Math.min(...boxes.map((box) => box.top));
    const bottom = Math.max(...boxes.map((box) => box.bottom));
    const fits = right - left <= stage.width && bottom - top <= stage.height;
    if (!fits && elements.length > 1) this.reveal(...elements.slice(1));
    else if (left < stage.left || right > stage.right || top < stage.top || bottom > stage.bottom) {
      const [x, y] = this.middle;
      const dx = (left + right - stage.left - stage.right) / 2;
      const dy = (top + bottom - stage.top - stage.bottom) / 2;
      this.within([x + dx / this.zoom, y + dy / this.zoom], this.zoom);
    }
  }
}
