// A picture as a sheet of rubber: where room is made, or taken away, all beside it moves along.
//
// Boxes keep their size, where their middle comes to lie.

import { shiftOf } from "./boxes.js";
import { placesOf, tracedBy } from "./routes.js";
import { along, disjoint, gaps, STRIP, stretched } from "./stretches.js";
import { all, reach, sides } from "./things.js";

/** @import { Point } from "./camera.js" */
/** @import { Stretch } from "./stretches.js" */
/** @import { Sides } from "./things.js" */
/** @typedef {{from: number, to: number}} Level of an edge across the picture: there, and from the top of what comes in */

const LANE = 24; // in which edges come to where they lead
const BESIDE = 8; // between what opens and what stands beside it
const STACK = 6; // what looks out below a box that is closed

/** @type {(source: string) => SVGSVGElement} */
const parsed = (source) =>
  /** @type {any} */ (new DOMParser().parseFromString(source, "image/svg+xml").documentElement);
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
    /** across the columns, from where to where there is nothing else @type {number[]} */
    this.free = [0, 0];
    /** across the columns, where it begins then */
    this.start = 0;
    /** along them, the room before and after it in which edges come to it */
    this.lanes = [0, 0];
    /** @type {Point} how large it is */
    this.room = [0, 0];
    this.margin = 0; // around a picture
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
    const [left, top] = shiftOf(part);
    this.margin = left;
    if (this.opens) this.room = [own.width - 2 * left, own.height - 2 * top];
    else {
      const [x, y, z, w] = sides(all(part, "g.node")[0]);
      this.room = [z - x, w - y + STACK];
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
    this.free = [this.site[x], this.site[x + 2]];
    const others = [...nodes, ...all(this.panel, "g.pill, g.group-title")];
    const standing = others.filter((thing) => !this.leaves(thing)).map(sides);
    /** @type {(column: number) => Sides[]} */
    const within = (column) => standing.filter((other) => this.column(other[x]) === column);
    /** @type {(place: Sides, k: number, room: number) => number} */
    const wanted = (place, k, room) =>
      Math.max(place === this.site ? room : 0, this.opens ? place[k + 2] - place[k] : 0);
    for (const [column, place] of inOrder) {
      const wide = this.opens
        ? this.widened(place, x, within(column))
        : stretched(place[x], place[x + 2], wanted(place, x, this.room[x]), reach(standing, x));
      this.widths.push(...wide);
    }
    this.widths = disjoint(this.widths);
    this.cuts = this.before.map((cut) => along(this.widths, cut));
    if (this.opens) this.leave(x);
    const [before, after] = this.lanes;
    for (const [column, place] of inOrder) {
      const length = wanted(place, y, before + this.room[y] + after);
      const long = stretched(place[y], place[y + 2], length, reach(within(column), y));
      const main = place === this.site && this.opens;
      this.lengths.set(column, main ? this.parted(long) : long);
    }
  }

  /** Leave room where edges come to what opens and do not lead straight into it. @param {number} x */
  leave(x) {
    const moves = this.moves(x);
    const straight = moves.filter(({ around }) => !around);
    const [least, most] = this.free.map((n) => along(this.widths, n));
    const [from, to] = [this.site[x], this.site[x + 2]].map((n) => along(this.widths, n));
    const wanted = straight[straight.length >> 1]?.by ?? (from + to - this.room[x]) / 2;
    this.start = clamped(wanted, least, Math.max(most - this.room[x], least));
    for (const { by, last, around } of moves) {
      if (around) this.lanes = [LANE, LANE];
      else if (Math.abs(by - this.start) > 1) this.lanes[last ? 1 : 0] = LANE;
    }
  }

  /**
   * Of each edge to what opens: where that would begin if the edge led straight into it, whether
   * it meets its end, and whether it comes from the other side; in order.
   * @param {number} x
   */
  moves(x) {
    const y = 1 - x;
    return all(this.panel, "g.arrow")
      .flatMap((arrow) => {
        const { tail, head, key } = arrow.dataset;
        const port = this.inside.ports.find(([edge]) => edge === Number(key));
        if (!port || (key ?? "") in this.inside.across) return [];
        if (tail !== this.box && head !== this.box) return [];
        const points = placesOf(arrow.querySelector("path")?.getAttribute("d") ?? "");
        if (head === this.box) points.reverse();
        const by = along(this.widths, points[0][x]) - port[x + 1];
        const last = port[y + 1] > this.room[y] / 2;
        const beyond = points.some((at) =>
          last ? at[y] > this.site[y + 2] : at[y] < this.site[y],
        );
        return [{ by, last, around: !beyond }];
      })
      .sort((a, b) => a.by - b.by);
  }

  /**
   * Where the columns become wider for what opens: where nothing stands, if it does not fit there.
   * @type {(place: Sides, x: number, standing: Sides[]) => Stretch[]}
   */
  widened(place, x, standing) {
    const y = 1 - x;
    const [from, to] = [place[x], place[x + 2]];
    /** @type {[number, number][]} what is beside it, from where to where */
    const beside = reach(standing.filter(level), x);
    function level(/** @type {Sides} */ at) {
      return at[y] < place[y + 2] && at[y + 2] > place[y];
    }
    for (const frame of all(this.panel, ".group").map(sides)) {
      const [low, high] = [frame[x], frame[x + 2]];
      if (!level(frame)) continue;
      if (low <= from && high >= to) beside.push([low, low], [high, high]);
      else beside.push([low, high]);
    }
    for (const arrow of all(this.panel, "g.arrow")) {
      const { tail, head } = arrow.dataset;
      let way = tracedBy(arrow.querySelector("path")?.getAttribute("d") ?? "");
      if (head === this.box) way.reverse();
      if (head === this.box || tail === this.box) {
        // What leads straight to the box leads to what opens there.
        way = way.slice(way.findIndex((at) => at[y] <= place[y] || at[y] >= place[y + 2]));
      }
      for (const [n, a] of way.slice(1).entries()) {
        const b = way[n];
        const at = [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
        const side = /** @type {Sides} */ ([...at, Math.max(a[0], b[0]), Math.max(a[1], b[1])]);
        if (level(side)) beside.push([side[x], side[x + 2]]);
      }
    }
    const column = this.column(from);
    let low = this.before[column - 1] ?? 0;
    let high = this.before[column] ?? this.root.viewBox.baseVal[x ? "height" : "width"];
    for (const [a, b] of beside) {
      if (a + b < from + to) low = Math.max(low, b + BESIDE);
      else high = Math.min(high, a - BESIDE);
    }
    this.free = [Math.min(low, from), Math.max(high, to)];
    const missing = this.room[x] - (this.free[1] - this.free[0]);
    if (missing <= 0) return [];
    const ports = all(this.panel, 'g.arrow[data-tail^="entry"], g.arrow[data-head^="exit"]').map(
      (arrow) => {
        const points = placesOf(arrow.querySelector("path")?.getAttribute("d") ?? "");
        const at = points[arrow.dataset.tail?.startsWith("entry") ? 0 : points.length - 1][x];
        return /** @type {[number, number]} */ ([at - 1, at + 1]);
      },
    );
    const empty = gaps(this.free, [...reach(standing, x), ...ports]).filter(
      ([a, b]) => b - a >= STRIP,
    );
    const ends = empty.length ? [...new Set([empty[0], empty[empty.length - 1]])] : [[from, to]];
    return ends.map(([a, b]) => ({ from: a, to: b, length: b - a + missing / ends.length }));
  }

  /** The same with an edge across the picture where it meets what comes in. @param {Stretch[]} long */
  parted(long) {
    const [{ from, to }] = long;
    const { level, room, lanes } = this;
    if (!level) return long;
    const above = Math.max(lanes[0] + level.to, level.from - from);
    const below = Math.max(room[1] - level.to + lanes[1], to - level.from);
    return [
      { from, to: level.from, length: above },
      { from: level.from, to, length: below },
    ];
  }

  /** Where what comes in comes to stand: its left and its top. @returns {Point} */
  corner() {
    const { site, room, level, lanes } = this;
    const [low, high] = [this.put([site[0], site[1]]), this.put([site[2] - 0.01, site[3] - 0.01])];
    const at = /** @type {Point} */ (room.map((long, k) => (low[k] + high[k] - long) / 2));
    const x = this.flat ? 1 : 0;
    if (this.opens) at[x] = this.start;
    at[1 - x] += (lanes[0] - lanes[1]) / 2;
    if (level) {
      const top = this.put([site[0], level.from])[1] - level.to;
      at[1] = clamped(top, low[1] + lanes[0], Math.max(high[1] - room[1] - lanes[1], low[1]));
    }
    return at;
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
