// What rows say of whole arrays: reductions, sums along axes, einsum, choosing and sorting.

import {
  flat,
  grid,
  groups,
  mapped,
  places,
  reduction,
  reshaped,
  shapeOf,
  shortened,
  sizeOf,
  spreadTo,
  stepsOf,
  total,
} from "./arrays.js";

/** @import { Value } from "./arrays.js" */

/**
 * Each group of elements along some axes goes through a function.
 * @type {(a: Value, axes: number[], f: (group: number[]) => number[]) => Value}
 */
function regrouped(a, axes, f) {
  if (typeof a === "number") return f([a])[0];
  const { starts, within } = groups(a.shape, axes);
  const data = new Float64Array(a.data.length);
  for (const start of starts) {
    const found = f([...within].map((step) => a.data[start + step]));
    for (const [k, step] of within.entries()) data[start + step] = found[k];
  }
  return { shape: a.shape, data };
}

/** @type {(group: number[]) => number[]} */
function products(group) {
  const after = Array(group.length).fill(1);
  for (let i = group.length - 2; i >= 0; i--) after[i] = after[i + 1] * group[i + 1];
  let before = 1;
  return group.map((x, i) => {
    const others = before * after[i];
    before *= x;
    return others;
  });
}

/** @type {(group: number[]) => number[]} */
const sums = (group) => {
  let sum = 0;
  return group.map((x) => {
    sum += x;
    return sum;
  });
};

/** Ascending, and NaN last. @type {(x: number, y: number) => number} */
const ordered = (x, y) => (Number.isNaN(x) ? +!Number.isNaN(y) : Number.isNaN(y) ? -1 : x - y || 0);

/**
 * What comes back to where a sort took each element from.
 * @type {(g: Value, a: Value, axes: number[]) => Value}
 */
function unsort(g, a, axes) {
  if (typeof a === "number") return g;
  const { starts, within } = groups(a.shape, axes);
  const [sent, data] = [flat(g), new Float64Array(a.data.length)];
  for (const start of starts) {
    const order = [...within].sort((p, q) => ordered(a.data[start + p], a.data[start + q]));
    for (const [k, step] of order.entries()) data[start + step] = sent[start + within[k]];
  }
  return { shape: a.shape, data };
}

/** Products with a coefficient each, of factors by their places. @typedef {number[][]} Terms */

/** @type {(all: number[], terms: Terms) => number} */
const productsOf = (all, terms) =>
  terms.reduce(
    (sum, [first, ...at]) => sum + at.reduce((product, k) => product * all[k], first),
    0,
  );

/** Their derivative by one of the factors. @type {(all: number[], terms: Terms, position: number) => number} */
function slopeOf(all, terms, position) {
  const left = terms.flatMap(([first, ...at]) =>
    at.flatMap((k, n) => (k === position ? [[first, ...at.slice(0, n), ...at.slice(n + 1)]] : [])),
  );
  return productsOf(all, left);
}

/** @type {(term: string, letters: string, shape: number[]) => number[]} */
function stepsBy(term, letters, shape) {
  const steps = stepsOf(shape);
  return [...letters].map((letter) =>
    [...term].reduce((sum, c, i) => (c === letter && shape[i] !== 1 ? sum + steps[i] : sum), 0),
  );
}

/**
 * Einstein's sum: products over all letters, summed over those that the result lacks.
 * @type {(subscripts: string, factors: Value[]) => Value}
 */
function einsum(subscripts, factors) {
  const [inputs, output] = subscripts.split("->");
  const terms = inputs.split(",");
  /** @type {Record<string, number>} */
  const sizes = {};
  terms.forEach((term, k) => {
    [...term].forEach((letter, i) => {
      sizes[letter] = Math.max(sizes[letter] ?? 0, shapeOf(factors[k])[i]);
    });
  });
  const summed = Object.keys(sizes)
    .filter((letter) => !output.includes(letter))
    .join("");
  const lengths = (/** @type {string} */ letters) => [...letters].map((letter) => sizes[letter]);
  const shape = lengths(output);
  const along = (/** @type {string} */ letters) =>
    terms.map((term, k) => places(lengths(letters), stepsBy(term, letters, shapeOf(factors[k]))));
  const [outer, inner, numbers] = [along(output), along(summed), factors.map(flat)];
  const data = new Float64Array(sizeOf(shape));
  const count = sizeOf(lengths(summed));
  const [[a, b], [a0, b0], [a1, b1]] = [numbers, outer, inner]; // of two factors fast
  for (let o = 0; o < data.length; o++) {
    let sum = 0;
    if (numbers.length === 2) {
      const [from, to] = [a0[o], b0[o]];
      for (let s = 0; s < count; s++) sum += a[from + a1[s]] * b[to + b1[s]];
    } else {
      for (let s = 0; s < count; s++) {
        let product = 1;
        for (let k = 0; k < numbers.length; k++) product *= numbers[k][outer[k][o] + inner[k][s]];
        sum += product;
      }
    }
    data[o] = sum;
  }
  return grid(shape, data);
}

/**
 * Elements of several arrays in a row, by their numbers from 1; 0 is a zero.
 * @type {(all: Value[], source: Value, shape: number[]) => Value}
 */
function gather(all, source, shape) {
  const row = [0, ...all.flatMap((x) => [...Array.from(flat(x))])];
  return grid(
    shape,
    Float64Array.from(flat(source), (from) => row[from]),
  );
}

/**
 * What comes back to one of them: each element's sum.
 * @type {(g: Value, all: Value[], source: Value, position: number) => Value}
 */
function scatter(g, all, source, position) {
  const sizes = all.map((x) => flat(x).length);
  const first = 1 + sizes.slice(0, position).reduce((sum, n) => sum + n, 0);
  const [sent, from] = [flat(g), flat(source)];
  const data = new Float64Array(sizes[position]);
  for (let i = 0; i < from.length; i++) {
    const at = from[i] - first;
    if (at >= 0 && at < data.length) data[at] += sent[i];
  }
  return grid(shapeOf(all[position]), data);
}

/** @type {(a: Value, axes: number[]) => number} */
const count = (a, axes) => sizeOf(axes.map((i) => shapeOf(a)[i] ?? 1));

/** What rows name besides functions of numbers. @type {Record<string, (...all: any[]) => Value>} */
export const OF_ARRAYS = {
  sum: total,
  max: reduction(Math.max, -Infinity),
  min: reduction(Math.min, Infinity),
  prod: reduction((product, x) => product * x, 1),
  count,
  mean: (a, axes, keep) => mapped((x) => x / count(a, axes), total(a, axes, keep)),
  /** What a reduction returned, given the axes again. */
  spread: (g, a, axes) => spreadTo(reshaped(g, shortened(shapeOf(a), axes, 1)), shapeOf(a)),
  like: (g, a) => reshaped(g, shapeOf(a)),
  reshape: reshaped,
  others: (a, axes) => regrouped(a, axes, products),
  cumsum: (a, axes) => regrouped(a, axes, sums),
  sumsback: (a, axes) => regrouped(a, axes, (group) => sums(group.reverse()).reverse()),
  sort: (a, axes) => regrouped(a, axes, (group) => group.sort(ordered)),
  unsort,
  einsum,
  gather,
  scatter,
  products: productsOf,
  slope: slopeOf,
};
