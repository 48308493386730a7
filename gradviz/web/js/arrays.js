// Arrays: a shape and its numbers in a row. What has no axes is a plain number.

/** @typedef {{shape: number[], data: Float64Array}} Grid */
/** @typedef {number | Grid} Value */

/** @type {(x: Value) => number[]} */
export const shapeOf = (x) => (typeof x === "number" ? [] : x.shape);
/** @type {(x: Value) => ArrayLike<number>} */
export const flat = (x) => (typeof x === "number" ? [x] : x.data);
/** The largest size of an entry; NaN where one is. @type {(x: Value) => number} */
export function top(x) {
  const data = flat(x);
  let most = 0;
  for (let i = 0; i < data.length; i++) most = Math.max(most, Math.abs(data[i]));
  return most;
}
/** @type {(shape: number[]) => number} */
export const sizeOf = (shape) => shape.reduce((size, n) => size * n, 1);
/** @type {(shape: number[], data: Float64Array) => Value} */
export const grid = (shape, data) => (shape.length ? { shape, data } : data[0]);
/** @type {(some: number[], others: number[]) => boolean} */
export const sameShape = (some, others) =>
  some.length === others.length && some.every((n, i) => n === others[i]);

/**
 * How far apart the elements along each axis of a shape stand.
 * @type {(shape: number[]) => number[]}
 */
const stepsOf = (shape) => shape.map((_, i) => sizeOf(shape.slice(i + 1)));

/**
 * Where the elements stand whose axes have these lengths and steps, in order.
 * @type {(shape: number[], steps: number[]) => Int32Array}
 */
function places(shape, steps) {
  let found = new Int32Array(1);
  for (const [axis, n] of shape.entries()) {
    const next = new Int32Array(found.length * n);
    let at = 0;
    for (const start of found) for (let k = 0; k < n; k++) next[at++] = start + k * steps[axis];
    found = next;
  }
  return found;
}

/** @type {(...shapes: number[][]) => number[]} */
function broadcast(...shapes) {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    return sizes.find((n) => n !== 1) ?? 1;
  });
}

/**
 * A value repeated along the axes that it lacks.
 * @type {(x: Value, shape: number[]) => Value}
 */
export function spreadTo(x, shape) {
  if (sameShape(shapeOf(x), shape)) return x;
  if (typeof x === "number") return grid(shape, new Float64Array(sizeOf(shape)).fill(x));
  const missing = shape.length - x.shape.length;
  const steps = stepsOf(x.shape).map((step, i) => (x.shape[i] === 1 ? 0 : step));
  const from = places(shape, [...Array(missing).fill(0), ...steps]);
  return { shape, data: Float64Array.from(from, (at) => x.data[at]) };
}

/**
 * A function of numbers, element by element.
 * @type {(f: (...numbers: number[]) => number, ...values: Value[]) => Value}
 */
export function mapped(f, ...values) {
  if (values.every((x) => typeof x === "number")) return f(.../** @type {number[]} */ (values));
  const shape = broadcast(...values.map(shapeOf));
  const [a, b = 0, ...rest] = values.map((x) =>
    typeof x === "number" ? x : /** @type {Grid} */ (spreadTo(x, shape)).data,
  );
  const data = new Float64Array(sizeOf(shape));
  /** @type {(x: number | Float64Array, i: number) => number} */
  const at = (x, i) => (typeof x === "number" ? x : x[i]);
  if (values.length === 1) for (let i = 0; i < data.length; i++) data[i] = f(at(a, i));
  else if (!rest.length) for (let i = 0; i < data.length; i++) data[i] = f(at(a, i), at(b, i));
  else
    for (let i = 0; i < data.length; i++)
      data[i] = f(at(a, i), at(b, i), ...rest.map((x) => at(x, i)));
  return { shape, data };
}

/** @type {(x: Value, shape: number[]) => Value} */
export const reshaped = (x, shape) =>
  sameShape(shapeOf(x), shape) ? x : grid(shape, Float64Array.from(flat(x)));

/**
 * The places of each group of elements that a reduction makes one of: where groups start, and how
 * far from there their elements stand.
 * @type {(shape: number[], axes: number[]) => {starts: Int32Array, within: Int32Array}}
 */
function groups(shape, axes) {
  const steps = stepsOf(shape);
  const kept = shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const along = (/** @type {number[]} */ own) =>
    places(
      own.map((i) => shape[i]),
      own.map((i) => steps[i]),
    );
  return { starts: along(kept), within: along(axes) };
}
/** @type {(shape: number[], axes: number[], keep?: number) => number[]} */
const shortened = (shape, axes, keep) =>
  shape.flatMap((n, i) => (axes.includes(i) ? (keep ? [1] : []) : [n]));

/** @type {(f: (sum: number, x: number) => number, first: number) => (a: Value, axes: number[], keep?: number) => Value} */
const reduction = (f, first) => (a, axes, keep) => {
  if (typeof a === "number") return f(first, a);
  const { starts, within } = groups(a.shape, axes);
  const data = Float64Array.from(starts, (start) => {
    let found = first;
    for (const step of within) found = f(found, a.data[start + step]);
    return found;
  });
  return grid(shortened(a.shape, axes, keep), data);
};

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

const total = reduction((sum, x) => sum + x, 0);
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
  einsum,
  gather,
  scatter,
};

/**
 * A message brought to its operand's shape, by summing what was broadcast.
 * @type {(message: Value, shape: number[]) => Value}
 */
export function fit(message, shape) {
  const own = shapeOf(message);
  if (sameShape(own, shape)) return message;
  const extra = own.length - shape.length;
  const axes = own.flatMap((n, i) => (i < extra || (shape[i - extra] === 1 && n !== 1) ? [i] : []));
  return reshaped(total(message, axes, 1), shape);
}

/**
 * An array as it travels: its numbers as bytes.
 * @type {(entries: Entries) => Value}
 */
export function unpackedArray({ shape, kind, data }) {
  const { buffer } = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const kinds = { u1: Uint8Array, f4: Float32Array, f8: Float64Array };
  return grid(shape, Float64Array.from(new kinds[kind](buffer)));
}

/**
 * Nested lists as an array; undefined where they are no array of numbers.
 * @type {(lists: any) => Value | undefined}
 */
export function fromLists(lists) {
  if (typeof lists === "number") return lists;
  if (!Array.isArray(lists)) return undefined;
  const parts = lists.map(fromLists);
  const shape = parts.length ? shapeOf(parts[0] ?? 0) : [];
  if (!parts.every((part) => part !== undefined && sameShape(shapeOf(part), shape)))
    return undefined;
  const data = parts.flatMap((part) => Array.from(flat(part ?? 0)));
  return { shape: [parts.length, ...shape], data: Float64Array.from(data) };
}
