// Arrays as they are typed or pasted: JSON, or a row of numbers a line, as sheets and NumPy have it.

import { flat, fromLists, sameShape, shapeOf } from "./arrays.js";
import { scalar, typed } from "./numbers.js";

/** @typedef {number | Lists[]} Lists */

/** @type {(shape: number[]) => [number, number]} how many rows, and how long */
const rowsOf = (shape) => [
  shape.slice(0, -1).reduce((n, m) => n * m, 1),
  shape[shape.length - 1] ?? 1,
];

/**
 * The numbers of an array's text in a row; undefined where it is none, or not of that shape.
 * @type {(text: string, shape: number[]) => number[] | undefined}
 */
export function arrayIn(text, shape) {
  try {
    const lists = JSON.parse(text);
    if (Array.isArray(lists)) {
      const found = fromLists(lists) ?? NaN;
      return sameShape(shapeOf(found), shape) ? Array.from(flat(found)) : undefined;
    }
  } catch {
    /* rows, then */
  }
  const lines = text.split(/[\n;]/).map((line) => line.replace(/[[\](){}]|array/g, " "));
  const rows = lines
    .map((line) => line.split(/[\s,]+/).filter(Boolean))
    .filter((row) => row.length);
  const numbers = rows.flat().map(typed);
  const [count, across] = rowsOf(shape);
  const column = count === 1 && rows.length === across && rows.every((row) => row.length === 1);
  const fits = rows.length === count && rows.every((row) => row.length === across);
  if (!(fits || column) || numbers.includes(undefined)) return undefined;
  return /** @type {number[]} */ (numbers);
}

/** @type {(numbers: number[], shape: number[]) => Lists} */
export function listsOf(numbers, [n, ...inner]) {
  if (n === undefined) return numbers[0];
  const size = numbers.length / n;
  return Array.from({ length: n }, (_, i) =>
    listsOf(numbers.slice(i * size, (i + 1) * size), inner),
  );
}

/**
 * A larger array as rows to be edited, if all its numbers are here.
 * @type {(q: Shown, shape: number[]) => string}
 */
export function rowsTyped({ first = [] }, shape) {
  const [count, across] = rowsOf(shape);
  if (first.length !== count * across) return "";
  const texts = first.map((x) => String(scalar(x)));
  const line = (/** @type {number} */ k) => texts.slice(k * across, (k + 1) * across).join(" ");
  return Array.from({ length: count }, (_, k) => line(k)).join("\n");
}
