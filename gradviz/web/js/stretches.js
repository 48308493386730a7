// A line of which pieces become longer or shorter.

/** @typedef {{from: number, to: number, length: number}} Stretch of a line, and its new length */

export const STRIP = 10; // a strip in which nothing stands

/**
 * Where a place on a line comes to lie; the stretches are in order.
 * @type {(stretches: Stretch[], x: number) => number}
 */
export function along(stretches, x) {
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
export function stretched(from, to, wanted, others) {
  if (wanted >= to - from) return [{ from, to, length: wanted }];
  const free = gaps([from, to], others)
    .filter(([low, high]) => high - low > STRIP)
    .map(([low, high]) => ({ from: low, to: high, length: STRIP }));
  const short = free.reduce((sum, { from, to }) => sum + to - from - STRIP, 0);
  let missing = Math.max(0, wanted - (to - from - short));
  for (const gap of free) {
    const more = Math.min(missing, gap.to - gap.from - STRIP);
    gap.length += more;
    missing -= more;
  }
  return free.filter(({ from, to, length }) => length < to - from);
}

/** What of a line nothing stands on. @type {(line: number[], things: [number, number][]) => [number, number][]} */
export function gaps([from, to], things) {
  /** @type {[number, number][]} */
  const free = [];
  let at = from;
  for (const [low, high] of [...things, [to, to]].sort((a, b) => a[0] - b[0])) {
    if (Math.min(low, to) > at) free.push([at, Math.min(low, to)]);
    at = Math.max(at, high);
  }
  return free;
}
/** @type {(stretches: Stretch[]) => Stretch[]} */
export const disjoint = (stretches) =>
  stretches
    .sort((a, b) => a.from - b.from)
    .filter((one, n) => !n || one.from >= stretches[n - 1].to);
