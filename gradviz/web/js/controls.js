// Pointer and keyboard on the picture.

import { follow, OURS, set } from "./elements.js";
import { change } from "./field.js";
import { finite, scalar } from "./numbers.js";

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
    this.dragged = false;
    this.focus = focus;
    const first = picture.nodes.has(focus) ? focus : [...picture.nodes.keys()][0];
    for (const [i, group] of picture.nodes) {
      this.hovered({ node: i }, group);
      set(group, {
        ...OURS,
        role: "button",
        tabindex: i === first ? "0" : "-1",
        onclick: (event) => this.click(event, i),
        // With Shift the browser would select the text up to here.
        onmousedown: (event) => event.shiftKey && event.preventDefault(),
        onkeydown: (event) => this.key(event, i),
        onfocus: () => this.tip.show({ node: i }, group, picture.stage),
        onblur: () => this.tip.hide(),
      });
      if (!session.nodes[i].leaf) continue;
      for (const { text } of picture.slots.get(`node ${i} value`) ?? []) {
        text.classList.add("draggable");
        text.addEventListener("pointerdown", (event) => this.drag(event, text, i));
      }
    }
    for (const [e, groups] of picture.arrows) {
      for (const group of groups) {
        this.hovered({ edge: e }, group);
        set(group, { onclick: () => session.select(session.edgeName(e)) });
      }
    }
    picture.root.addEventListener("pointerdown", (event) => this.pan(event));
    picture.root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  /**
   * @param {Asked} what
   * @param {SVGGElement} group
   */
  hovered(what, group) {
    set(group, {
      onpointerenter: () => this.tip.show(what, group, this.picture.stage),
      onpointerleave: () => this.tip.hide(),
    });
  }

  /**
   * @param {MouseEvent} event
   * @param {number} i
   */
  click({ shiftKey, ctrlKey, metaKey, detail }, i) {
    if (this.dragged) return;
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
   * @param {number} i
   */
  drag(event, text, i) {
    const { session, host } = this;
    const start = scalar(session.numbers.values[i]);
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
      change(session, host, i, Number((start + dx * unit).toPrecision(6)));
    };
    const end = () =>
      setTimeout(() => {
        this.dragged = false;
      });
    event.stopPropagation();
    follow(text, event, move, end);
  }

  /** @param {PointerEvent} event */
  pan(event) {
    const { picture, session } = this;
    const on = /** @type {Element} */ (event.target);
    if (event.button || on.closest("g.node, g.pill, g.group-title[role], .hit")) return;
    let [x, y] = [event.clientX, event.clientY];
    let moved = 0;
    const move = (/** @type {PointerEvent} */ { clientX, clientY }) => {
      moved += Math.abs(clientX - x) + Math.abs(clientY - y);
      picture.pan(clientX - x, clientY - y);
      [x, y] = [clientX, clientY];
    };
    follow(picture.root, event, move, () => {
      if (moved < 4) session.select(null);
    });
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // plain scrolling belongs to the host
    event.preventDefault();
    const box = this.picture.root.getBoundingClientRect();
    this.picture.scale(Math.exp(-event.deltaY / 300), [
      (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height,
    ]);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} i
   */
  key(event, i) {
    const { session, picture } = this;
    const { edges, chain, nodes } = session;
    const shown = [...picture.nodes.keys()].sort((a, b) => a - b);
    const at = shown.indexOf(i);
    /** @type {Record<string, number | undefined>} */
    const ways = {
      ArrowLeft: edges[chain.into[i][0]]?.u,
      ArrowRight: edges.find(({ u }) => u === i)?.v,
      ArrowUp: shown[at - 1],
      ArrowDown: shown[at + 1],
    };
    const to = ways[event.key];
    if (event.key === "Enter" || event.key === " ") {
      session.select(nodes[i].id);
      if (event.key === "Enter") this.open(i);
    } else if (event.key === "t") session.toggleTarget(i);
    else if (to !== undefined) this.walk(to);
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} i */
  walk(i) {
    const { picture } = this;
    const group = picture.box(i);
    if (!group) return;
    for (const other of picture.nodes.values()) other.setAttribute("tabindex", "-1");
    group.setAttribute("tabindex", "0");
    this.focus = i;
    picture.show(i);
    group.focus();
  }
}
