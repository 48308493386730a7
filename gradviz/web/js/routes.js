// The way of an edge, as the picture's SVG has it: curves and straight lines, in absolute places.

/** @import { Point } from "./camera.js" */

const PAIR = /(-?[\d.]+) (-?[\d.]+)/g;
const HALVED = 3; // times, so that a curve keeps its way when it is bent
const SHORT = 15; // pixels: a piece that is not halved again
const MARGIN = 4; // pixels: beside what an edge goes around
const END = 30; // pixels: so near its end an edge follows what it leads to

/** @type {(d: string) => Point[]} */
export const placesOf = (d) => [...d.matchAll(PAIR)].map(([, x, y]) => [Number(x), Number(y)]);

/** The same way with each of its places somewhere else. @type {(d: string, put: (at: Point) => Point) => string} */
export const moved = (d, put) => d.replace(PAIR, (_, x, y) => paired(put([Number(x), Number(y)])));
/** The same way somewhere else. @type {(d: string, by: Point) => string} */
export const shifted = (d, [dx, dy]) => moved(d, ([x, y]) => [x + dx, y + dy]);

/** Points on it. @type {(d: string) => Point[]} */
export const tracedBy = (d) =>
  curvesOf(d).flatMap((curve) => [
    curve[0],
    ...pieces(curve, () => false, HALVED).map((c) => c[3]),
  ]);

/** @type {(point: Point) => string} */
const paired = (point) => point.map((n) => String(Math.round(n * 100) / 100)).join(" ");

/** Its Bézier curves, four points each. @type {(d: string) => Point[][]} */
function curvesOf(d) {
  const curves = [];
  /** @type {Point[]} */
  let last = [];
  for (const [, kind, numbers] of d.matchAll(/([MLC])([^MLCZ]*)/g)) {
    const points = placesOf(numbers);
    if (kind === "L")
      curves.push([
        last[0],
        mixed(last[0], points[0], 1 / 3),
        mixed(last[0], points[0], 2 / 3),
        points[0],
      ]);
    else if (kind === "C")
      for (let at = 0; at < points.length; at += 3) {
        curves.push([at ? points[at - 1] : last[0], ...points.slice(at, at + 3)]);
      }
    last = points.slice(-1);
  }
  return curves;
}

/** @type {(a: Point, b: Point, part: number) => Point} */
const mixed = (a, b, part) => [a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part];
/** @type {(a: Point, b: Point) => number} */
const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/**
 * A curve in pieces (de Casteljau), as far as it does not stay what it is.
 * @type {(curve: Point[], stays: (curve: Point[]) => boolean, times: number) => Point[][]}
 */
function pieces(curve, stays, times) {
  if (!times || stays(curve)) return [curve];
  const rows = [curve];
  while (rows[0].length > 1) {
    const [row] = rows;
    rows.unshift(row.slice(1).map((point, n) => mixed(row[n], point, 0.5)));
  }
  const first = rows.map(([point]) => point).reverse();
  const second = rows.map((row) => row[row.length - 1]);
  return [...pieces(first, stays, times - 1), ...pieces(second, stays, times - 1)];
}

/**
 * Where an edge is to go on to, on which axis it comes there, and from which side: what it leads
 * into is from where to where, with a lane before and after it.
 * @typedef {{at: Point, axis: number, below: boolean, sides: number[], lanes: number[]}} Goal
 */

/**
 * A way on a sheet that is stretched; its ends move by so much more, or it goes on to a goal.
 *
 * What of it is past where it comes to a goal is cut off: it leads there around a corner.
 * @type {(d: string, put: (point: Point) => Point, ends: [Point, Point], goals?: (Goal | undefined)[]) => string}
 */
export function bent(d, put, [start, end], goals = []) {
  const whole = curvesOf(d);
  const ends = [start, end].map(([x, y]) => Math.hypot(x, y) > 0.01);
  const [from, to] = [whole[0]?.[0], whole[whole.length - 1]?.[3]];
  /** @type {(curve: Point[]) => boolean} */
  const stays = (curve) => {
    /** @type {Point[]} */
    const ways = curve.map((point) => [put(point)[0] - point[0], put(point)[1] - point[1]]);
    const together = ways.every((way) => apart(way, ways[0]) < 0.01);
    const bends = [from, to].some((at, k) => ends[k] && curve.some((p) => apart(p, at) < 2 * END));
    return (together && !bends) || apart(curve[0], curve[3]) < SHORT;
  };
  const curves = whole.flatMap((curve) => pieces(curve, stays, HALVED));
  /** @type {Point[][]} */
  const joins = [[], []];
  for (const k of [0, 1]) {
    const goal = goals[k];
    if (!goal || !curves.length) continue;
    const { axis, below, lanes } = goal;
    const edge = goal.at[axis] + (below ? lanes[1] : -lanes[0]);
    const outer = () => put(curves[k ? curves.length - 1 : 0][3 * k]);
    /** @type {(point: Point) => boolean} */
    const past = (point) => (below ? point[axis] < edge - 1 : point[axis] > edge + 1);
    const wrong = curves.every((c) => past(put(c[3 * k])));
    const cut = !wrong && past(outer());
    const inside = () => outer().every((x, n) => goal.sides[n] < x && x < goal.sides[n + 2]);
    while (curves.length > 1 && (cut ? past(outer()) : wrong && inside()))
      k ? curves.pop() : curves.shift();
    const corner = outer();
    if (cut) corner[axis] = edge;
    joins[k] = wrong ? around(corner, goal) : led(corner, goal.at, axis);
    if (!k) joins[k].reverse();
  }
  let long = 0;
  const ways = curves.map((curve) =>
    curve.map((point, n) => {
      long += n ? apart(curve[n - 1], point) : 0;
      return long;
    }),
  );
  const room = Math.min(END, long / 2) || 1;
  const moved = curves.map((curve, c) =>
    curve.map((point, n) => {
      const [x, y] = put(point);
      const first = Math.max(0, 1 - ways[c][n] / room);
      const last = Math.max(0, 1 - (long - ways[c][n]) / room);
      return paired([x + first * start[0] + last * end[0], y + first * start[1] + last * end[1]]);
    }),
  );
  const way = [moved[0]?.[0], ...moved.flatMap((curve) => curve.slice(1))];
  const parts = [joins[0].map(paired), way, joins[1].map(paired)].filter(({ length }) => length);
  return `M${parts.map(([first, ...rest]) => `${first}C${rest.join(" ")}`).join("L")}`;
}

/**
 * A curve from one place to another, where it begins and ends along an axis.
 * @type {(from: Point, to: Point, axis: number) => Point[]}
 */
function led(from, to, axis) {
  /** @type {Point[]} */
  const points = [[...from], [...from], [...to], [...to]];
  for (const n of [1, 2]) points[n][axis] = (from[axis] + to[axis]) / 2;
  return points;
}

/**
 * Curves to the far side of what an edge leads into, beside it.
 * @type {(from: Point, goal: Goal) => Point[]}
 */
function around(from, { at, axis, below, sides, lanes }) {
  const across = 1 - axis;
  const [left, , right] = axis ? sides : [sides[1], 0, sides[3]];
  const side = 2 * from[across] < left + right ? left - MARGIN : right + MARGIN;
  const [near, far] = below ? [sides[axis], sides[axis + 2]] : [sides[axis + 2], sides[axis]];
  /** @type {(along: number, x: number) => Point} */
  const point = (along, x) => (axis ? [x, along] : [along, x]);
  const beside = (from[axis] - near) * (from[axis] - far) < 0;
  const [begin, end] = [point(beside ? from[axis] : near, side), point(far, side)];
  const turn = below ? far + lanes[1] : far - lanes[0];
  return [
    ...led(from, begin, axis),
    ...led(begin, end, axis).slice(1),
    point(turn, side),
    point(turn, at[across]),
    at,
  ];
}
