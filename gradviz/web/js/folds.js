// Folds: a closed box opens where it is, an opened frame closes by its heading, a list has both.

import { button, fill, html, OURS, set } from "./elements.js";
import { Pictures } from "./pictures.js";
import { toggled } from "./session.js";
import { sides } from "./things.js";

/** @import { Place } from "./camera.js" */
/** @import { Frame } from "./frame.js" */
/** @import { Picture } from "./picture.js" */

const FEW = 8; // so many stand in the bar; more are a list that opens, with a filter

export class Folds {
  /** @param {Frame} frame */
  constructor(frame) {
    this.frame = frame;
    const { session } = frame;
    this.pictures = new Pictures(session.model, (text, name) => session.t(text, { name }));
    const label = session.t("fold");
    this.root = html("span", { class: "folds", role: "group", "aria-label": label });
    this.buttons = html("div", { class: "list" });
    this.filter = html("input", {
      type: "search",
      placeholder: session.t("filter"),
      "aria-label": session.t("filter"),
      oninput: () => this.sift(),
    });
    this.menu = html("details", {}, html("summary", {}, label), this.filter, this.buttons);
    /** @type {{key: string, from: Picture, place: Place, focused: boolean} | undefined} what is to keep its place */
    this.asked = undefined;
  }

  /** @param {string} key */
  toggle(key) {
    const { picture, session } = this.frame;
    const group = this.seen(key);
    const place = group && picture.place(group);
    const focused = Boolean(group?.contains(focusOf(group)));
    this.asked = place && { key, from: picture, place, focused };
    const { folded } = session.get("drawing");
    this.frame.ask({ kind: "fold", folded: toggled(folded, key), key });
  }

  /**
   * In a notebook, too, a fold opens where it is and a picture turns, as far as what is seen then
   * has come; else the kernel sends it, or draws.
   * @param {ViewRequest} request
   */
  async placed(request) {
    const { frame, pictures } = this;
    const { kind } = request;
    if (!frame.session.get("kernel") || (kind !== "fold" && kind !== "turn")) return false;
    const done = await pictures.arrange(...pictures.wanted(request), false);
    if (done) frame.warn("");
    return done;
  }

  /**
   * A fold in the picture: its closed box, or the heading of its frame.
   * @param {string} key
   * @returns {SVGGElement | undefined}
   */
  seen(key) {
    const { picture, session } = this.frame;
    const { closed, frames } = session.get("drawing");
    const box = Object.keys(closed).find((i) => closed[Number(i)] === key);
    if (box !== undefined) return picture.nodes.get(Number(box));
    return picture.headings.find(({ dataset }) => frames[dataset.scope ?? ""] === key);
  }

  /** Another picture: what has not moved in it stays, or what was asked for. */
  refresh() {
    const { picture, session } = this.frame;
    const { closed, sealed, frames, folded, scopes } = session.get("drawing");
    for (const i of Object.keys(closed)) {
      if (sealed.includes(closed[Number(i)])) continue;
      picture.nodes.get(Number(i))?.setAttribute("aria-expanded", "false");
    }
    for (const heading of picture.headings) {
      const scope = frames[heading.dataset.scope ?? ""];
      if (scope && scopes.includes(scope)) this.heading(heading, scope);
    }
    const made = scopes.map((scope) => {
      const shut = folded.includes(scope);
      const away = sealed.includes(scope);
      return button(
        `${shut ? "▸" : "▾"} ${scope}`,
        away
          ? session.t("notOpened", { name: scope })
          : session.t(shut ? "unfold" : "foldOne", { scope }),
        () => this.toggle(scope),
        { "aria-pressed": String(shut), class: away ? "fold sealed" : "fold" },
      );
    });
    fill(this.buttons, made);
    this.root.replaceChildren(scopes.length > FEW ? this.menu : this.buttons);
    if (scopes.length > FEW) this.menu.append(this.buttons);
    this.sift();
    const { asked } = this;
    this.asked = undefined;
    const group = asked && this.seen(asked.key);
    if (!group) return;
    if (![...asked.from.nodes].some(([i, node]) => together(node, picture.nodes.get(i)))) {
      picture.pin(group, asked.place);
    } else {
      picture.stay(asked.from);
      picture.reveal(group);
    }
    if (asked.focused) group.focus({ preventScroll: true });
  }

  /**
   * @param {SVGGElement} heading
   * @param {string} scope
   */
  heading(heading, scope) {
    set(heading, {
      ...OURS,
      role: "button",
      tabindex: "0",
      "aria-expanded": "true",
      "aria-label": scope,
      onclick: () => this.toggle(scope),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        this.toggle(scope);
      },
    });
  }

  sift() {
    const wanted = this.filter.value.trim().toLowerCase();
    const sifting = this.root.contains(this.menu);
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (
      this.buttons.querySelectorAll("button")
    )) {
      each.hidden = sifting && !each.textContent.toLowerCase().includes(wanted);
    }
  }
}

/**
 * Whether two boxes have their place in common.
 * @type {(one: Element, other?: Element) => boolean}
 */
const together = (one, other) =>
  other !== undefined && sides(one).every((x, k) => Math.abs(x - sides(other)[k]) < 0.01);

/**
 * What has the focus, in the document or the shadow tree of a notebook.
 * @type {(within: Element) => Element | null}
 */
const focusOf = (within) =>
  /** @type {Document | ShadowRoot} */ (within.getRootNode()).activeElement;
