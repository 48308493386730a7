// A picture as a sheet of rubber: where room is made, or taken away, all beside it moves along.
//
// Boxes keep their size, where their middle comes to lie.

import { placeOf, shiftOf } from "./boxes.js";
import { find } from "./elements.js";
import { placesOf } from "./routes.js";

/** @import { Point } from "./camera.js" */
/** @typedef {{from: number, to: number, length: number}} Stretch of a line, and its new length */
/** @typedef {[number, number, number, number]} Sides left, top, right, bottom */
/** @typedef {{from: number, to: number}} Level of an edge across the picture: there, and from the top of what comes in */

const STRIP = 10; // a strip in which nothing stands

/** @type {(source: string) => SVGSVGElement} */
const parsed = (source) =>
  /** @type {any} */ (new DOMParser().parseFromString(source, "image/svg+xml").documentElement);
/** @type {(within: Element, selector: string) => SVGGElement[]} */
export const all = (within, selector) => [
  ...within.querySelectorAll(/** @type {"g"} */ (selector)),
];

/** @type {(group: Element, by: Point) => void} */
export function shift(group, [dx, dy]) {
  const [x, y] = shiftOf(group);
  group.setAttribute("transform", `translate(${(x + dx).toFixed(2)} ${(y + dy).toFixed(2)})`);
}
/** @type {(thing: Element) => Sides} */
export function sides(thing) {
  const rect = thing.matches("rect") ? thing : find(thing, "rect", SVGRectElement);
  const [x, y, w, h] = placeOf(rect);
  return [x, y, x + w, y + h];
}

/**
 * Where a place on a line comes to lie; the stretches are in order.
 * @type {(stretches: Stretch[], x: number) => number}
 */
function along(stretches, x) {
  let more = 0;
  for (const { from, to, length } of stretches) {
    if (x <= from) break;
    if (x < to) return from + more + ((x - from) * length) / (to - from);
    more += length - (to - from);
  }
  return x + more;
}

/**
 * From where to where something lies, made as long as `wanted`, but for what else stands there.
 * @type {(from: number, to: number, wanted: number, others: [number, number][]) => Stretch[]}
 */
function stretched(from, to, wanted, others) {
  if (wanted >= to - from) return [{ from, to, length: wanted }];
  const free = [];
  let at = from;
  for (const [low, high] of [...others, [to, to]].sort((a, b) => a[0] - b[0])) {
    if (low > at + STRIP && at < to) free.push({ from: at, to: Math.min(low, to), length: STRIP });
    at = Math.max(at, high);
  }
  const short = free.reduce((sum, { from, to }) => sum + to - from - STRIP, 0);
  const missing = wanted - (to - from - short);
  if (free.length && missing > 0) free[0].length += missing;
  return free.filter(({ from, to, length }) => length < to - from);
}

export class Sheet {
  /**
   * @param {Drawing} drawing
   * @param {string} key
   * @param {Inside} inside
   */
  constructor(drawing, key, inside) {
    /** @type {Map<number, Stretch[]>} by column */
    this.lengths = new Map();
    /** @type {Stretch[]} */
    this.widths = [];
    /** @type {number[]} where the columns part then */
    this.cuts = [];
    this.root = parsed(drawing.svg);
    this.panel = all(this.root, "g.panel")[0];
    this.part = all(parsed(inside.drawing.svg), "g.panel")[0];
    this.inside = inside;
    /** @type {Sides} where it comes to stand */
    this.site = [0, 0, 0, 0];
    /** @type {Point} how large it is */
    this.room = [0, 0];
    this.key = key;
    this.flat = drawing.direction === "LR"; // its columns are rows
    this.before = drawing.cuts;
    const box = Object.entries(drawing.closed).find(([, fold]) => fold === key)?.[0];
    this.opens = box !== undefined;
    this.box = `n${box ?? Object.keys(inside.drawing.closed)[0]}`;
    const own = Object.keys(drawing.frames).find((scope) => drawing.frames[scope] === key);
    const inner = Object.keys(drawing.frames).filter(
      (scope) => scope === own || scope.startsWith(`${own}/`),
    );
    /** scopes of frames that are no more */
    this.gone = new Set(this.opens ? [] : inner);
    /** @type {Level | undefined} */
    this.level = this.levelled();
    this.stretch();
  }

  levelled() {
    const { across, ports } = this.inside;
    const [, , to] = ports.find(([edge]) => edge in across) ?? [];
    const edge = all(this.panel, "g.arrow").find(({ dataset }) => (dataset.key ?? "") in across);
    if (to === undefined || !edge) return undefined;
    const points = placesOf(edge.querySelector("path")?.getAttribute("d") ?? "");
    const { tail } = edge.dataset;
    const leaves = this.opens ? tail === this.box : this.holds(tail);
    return { from: points[leaves ? 0 : points.length - 1][1], to };
  }

  /** Whether a value is in the fold. @param {number} i */
  has(i) {
    return this.inside.values.some(([first, last]) => first <= i && i <= last);
  }
  /** Whether a box is in it. @param {string} [name] */
  holds(name = "") {
    return name.startsWith("n") && this.has(Number(name.slice(1)));
  }

  /** Where room is made, and where the rest comes to lie. */
  stretch() {
    const { part } = this;
    const own = /** @type {SVGSVGElement} */ (part.ownerSVGElement).viewBox.baseVal;
    const [left, top] = shiftOf(part); // its margin
    if (this.opens) this.room = [own.width - 2 * left, own.height - 2 * top];
    else {
      const [x, y, z, w] = sides(all(part, "g.node")[0]);
      this.room = [z - x, w - y];
    }
    const nodes = all(this.panel, "g.node");
    const frames = all(this.panel, ".group");
    const mine = this.opens
      ? nodes.filter(({ dataset }) => dataset.node === this.box)
      : frames.filter(({ dataset }) => this.gone.has(dataset.scope ?? ""));
    const x = this.flat ? 1 : 0; // across the columns
    const y = 1 - x;
    /** @type {Map<number, Sides>} */
    const places = new Map();
    for (const at of mine.map(sides)) {
      const known = places.get(this.column(at[x])) ?? at;
      const joined = at.map((n, k) => (k < 2 ? Math.min : Math.max)(n, known[k]));
      places.set(this.column(at[x]), /** @type {Sides} */ (joined));
    }
    // The largest place is where it comes to stand; of others nothing stays.
    const inOrder = [...places].sort(([, a], [, b]) => area(b) - area(a));
    this.site = inOrder[0][1];
    const others = [...nodes, ...all(this.panel, "g.pill, g.group-title")];
    const standing = others.filter((thing) => !this.leaves(thing)).map(sides);
    for (const [column, place] of inOrder) {
      const main = place === this.site;
      const beside = standing.filter((other) => this.column(other[x]) === column);
      /** @type {(k: number) => number} */
      const wanted = (k) =>
        Math.max(main ? this.room[k] : 0, this.opens ? place[k + 2] - place[k] : 0);
      const long = stretched(place[y], place[y + 2], wanted(y), reach(beside, y));
      this.lengths.set(column, main && this.opens ? this.parted(long) : long);
      this.widths.push(...stretched(place[x], place[x + 2], wanted(x), reach(standing, x)));
    }
    this.widths = disjoint(this.widths);
    this.cuts = this.before.map((cut) => along(this.widths, cut));
  }

  /** The same with an edge across the picture where it meets what comes in. @param {Stretch[]} long */
  parted(long) {
    const [{ from, to }] = long;
    const { level, room } = this;
    if (!level) return long;
    return [
      { from, to: level.from, length: Math.max(level.to, level.from - from) },
      { from: level.from, to, length: Math.max(room[1] - level.to, to - level.from) },
    ];
  }

  /** Where what comes in comes to stand: its left and its top. @returns {Point} */
  corner() {
    const { site, room, level } = this;
    const [[a, b], [c, d]] = [
      this.put([site[0], site[1]]),
      this.put([site[2] - 0.01, site[3] - 0.01]),
    ];
    const top = level && this.put([site[0], level.from])[1] - level.to;
    const free = Math.max(d - room[1], b);
    return [
      (a + c - room[0]) / 2,
      top === undefined ? (b + d - room[1]) / 2 : clamped(top, b, free),
    ];
  }

  /** @param {number} x */
  column(x) {
    return this.before.filter((cut) => cut <= x).length;
  }

  /** Whether something is no more when the fold is open, or closed. @param {SVGGElement} thing */
  leaves(thing) {
    const { node, scope, tail, head, key } = thing.dataset;
    if (node !== undefined) return this.opens ? node === this.box : this.holds(node);
    if (scope !== undefined) return this.gone.has(scope);
    if (this.opens) return false;
    const inner = [tail, head].filter((end) => this.holds(end)).length;
    // Of several edges that lead to its box, one stays where they are one.
    return inner === 2 || (inner === 1 && !this.inside.ports.some(([e]) => e === Number(key)));
  }

  /** Where a place of the picture comes to lie. @type {(point: Point) => Point} */
  put([x, y]) {
    const lengths = this.lengths.get(this.column(this.flat ? y : x)) ?? [];
    return this.flat
      ? [along(lengths, x), along(this.widths, y)]
      : [along(this.widths, x), along(lengths, y)];
  }

  /** How far a thing moves: to where its middle comes to lie. @type {(at: Sides) => Point} */
  way([left, top, right, bottom]) {
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    const [a, b] = this.put([x, y]);
    return [a - x, b - y];
  }
}

/** @type {(x: number, least: number, most: number) => number} */
const clamped = (x, least, most) => Math.min(Math.max(x, least), most);
/** @type {(a: Sides) => number} */
const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
/** @type {(things: Sides[], k: number) => [number, number][]} */
const reach = (things, k) => things.map((at) => [at[k], at[k + 2]]);
/** @type {(stretches: Stretch[]) => Stretch[]} */
const disjoint = (stretches) =>
  stretches
    .sort((a, b) => a.from - b.from)
    .filter((one, n) => !n || one.from >= stretches[n - 1].to);
