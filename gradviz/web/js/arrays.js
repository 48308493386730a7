// Arrays: a shape and its numbers in a row. What has no axes is a plain number.

/** @typedef {{shape: number[], data: Float64Array}} Grid */
/** @typedef {number | Grid} Value */

/** The axes of a shape as it is written. @type {(shape: string) => number[]} */
export const axesOf = (shape) => (shape ? shape.split("×").map(Number) : []);
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
export const stepsOf = (shape) => shape.map((_, i) => sizeOf(shape.slice(i + 1)));

/**
 * Where the elements stand whose axes have these lengths and steps, in order.
 * @type {(shape: number[], steps: number[]) => Int32Array}
 */
export function places(shape, steps) {
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
export function groups(shape, axes) {
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
export const shortened = (shape, axes, keep) =>
  shape.flatMap((n, i) => (axes.includes(i) ? (keep ? [1] : []) : [n]));

/** @type {(f: (sum: number, x: number) => number, first: number) => (a: Value, axes: number[], keep?: number) => Value} */
export const reduction = (f, first) => (a, axes, keep) => {
  if (typeof a === "number") return f(first, a);
  const { starts, within } = groups(a.shape, axes);
  const data = Float64Array.from(starts, (start) => {
    let found = first;
    for (const step of within) found = f(found, a.data[start + step]);
    return found;
  });
  return grid(shortened(a.shape, axes, keep), data);
};

export const total = reduction((sum, x) => sum + x, 0);
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
  if (lists === "-0") return -0;
  if (!Array.isArray(lists)) return undefined;
  const parts = lists.map(fromLists);
  const shape = parts.length ? shapeOf(parts[0] ?? 0) : [];
  if (!parts.every((part) => part !== undefined && sameShape(shapeOf(part), shape)))
    return undefined;
  const data = parts.flatMap((part) => Array.from(flat(part ?? 0)));
  return { shape: [parts.length, ...shape], data: Float64Array.from(data) };
}
