// The keyboard in the picture: arrow keys go from a box onto an edge of it, and on to its other end.
//
// Across the direction of the picture they choose among the edges of that box, or among boxes.

import { boxOf } from "./boxes.js";
import { OURS, set } from "./elements.js";

/** @import { Picture } from "./picture.js" */
/** @import { Asked, Session } from "./session.js" */
/** @import { Tooltip } from "./tooltip.js" */

const STEPS = {
  LR: { ArrowRight: "on", ArrowLeft: "back", ArrowDown: "after", ArrowUp: "before" },
  TB: { ArrowDown: "on", ArrowUp: "back", ArrowRight: "after", ArrowLeft: "before" },
};

export class Walk {
  /**
   * @param {Session} session
   * @param {Picture} picture
   * @param {Tooltip} tip
   * @param {number} focus the box that the Tab key comes to
   */
  constructor(session, picture, tip, focus) {
    this.session = session;
    this.picture = picture;
    this.tip = tip;
    /** @type {Record<string, string>} */
    this.steps = STEPS[session.get("drawing").direction];
    /** @type {number[]} the edges that one chooses among */
    this.among = [];
    this.focus = picture.nodes.has(focus) ? focus : [...picture.nodes.keys()][0];
    for (const [i, group] of picture.nodes) {
      this.stop({ node: i }, group, i === this.focus, (event) => this.ofBox(event, i));
    }
    for (const [e, groups] of picture.arrows) {
      this.stop({ edge: e }, groups[0], false, (event) => this.ofEdge(event, e));
    }
  }

  /** @type {(what: Asked, group: SVGGElement, first: boolean, key: (event: KeyboardEvent) => boolean) => void} */
  stop(what, group, first, key) {
    const { picture, tip } = this;
    set(group, {
      ...OURS,
      role: "button",
      tabindex: first ? "0" : "-1",
      onkeydown: (event) => {
        if (!key(event)) return;
        event.preventDefault();
        event.stopPropagation();
      },
      // (Where a press brought the focus, the pointer has shown it.)
      onfocus: () => {
        if (!group.matches(":focus-visible")) return;
        picture.reveal(group);
        tip.show(what, group, picture.stage);
      },
      onblur: () => tip.hide(),
    });
  }

  /** @type {(i: number, end: "u" | "v") => number[]} the edges in the picture that end in a box */
  edgesOf(i, end) {
    const { session, picture } = this;
    const ends = (/** @type {number} */ e) => boxOf(picture.drawing, session.edges[e][end]) === i;
    return [...picture.arrows.keys()].filter(ends).sort((a, b) => a - b);
  }

  /** @type {(event: KeyboardEvent, i: number) => boolean} whether the key meant something */
  ofBox({ key }, i) {
    const step = this.steps[key];
    if (step === "on" || step === "back") {
      this.among = this.edgesOf(i, step === "on" ? "u" : "v");
      if (this.among.length) this.toEdge(this.among[0]);
    } else if (step) {
      const shown = [...this.picture.nodes.keys()].sort((a, b) => a - b);
      const next = shown[shown.indexOf(i) + (step === "after" ? 1 : -1)];
      if (next !== undefined) this.toBox(next);
    }
    return Boolean(step);
  }

  /** @type {(event: KeyboardEvent, e: number) => boolean} */
  ofEdge({ key }, e) {
    const { session, among } = this;
    const { u, v } = session.edges[e];
    const step = this.steps[key];
    if (key === "Enter" || key === " ") session.select(session.edgeName(e));
    else if (step === "on" || step === "back") {
      this.toBox(boxOf(this.picture.drawing, step === "on" ? v : u));
    } else if (step) {
      const next = among.indexOf(e) + (step === "after" ? 1 : -1);
      if (among[next] !== undefined) this.toEdge(among[next]);
    } else return false;
    return true;
  }

  /** @param {number} i */
  toBox(i) {
    const group = this.picture.nodes.get(i);
    if (!group) return;
    this.focus = i;
    this.move(group);
  }
  /** @param {number} e */
  toEdge(e) {
    const [group] = this.picture.arrows.get(e) ?? [];
    if (group) this.move(group);
  }
  /** @param {SVGGElement} group */
  move(group) {
    const { picture } = this;
    for (const other of picture.root.querySelectorAll(
      '[tabindex="0"].node, [tabindex="0"].arrow',
    )) {
      other.setAttribute("tabindex", "-1");
    }
    group.setAttribute("tabindex", "0");
    group.focus({ preventScroll: true });
  }
}
