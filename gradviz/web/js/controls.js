// Pointer and keyboard on the picture.

import { follow, set } from "./elements.js";
import { change, numberOf } from "./field.js";
import { Gestures } from "./gestures.js";
import { finite, isNumber } from "./numbers.js";
import { Walk } from "./walk.js";

/** @import { Leaf } from "./field.js" */
/** @import { Picture } from "./picture.js" */
/** @import { Asked, Host, Session } from "./session.js" */
/** @import { Tooltip } from "./tooltip.js" */

export class Controls {
  /**
   * @param {Session} session
   * @param {Host} host
   * @param {Picture} picture
   * @param {Tooltip} tip
   * @param {number} focus the node that the Tab key comes to
   */
  constructor(session, host, picture, tip, focus) {
    this.session = session;
    this.host = host;
    this.picture = picture;
    this.tip = tip;
    this.gestures = new Gestures(picture);
    this.dragged = false; // a number
    this.walk = new Walk(session, picture, tip, focus);
    for (const [i, group] of picture.nodes) {
      this.hovered({ node: i }, group);
      set(group, {
        onclick: (event) => this.click(event, i),
        // With Shift the browser would select the text up to here.
        onmousedown: (event) => event.shiftKey && event.preventDefault(),
        onkeydown: (event) => this.key(event, i),
      });
      if (!session.nodes[i].leaf) continue;
      const slots = picture.slots.get(`node ${i} value`) ?? [];
      const q = session.numbers.values[i];
      const single = q === null || isNumber(q);
      if (!single && slots.length !== (q.listed ? q.first?.length : 0)) continue; // statistics
      slots.forEach(({ text }, at) => {
        text.classList.add("draggable");
        text.addEventListener("pointerdown", (event) =>
          this.drag(event, text, single ? { i } : { i, at }),
        );
      });
    }
    for (const [e, groups] of picture.arrows) {
      for (const group of groups) {
        this.hovered({ edge: e }, group);
        set(group, {
          onclick: () => this.gestures.dragged || session.select(session.edgeName(e)),
        });
      }
    }
    set(picture.root, {
      onpointerdown: () => this.tip.hide(),
      onclick: ({ target }) => {
        const nothing = !target.closest("g.node, g.pill, g.group-title[role], .hit");
        if (nothing && !this.gestures.dragged) session.select(null);
      },
    });
  }

  /**
   * @param {Asked} what
   * @param {SVGGElement} group
   */
  hovered(what, group) {
    set(group, {
      // (A finger has no way to leave: what it touched is told below the picture.)
      onpointerenter: ({ pointerType, buttons }) =>
        pointerType !== "touch" && !buttons && this.tip.show(what, group, this.picture.stage),
      onpointerleave: () => this.tip.hide(),
    });
  }

  /**
   * @param {MouseEvent} event
   * @param {number} i
   */
  click({ shiftKey, ctrlKey, metaKey, detail }, i) {
    if (this.dragged || this.gestures.dragged) return;
    if (shiftKey || ctrlKey || metaKey) this.session.toggleTarget(i);
    else {
      this.session.select(this.session.nodes[i].id);
      const { kind } = this.picture.nodes.get(i)?.dataset ?? {};
      // (A layer that is one operation opens by two clicks: one asks for its numbers.)
      if (detail === (kind === "fold" ? 1 : 2)) this.open(i);
    }
  }

  /**
   * Open a closed fold, if it is one.
   * @param {number} i
   */
  open(i) {
    const key = this.session.get("drawing").closed[i];
    if (key !== undefined) this.host.toggle(key);
    return key !== undefined;
  }

  /**
   * A leaf's number changes as it is dragged.
   * @param {PointerEvent} event
   * @param {Element} text
   * @param {Leaf} leaf
   */
  drag(event, text, leaf) {
    const { session, host } = this;
    const start = numberOf(session, leaf);
    if (event.button || !finite(start)) return;
    if (!session.editable) {
      host.warn(session.refusal());
      return;
    }
    const unit = 10 ** Math.floor(Math.log10(Math.abs(start) || 0.1)) / 50;
    let moved = false;
    const move = (/** @type {PointerEvent} */ { clientX }) => {
      const dx = clientX - event.clientX;
      if (!moved && Math.abs(dx) < 3) return;
      moved = true;
      this.dragged = true;
      change(session, host, leaf, Number((start + dx * unit).toPrecision(6)));
    };
    const end = () =>
      setTimeout(() => {
        this.dragged = false;
      });
    event.stopPropagation();
    follow(text, event, move, end);
  }

  get focus() {
    return this.walk.focus;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} i
   */
  key(event, i) {
    const { session } = this;
    if (event.key === "Enter" || event.key === " ") {
      session.select(session.nodes[i].id);
      if (event.key === "Enter") this.open(i);
    } else if (event.key === "t") session.toggleTarget(i);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
