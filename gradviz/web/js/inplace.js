// A fold that opens or closes where it stands in a picture; the rest keeps its order.
//
// An edge follows the sheet that the picture is, and its ends what they lead to.

import { set } from "./elements.js";
import { seat } from "./headings.js";
import { bent, placesOf, shifted } from "./routes.js";
import { Sheet } from "./sheet.js";
import { all, shift, sides } from "./things.js";

/** @import { Point } from "./camera.js" */
/** @import { Goal } from "./routes.js" */
/** @import { Stretch } from "./stretches.js" */

const INSET = 10; // of an edge, from the corner of a box

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
    if (!this.opens) this.lead(arrows);
    for (const arrow of arrows) {
      if (this.leaves(arrow)) {
        arrow.remove();
        continue;
      }
      this.bend(arrow, ways, ports, [left, top]);
      this.rename(arrow);
    }
    if (!this.opens) this.look();
    const y = this.flat ? 0 : 1;
    let lowest = [0, 0]; // how far down things were, and are then
    for (const thing of all(panel, "g.node, g.pill, .group")) {
      const at = sides(thing);
      const low = this.put([at[2] - 0.01, at[3] - 0.01]);
      lowest = [Math.max(lowest[0], at[y + 2]), Math.max(lowest[1], low[y])];
    }
    for (const thing of all(panel, "g.node, g.pill, g.group-title, .group")) {
      if (this.leaves(thing)) {
        thing.remove();
        continue;
      }
      const [x, y, z, w] = sides(thing);
      if (thing.matches(".group")) {
        const [a, b] = [this.put([x, y]), this.put([z - 0.01, w - 0.01])];
        set(thing, { x: a[0], y: a[1], width: b[0] - a[0], height: b[1] - a[1] });
      } else if (thing.matches(".group-title")) {
        const [a, b] = this.put([x, y]);
        shift(thing, [a - x, b - y]);
      } else {
        shift(thing, this.way([x, y, z, w]));
        this.rename(thing);
      }
    }
    this.add(part, left, top);
    seat(panel);
    this.enlarge(lowest[1] - lowest[0]);
    return new XMLSerializer().serializeToString(this.root);
  }

  /**
   * Edges to what closes come to the column where its box is on the way of one that was in it.
   * @param {SVGGElement[]} arrows
   */
  lead(arrows) {
    const across = (/** @type {Point} */ [x, y]) => this.column(this.flat ? y : x);
    const here = this.column(this.site[this.flat ? 1 : 0]);
    const way = (/** @type {SVGGElement} */ arrow) => {
      const d = arrow.querySelector("path")?.getAttribute("d") ?? "";
      const points = placesOf(d);
      return { d, from: across(points[0]), to: across(points[points.length - 1]) };
    };
    /** @type {(arrow: SVGGElement) => number} */
    const within = ({ dataset }) =>
      [dataset.tail, dataset.head].filter((end) => this.holds(end)).length;
    const inner = arrows.filter((arrow) => within(arrow) === 2);
    for (const arrow of arrows) {
      if (within(arrow) !== 1) continue;
      const own = way(arrow);
      const leaves = this.holds(arrow.dataset.tail);
      const gap = leaves ? [here, own.from] : [own.to, here];
      const other = inner.find((one) => way(one).from === gap[0] && way(one).to === gap[1]);
      if (gap[0] === gap[1] || !other) continue;
      const by = way(other).d;
      const d = leaves ? `${by}L${own.d.slice(1)}` : `${own.d}L${by.slice(1)}`;
      for (const line of all(arrow, "path")) {
        const tip = line.getAttribute("d")?.endsWith("Z");
        const head = all(other, "path").find((one) => one.getAttribute("d")?.endsWith("Z"));
        if (!tip) line.setAttribute("d", d);
        else if (!leaves && head) line.setAttribute("d", head.getAttribute("d") ?? "");
      }
    }
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
    const [x, y] = this.flat ? [1, 0] : [0, 1];
    const corner = [left, top];
    /** How much farther than the sheet an end moves. @type {(k: number) => Point} */
    const more = (k) => {
      const name = [tail, head][k];
      const at = this.put(ends[k]);
      const way = ways.get(name);
      const to = way && name !== this.box ? [ends[k][0] + way[0], ends[k][1] + way[1]] : [...at];
      if (this.opens ? name === this.box : this.holds(name)) {
        const port = ports.get(Number(key));
        if (this.inner(key)) return port ? [port[0] - at[0], port[1] - at[1]] : [0, 0];
        if (this.opens) return [0, 0]; // it goes on there
        const room = this.room[x];
        const inset = Math.min(INSET, room / 2);
        to[x] = Math.min(Math.max(at[x], corner[x] + inset), corner[x] + room - inset);
        const low = port && port[y] > corner[y] + this.room[y] / 2;
        to[y] = corner[y] + ((low ?? !k) ? this.room[y] : 0);
      }
      return [to[0] - at[0], to[1] - at[1]];
    };
    const [start, last] = [more(0), more(1)];
    /** Where it ends at what has opened. @type {(k: number) => Goal | undefined} */
    const goalOf = (k) => {
      const at = ports.get(Number(key));
      if (!at || !this.opens || this.inner(key) || [tail, head][k] !== this.box) return undefined;
      const below = at[y] > corner[y] + this.room[y] / 2;
      const sides = [left, top, left + this.room[0], top + this.room[1]];
      return { at, axis: y, below, sides, lanes: this.lanes };
    };
    const goals = [goalOf(0), goalOf(1)];
    const put = (/** @type {Point} */ point) => this.put(point);
    const [a, b] = put(ends[1]);
    const goal = [a + last[0], b + last[1]];
    const neck = points[points.length - 1]; // where the line ends: at the head, if one stays
    const [c, e] = put(neck);
    /** @type {Point} */
    const end = goals[1]
      ? [0, 0]
      : [goal[0] - ends[1][0] + neck[0] - c, goal[1] - ends[1][1] + neck[1] - e];
    for (const { line, d } of lines) {
      if (line !== tip?.line) line.setAttribute("d", bent(d, put, [start, end], goals));
    }
    if (goals[1]) {
      tip?.line.remove();
    } else if (tip) {
      const by = /** @type {Point} */ (goal.map((n, k) => n - ends[1][k]));
      tip.line.setAttribute("d", shifted(tip.d, by));
    }
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

  /** The whole picture grows with what is in it; its legend stays below. @param {number} longer */
  enlarge(longer) {
    const { width, height } = this.root.viewBox.baseVal;
    const [x, y] = this.flat ? [1, 0] : [0, 1];
    const more = [0, 0];
    const growth = (/** @type {Stretch[]} */ stretches) =>
      stretches.reduce((sum, { from, to, length }) => sum + length - to + from, 0);
    more[x] = growth(this.widths);
    more[y] = longer;
    const [wide, high] = [width + more[0], height + more[1]];
    set(this.root, { width: wide, height: high, viewBox: `0 0 ${wide} ${high}` });
    let below = this.panel.nextElementSibling;
    for (; below; below = below.nextElementSibling) shift(below, [0, more[1]]);
  }
}
