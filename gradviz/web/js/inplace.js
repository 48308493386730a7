// A fold that opens or closes where it stands in a picture; the rest keeps its order.
//
// An edge follows the sheet that the picture is, and its ends what they lead to.

import { shiftOf } from "./boxes.js";
import { aside, lead } from "./columns.js";
import { numeric, set } from "./elements.js";
import { framed, heads, seat } from "./headings.js";
import { bent, placesOf, shifted, tracedBy } from "./routes.js";
import { Sheet } from "./sheet.js";
import { all, shift, sides } from "./things.js";

/** @import { Point } from "./camera.js" */
/** @import { Goal } from "./routes.js" */

const INSET = 10; // of an edge, from the corner of a box
const NECK = 6; // from where its line ends to the tip of its head

/**
 * The picture with a fold opened, or closed, where it is.
 * @type {(drawing: Drawing, key: string, inside: Inside) => Drawing}
 */
export function inPlace(drawing, key, inside) {
  const sheet = new Place(drawing, key, inside);
  const own = inside.drawing;
  const kept = drawing.inside.filter(([first]) => !sheet.has(first));
  const seen = Object.entries(drawing.closed).filter(([box]) => !sheet.has(Number(box)));
  const framed = Object.entries(drawing.frames).filter(([scope]) => !sheet.gone.has(scope));
  const left = new Set([...seen.map(([, fold]) => fold), ...framed.map(([, fold]) => fold)]);
  const around = drawing.scopes.filter((fold) => left.has(fold));
  return {
    ...drawing,
    svg: sheet.drawn(),
    inside: [...kept, ...own.inside].sort(([a], [b]) => a - b),
    closed: { ...Object.fromEntries(seen), ...own.closed },
    sealed: [...new Set([...drawing.sealed, ...own.sealed])],
    frames: { ...Object.fromEntries(framed), ...(sheet.opens && { [key]: key }) },
    folded: [...new Set([...drawing.folded.filter((fold) => fold !== key), ...own.folded])],
    scopes: [...around, ...own.scopes],
    cuts: sheet.cuts,
  };
}

class Place extends Sheet {
  /** The picture as it is then. */
  drawn() {
    const { panel, part } = this;
    const [left, top] = this.corner();
    /** @type {Map<string, Point>} how far boxes move */
    const ways = new Map();
    for (const node of all(panel, "g.node")) {
      ways.set(node.dataset.node ?? "", this.way(sides(node)));
    }
    /** @type {Map<number, Point>} */
    const ports = new Map(this.inside.ports.map(([e, x, y]) => [e, [x + left, y + top]]));
    const arrows = all(panel, "g.arrow");
    const [, before] = this.reached();
    const frames = framed(this);
    if (!this.opens) lead(this, arrows);
    for (const arrow of arrows) {
      if (this.leaves(arrow)) {
        arrow.remove();
        continue;
      }
      this.bend(arrow, ways, ports, [left, top]);
      this.rename(arrow);
    }
    if (!this.opens) aside(this, arrows, [left, top]);
    if (!this.opens) this.look();
    for (const thing of all(panel, "g.node, g.pill, g.group-title, .group")) {
      if (this.leaves(thing)) {
        thing.remove();
        continue;
      }
      const at = sides(thing);
      const frame = frames.get(thing)?.to;
      if (frame) {
        const [x, y, z, w] = frame;
        set(thing, { x, y, width: z - x, height: w - y });
      } else if (thing.matches(".group-title")) {
        const own = [...frames.values()].find((one) => heads(at, one.at));
        const [from, to] = own ? [own.at, own.to] : [at, this.put([at[0], at[1]])];
        shift(thing, [to[0] - from[0], to[1] - from[1]]);
      } else {
        shift(thing, this.way(at));
        this.rename(thing);
      }
    }
    this.add(part, left, top);
    seat(panel);
    this.enlarge(before);
    return new XMLSerializer().serializeToString(this.root);
  }

  /**
   * An edge follows the sheet, and its ends what they lead to.
   * @param {SVGGElement} arrow
   * @param {Map<string, Point>} ways
   * @param {Map<number, Point>} ports
   * @param {Point} corner of what comes in
   */
  bend(arrow, ways, ports, [left, top]) {
    const { tail = "", head = "", key } = arrow.dataset;
    const lines = all(arrow, "path").map((line) => ({ line, d: line.getAttribute("d") ?? "" }));
    const points = placesOf(lines[0].d);
    const tip = lines.find(({ d }) => d.endsWith("Z"));
    const ends = [points[0], tip ? placesOf(tip.d)[1] : points[points.length - 1]];
    const y = this.flat ? 0 : 1;
    const corner = [left, top];
    const put = (/** @type {Point} */ point) => this.put(point);
    const way = tracedBy(lines[0].d).map(put);
    const port = ports.get(Number(key));
    const inner = Boolean(this.inner(key));
    /** Whether it ends at what has opened, or closed. @type {(k: number) => boolean} */
    const here = (k) => (this.opens ? [tail, head][k] === this.box : this.holds([tail, head][k]));
    /** How much farther than the sheet an end moves. @type {(k: number) => Point} */
    const more = (k) => {
      const at = this.put(ends[k]);
      const by = ways.get([tail, head][k]);
      let to = by && !here(k) ? [ends[k][0] + by[0], ends[k][1] + by[1]] : at;
      if (here(k) && inner && port) to = port;
      else if (here(k) && !inner && !this.opens) {
        const low = port && port[y] > corner[y] + this.room[y] / 2;
        to = this.meets(k ? way : [...way].reverse(), corner, low ?? !k);
      }
      return [to[0] - at[0], to[1] - at[1]]; // (to what has opened it goes on)
    };
    const [start, last] = [more(0), more(1)];
    /** Where it ends there. @type {(k: number) => Goal | undefined} */
    const goalOf = (k) => {
      const [a, b] = this.put(ends[k]);
      const [dx, dy] = [start, last][k];
      const at = this.opens ? port : /** @type {Point} */ ([a + dx, b + dy]);
      if (!here(k) || inner || !at) return undefined;
      const below = at[y] > corner[y] + this.room[y] / 2;
      const sides = [left, top, left + this.room[0], top + this.room[1]];
      if (this.opens) return { at, axis: y, below, sides, lanes: this.lanes };
      if (k && tip) at[y] += below ? NECK : -NECK;
      const comes = way.some((point) => (below ? point[y] > at[y] : point[y] < at[y]));
      return comes ? { at, axis: y, below, sides, lanes: [0, 0] } : undefined;
    };
    const goals = [goalOf(0), goalOf(1)];
    const [a, b] = put(ends[1]);
    const goal = [a + last[0], b + last[1]];
    const neck = points[points.length - 1]; // where the line ends: at the head, if one stays
    const [c, e] = put(neck);
    /** @type {Point} */
    const whole = [goal[0] - ends[1][0] + neck[0] - c, goal[1] - ends[1][1] + neck[1] - e];
    /** @type {Point[]} */
    const [begin, end] = [start, whole].map((by, k) => (goals[k] ? [0, 0] : by));
    for (const { line, d } of lines) {
      if (line !== tip?.line) line.setAttribute("d", bent(d, put, [begin, end], goals));
    }
    if (goals[1] && this.opens) tip?.line.remove();
    else if (tip) {
      tip.line.setAttribute("d", shifted(tip.d, [goal[0] - ends[1][0], goal[1] - ends[1][1]]));
    }
  }

  /**
   * Where an edge comes to the box of what has closed: where it would first be behind that.
   * @type {(way: Point[], corner: number[], low: boolean) => Point}
   */
  meets(way, corner, low) {
    const [x, y] = this.flat ? [1, 0] : [0, 1];
    const { room } = this;
    const behind = (/** @type {Point} */ point) =>
      point.every((n, k) => corner[k] < n && n < corner[k] + room[k]);
    const met = way.find(behind) ?? way[way.length - 1];
    const inset = Math.min(INSET, room[x] / 2);
    /** @type {Point} */
    const at = [0, 0];
    at[x] = Math.min(Math.max(met[x], corner[x] + inset), corner[x] + room[x] - inset);
    at[y] = corner[y] + (low ? room[y] : 0);
    return at;
  }

  /** The box in it that an edge across the picture leads to. @param {string} [key] */
  inner(key) {
    return this.inside.across[Number(key)];
  }

  /** What leads to a box that has opened leads to its frame; to what has closed, to its box. @param {SVGGElement} thing */
  rename({ dataset }) {
    for (const end of ["tail", "head"]) {
      const name = dataset[end];
      if (this.opens ? name === this.box : this.holds(name)) {
        dataset[end] = this.opens ? (this.inner(dataset.key) ?? `/${this.key}`) : this.box;
      }
    }
  }

  /** Edges that lead to what has closed look as those to its box do, and say what they say. */
  look() {
    const LOOKS = ["class", "stroke", "stroke-width", "stroke-dasharray"];
    for (const model of all(this.part, "g.arrow, g.pill")) {
      const { key } = model.dataset;
      const kind = model.matches("g.arrow") ? "g.arrow" : "g.pill";
      const own = all(this.panel, kind).find(({ dataset }) => dataset.key === key);
      if (!own) continue;
      if (kind === "g.pill") {
        const [[a, b, c, d], [x, y, z, w]] = [sides(own), sides(model)];
        const copy = /** @type {SVGGElement} */ (own.ownerDocument.importNode(model, true));
        shift(copy, [(a + c - x - z) / 2, (b + d - y - w) / 2]);
        Object.assign(copy.dataset, own.dataset);
        own.replaceWith(copy);
        continue;
      }
      const [like] = all(model, "path");
      for (const line of all(own, "path")) {
        if (line.getAttribute("d")?.endsWith("Z")) {
          line.setAttribute("class", like.getAttribute("class")?.replace("s-", "f-") ?? "");
          line.setAttribute("fill", like.getAttribute("stroke") ?? "none");
        } else for (const name of LOOKS) set(line, { [name]: like.getAttribute(name) ?? "none" });
      }
    }
  }

  /**
   * What comes in, above what is of its kind.
   * @type {(part: SVGGElement, left: number, top: number) => void}
   */
  add(part, left, top) {
    const kinds = [".group", "g.arrow", "g.group-title", "g.pill", "g.node"];
    for (const [n, kind] of kinds.entries()) {
      if (!this.opens && kind !== "g.node") continue;
      for (const thing of all(part, kind)) {
        if (thing.dataset.scope !== undefined) thing.dataset.scope = this.key;
        if (kind === ".group") {
          const [x, y] = sides(thing);
          set(thing, { x: x + left, y: y + top });
        } else if (kind === "g.arrow") {
          for (const line of all(thing, "path")) {
            line.setAttribute("d", shifted(line.getAttribute("d") ?? "", [left, top]));
          }
        } else {
          const [x, y] = this.opens ? [0, 0] : sides(thing);
          shift(thing, [left - x, top - y]);
        }
        const own = this.panel.ownerDocument.importNode(thing, true);
        const last = all(this.panel, kind).pop();
        const [above] = all(this.panel, kinds.slice(n + 1).join() || kind);
        if (last) last.after(own);
        else if (above)
          above.before(own); // the first of its kind
        else this.panel.append(own);
      }
    }
  }

  /** How far to the right and down things and edges are. */
  reached() {
    const things = all(this.panel, "g.node, g.pill, .group").map((thing) => sides(thing).slice(2));
    const lines = all(this.panel, "g.arrow path").map((line) => line.getAttribute("d") ?? "");
    const points = [...things, ...lines.flatMap(placesOf)];
    return [0, 1].map((k) => points.reduce((most, point) => Math.max(most, point[k]), 0));
  }

  /**
   * The whole picture is as large as what is in it; its legend stays below.
   * @param {number} before how far down that was
   */
  enlarge(before) {
    const far = this.reached();
    const around = all(this.root, ":scope > g:not(.panel) text").map(
      (text) => numeric(text, "x") + numeric(text, "textLength"),
    );
    const more = far[1] - before;
    const wide = Math.max(shiftOf(this.panel)[0] + far[0], ...around) + this.margin;
    const high = this.root.viewBox.baseVal.height + more;
    set(this.root, { width: wide, height: high, viewBox: `0 0 ${wide} ${high}` });
    let below = this.panel.nextElementSibling;
    for (; below; below = below.nextElementSibling) shift(below, [0, more]);
  }
}
