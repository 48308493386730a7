// The SVG that Python laid out: only texts and classes change here, positions in inplace.js.
//
// It is the one thing that is parsed as markup; Python has escaped its labels.

import { flying, turned } from "./arrows.js";
import { boxOf, placeOf } from "./boxes.js";
import { Camera } from "./camera.js";
import { find, numeric, set, svg } from "./elements.js";
import { Minimap } from "./minimap.js";
import { width } from "./widths.js";
import { inWords } from "./words.js";

/** @import { Point } from "./camera.js" */
/** @typedef {{text: SVGTextElement, room: number, size: number}} Slot */
/** @typedef {{nodes?: number[], edges?: number[]}} Marked */
/** @typedef {{text: string, tone: string}} Badge */

/** What happens to edges in the backward pass: their arrows point backwards. */
const BACKWARD = ["lit", "sent", "reads", "computed"];

const TIGHTEST = 1.7; // a text that would be squeezed more cannot be read

export class Picture extends Camera {
  /**
   * @param {HTMLElement} stage where it is shown, in place of the one before
   * @param {Drawing} drawing
   * @param {Record<string, string>} words what the small print says in the reader's language
   */
  constructor(stage, drawing, words) {
    const { svg: source } = drawing;
    const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    for (const e of parsed.querySelectorAll("script, style, foreignObject, image, a, use")) {
      e.remove();
    }
    super(stage, /** @type {any} */ (document.importNode(parsed, true)));
    this.running = 0;
    this.words = words;
    set(this.root, { role: "group", width: "100%", height: "100%" });
    this.drawing = drawing;
    /** @type {Map<number, SVGGElement>} */
    this.nodes = new Map();
    /** @type {Map<number, SVGGElement[]>} */
    this.arrows = new Map();
    /** @type {Map<string, Slot[]>} */
    this.slots = new Map();
    /** @type {Map<string, Element>} the brackets of each matrix */
    this.around = new Map();
    /** @type {Map<SVGGElement, string>} every group, with the classes it came with */
    this.groups = new Map();
    /** @type {SVGGElement[]} of frames */
    this.headings = [...this.root.querySelectorAll(/** @type {"g"} */ ("g.group-title"))];
    this.collect();
    this.translate(words);
    this.over = svg("g", { class: "over" });
    find(this.root, "g.panel", SVGGElement).append(this.over);
    for (const old of this.stage.querySelectorAll("svg")) old.remove();
    this.map = new Minimap(this);
    this.looked = () => this.map.refresh();
    this.stage.prepend(this.root, this.map.root);
    this.stage.style.setProperty("--shape", this.size.join(" / "));
    this.stage.style.setProperty("--high", `${this.size[1]}px`);
  }

  collect() {
    for (const group of /** @type {NodeListOf<SVGGElement>} */ (
      this.root.querySelectorAll("g.node, g.arrow, g.pill")
    )) {
      const { node, key } = group.dataset;
      if (node !== undefined) {
        if (node[1] === "-") continue; // in a library's call: of it there is only the picture
        this.nodes.set(Number(node.slice(1)), group);
        this.collectSlots(`node ${node.slice(1)}`, group);
      } else {
        const e = Number(key);
        if (e < 0) continue;
        this.arrows.set(e, [...(this.arrows.get(e) ?? []), group]);
        this.collectSlots(`edge ${e}`, group);
        const line = group.classList.contains("arrow") && group.querySelector("path");
        // A thin line is hard to hit: a wide one that cannot be seen lies over it.
        if (line) group.append(svg("path", { d: line.getAttribute("d"), class: "hit" }));
      }
      this.groups.set(group, group.getAttribute("class") ?? "");
    }
  }

  /**
   * @param {string} owner
   * @param {SVGGElement} group
   */
  collectSlots(owner, group) {
    for (const path of /** @type {NodeListOf<SVGPathElement>} */ (
      group.querySelectorAll("[data-around]")
    )) {
      this.around.set(`${owner} ${path.dataset.around}`, path);
    }
    for (const slot of /** @type {NodeListOf<SVGGElement>} */ (
      group.querySelectorAll("[data-slot]")
    )) {
      const { slot: said = "", x, room } = slot.dataset;
      const [kind, place] = said.split(" ");
      const first = find(slot, "text", SVGTextElement);
      const size = numeric(first, "font-size");
      const anchor = place === "start" || place === "middle" ? place : "end";
      const y = first.getAttribute("y");
      const text = svg("text", { x, y, "font-size": size, "text-anchor": anchor });
      slot.replaceChildren(text);
      const key = `${owner} ${kind}`;
      // The last column stands first.
      this.slots.set(key, [{ text, room: Number(room), size }, ...(this.slots.get(key) ?? [])]);
    }
  }

  /** @param {Record<string, string>} words */
  translate(words) {
    this.words = words;
    if (words.graph) {
      this.root.setAttribute("aria-label", words.graph);
      for (const e of this.root.querySelectorAll(":scope > title, :scope > desc")) e.remove();
    }
    for (const group of /** @type {NodeListOf<SVGGElement>} */ (
      this.root.querySelectorAll("g[data-word]")
    )) {
      const said = group.textContent?.trim() ?? "";
      const own = inWords(said, words);
      if (own === said) continue;
      const text = find(group, "text", SVGTextElement);
      set(text, { x: group.dataset.x, "text-anchor": group.dataset.word });
      text.removeAttribute("textLength");
      text.textContent = own;
      group.replaceChildren(text);
    }
  }

  /**
   * Put texts into the cells of a card; a text wider than its room is squeezed into it.
   * @param {string} owner
   * @param {string} kind
   * @param {string[]} texts
   */
  write(owner, kind, texts, words = false) {
    const slots = this.slots.get(`${owner} ${kind}`);
    if (!slots) return;
    const whole = texts.length === slots.length;
    const own = texts.map((said) => said.replace(/^(all|empty)\b/, (w) => this.words[w] ?? w));
    const fitted = whole ? own : [...Array(slots.length - 1).fill(""), own.join(" … ")];
    this.around.get(`${owner} ${kind}`)?.setAttribute("visibility", whole ? "visible" : "hidden");
    const last = slots[slots.length - 1];
    const line = slots.filter(({ text }) => text.getAttribute("y") === last.text.getAttribute("y"));
    const wide = line.reduce((sum, { room }) => sum + room, 0);
    slots.forEach(({ text, room: least, size }, i) => {
      const room = whole ? least : wide;
      if (width(fitted[i]) * size > TIGHTEST * room) fitted[i] = "…"; // the panel tells it
      if (text.textContent !== fitted[i]) text.textContent = fitted[i];
      text.classList.toggle("words", words);
      if (width(fitted[i]) * size * (words ? 0.9 : 1) > room) {
        set(text, { textLength: room, lengthAdjust: "spacingAndGlyphs" });
      } else text.removeAttribute("textLength");
    });
  }

  /**
   * The box of a value: its own, or the folded one that it is in.
   * @param {number} i
   */
  box(i) {
    return this.nodes.get(boxOf(this.drawing, i));
  }

  /**
   * Give groups their classes: `marks` maps a class to nodes and edges. Most stay as they are.
   * @param {Record<string, Marked>} marks
   */
  mark(marks) {
    /** @type {Map<SVGGElement, string>} */
    const wanted = new Map();
    const add = (/** @type {SVGGElement | undefined} */ group, /** @type {string} */ name) =>
      group && wanted.set(group, `${wanted.get(group) ?? ""} is-${name}`);
    for (const [name, { nodes = [], edges = [] }] of Object.entries(marks)) {
      for (const i of nodes) add(this.box(i), name);
      for (const e of edges) {
        for (const group of this.arrows.get(e) ?? []) {
          add(group, name);
          if (BACKWARD.includes(name) && group.classList.contains("arrow")) {
            turned(group);
            add(group, "back");
          }
        }
      }
    }
    for (const [group, own] of this.groups) {
      const next = own + (wanted.get(group) ?? "");
      if (group.getAttribute("class") !== next) group.setAttribute("class", next);
    }
    const selected = new Set(marks.selected?.nodes);
    for (const [i, group] of this.nodes) {
      group.setAttribute("aria-pressed", String(selected.has(i)));
    }
  }

  /** @param {Map<number, Badge>} texts */
  badges(texts) {
    this.over.replaceChildren();
    for (const [i, { text, tone }] of texts) {
      const rect = this.box(i)?.querySelector("rect");
      if (!rect) continue;
      const [x, y, w] = placeOf(rect);
      const wide = width(text) * 11 + 14;
      this.over.append(
        svg(
          "g",
          { class: `badge ${tone}` },
          svg("rect", { x: x + w - wide + 8, y: y - 9, width: wide, height: 18, rx: 9 }),
          svg(
            "text",
            {
              x: x + w - wide / 2 + 8,
              y: y + 4,
              "text-anchor": "middle",
              "font-size": 11,
              "font-weight": 700,
            },
            text,
          ),
        ),
      );
    }
  }

  /**
   * A dot runs along an edge, from the reader back to the operand.
   * @param {number} e
   */
  send(e) {
    cancelAnimationFrame(this.running);
    const arrow = this.arrows.get(e)?.find((group) => group.classList.contains("arrow"));
    const line = arrow?.querySelector("path");
    if (line)
      flying(line, this.over, (frame) => {
        this.running = frame;
      });
  }

  /**
   * The middle of a box, in the picture.
   * @param {number} i
   * @returns {Point | null}
   */
  middleOf(i) {
    const rect = this.box(i)?.querySelector("rect");
    if (!rect) return null;
    const [x, y, w, h] = placeOf(rect);
    return [x + w / 2, y + h / 2];
  }

  /**
   * Bring boxes into view; the last of them, where there is not room for all.
   * @param {...number} ids
   */
  show(...ids) {
    const boxes = ids.flatMap((i) => this.box(i) ?? []);
    if (boxes.length) this.reveal(...boxes);
  }
}
