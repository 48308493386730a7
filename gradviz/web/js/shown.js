// What is shown of an array, as gradviz/words.py and gradviz/web/cells.py say it.

import { flat, sizeOf, top } from "./arrays.js";
import { digitsOf, wire } from "./numbers.js";

/** @import { Grid, Value } from "./arrays.js" */

const [SIDE, LINE, LISTED] = [4, 8, 22]; // as in gradviz/words.py
const [CELLS, ROOM, SMALLEST, MIDDLE_BYTE, NOT_FINITE] = [64, 2 ** 18, 8, 127, 255]; // as in web/cells.py
const NUMBERS = 240;

/** @type {(x: number, dtype: string, digits?: number) => string} */
function written(x, dtype, digits = 5) {
  if (dtype === "bool") return x ? "True" : "False";
  if (!dtype.startsWith("float") && Math.abs(x) < 1e9) return String(x);
  const [mantissa, exponent] = digitsOf(x, digits);
  return mantissa + (exponent && `e${exponent}`);
}

/** Python's repr. @type {(x: number, dtype: string) => string} */
function repr(x, dtype) {
  if (dtype === "bool" || !dtype.startsWith("float")) return written(x, dtype);
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = x.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  const plain = Object.is(x, -0)
    ? "-0"
    : power < 0
      ? x.toFixed(mantissa.replace(/\D/g, "").length - 1 - power)
      : String(x);
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** @type {(x: Grid, text: (x: number) => string, from?: number, axis?: number) => string} */
function nested({ shape, data }, text, from = 0, axis = 0) {
  if (axis === shape.length) return text(data[from]);
  const step = sizeOf(shape.slice(axis + 1));
  const parts = Array.from({ length: shape[axis] }, (_, k) =>
    nested({ shape, data }, text, from + k * step, axis + 1),
  );
  return `[${parts.join(", ")}]`;
}

/** @type {(x: Grid) => number} */
const digitsFor = ({ data }) => (data.length < 3 ? 4 : 3);
/** @type {(data: Float64Array) => boolean} */
const allSame = (data) => data.every((x) => x === data[0]);

/** The entries of a small array. @type {(x: Grid, dtype: string) => string[]} */
function entriesOf(x, dtype) {
  const { shape, data } = x;
  if (shape.length > 2 || data.length < 2) return [];
  const [lines, across] = [1, ...shape].slice(-2);
  const small = lines === 1 ? across <= LINE : Math.max(lines, across) <= SIDE;
  return small ? Array.from(data, (entry) => written(entry, dtype, digitsFor(x))) : [];
}

/** @type {(x: Grid, dtype: string) => string[]} */
function cellsOf(x, dtype) {
  const { data } = x;
  if (!data.length) return ["empty"];
  const digits = digitsFor(x);
  const list = () => nested(x, (entry) => written(entry, dtype, digits));
  if (data.length === 1 || (data.length <= 4 && list().length <= LISTED)) return [list()];
  if (allSame(data)) return [`all ${written(data[0], dtype, 4)}`];
  if (entriesOf(x, dtype).length) return [list()];
  const ends = [data.reduce((a, b) => Math.min(a, b)), data.reduce((a, b) => Math.max(a, b))];
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  return [written(ends[0], dtype, 3), written(mean, "float64", 3), written(ends[1], dtype, 3)];
}

/** @type {(x: Grid, dtype: string) => string} */
function fullOf(x, dtype) {
  if (x.data.length <= 16) return nested(x, (entry) => repr(entry, dtype)).slice(0, 400);
  const texts = cellsOf(x, dtype);
  const names = texts.length === 3 ? ["min ", "mean ", "max "] : [""];
  const told = names.map((name, i) => name + texts[i]).join(", ");
  return `${x.shape.join("×")} ${dtype}: ${told}`;
}

/** A local derivative in few characters. @type {(x: Grid, dtype: string) => string} */
function localOf(x, dtype) {
  const texts = cellsOf(x, dtype);
  if (texts.length === 3) return `${texts[0]} … ${texts[2]}`;
  const fits = texts[0].length <= LISTED;
  if (x.data.length < 2) return fits ? texts[0] : x.shape.join("×");
  if (allSame(x.data)) return `all ${written(x.data[0], dtype, 4)}`;
  if (fits) return texts[0];
  const sorted = [...x.data].sort((a, b) => a - b);
  return [sorted[0], sorted[sorted.length - 1]].map((end) => written(end, dtype, 3)).join(" … ");
}

/** The Euclidean norm. @type {(x: Grid) => number} */
function length(x) {
  const most = top(x);
  if (!Number.isFinite(most) || !most) return most;
  return most * Math.sqrt(x.data.reduce((sum, entry) => sum + (entry / most) ** 2, 0));
}

/** How many cells all maps have in a row. @type {(values: (Value | undefined)[]) => number} */
export function mapSide(values) {
  const maps = values.filter((x) => x !== undefined && flat(x).length > 1).length;
  const fitting = Math.floor(Math.sqrt(ROOM / Math.max(maps, 1)));
  return fitting >= SMALLEST ? Math.min(fitting, CELLS) : 0;
}

/** Means of groups of lines, so that there are at most so many. @type {(lines: number[][], most: number) => number[][]} */
function thinned(lines, most) {
  if (lines.length <= most) return lines;
  const start = (/** @type {number} */ n) => Math.floor((n * lines.length) / most);
  return Array.from({ length: most }, (_, n) => {
    const group = lines.slice(start(n), start(n + 1));
    return group[0].map((_, i) => group.reduce((sum, line) => sum + line[i], 0) / group.length);
  });
}
/** @type {(lines: number[][]) => number[][]} */
const flipped = (lines) => lines[0].map((_, i) => lines.map((line) => line[i]));

/** @type {(x: Grid, most: number) => HeatMap} */
function heatOf({ shape, data }, most) {
  const across = shape[shape.length - 1];
  const lines = Array.from({ length: data.length / across }, (_, n) =>
    Array.from(data.subarray(n * across, (n + 1) * across)),
  );
  const cells = flipped(thinned(flipped(thinned(lines, most)), most));
  const every = cells.flat();
  const highest = every.filter(Number.isFinite).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const bytes = every.map((x) =>
    Number.isFinite(x) ? Math.round((x / (highest || 1)) * MIDDLE_BYTE) + MIDDLE_BYTE : NOT_FINITE,
  );
  return {
    rows: cells.length,
    columns: cells[0].length,
    cells: btoa(String.fromCharCode(...bytes)),
    top: highest,
    averaged: every.length < data.length,
    sampled: false,
  };
}

/** The first numbers of an array, in whole lines if one fits. @type {(x: Grid, most: number) => Scalar[]} */
function firstOf({ shape, data }, most) {
  const across = shape[shape.length - 1];
  let count = Math.min(data.length, NUMBERS, Math.floor((most * most) / 8));
  if (count < data.length && count > across) count -= count % across;
  return Array.from(data.subarray(0, count), wire);
}

/**
 * What the page shows of a value; of an array a heat map of at most `most` cells in a row.
 * @type {(value: Value, dtype: string, most?: number) => Quantity}
 */
export function quantity(value, dtype, most = 0) {
  if (typeof value === "number") return wire(value);
  const size = length(value);
  const lines = entriesOf(value, dtype);
  const texts = cellsOf(value, dtype);
  const first = firstOf(value, most);
  const shown = {
    ...(first.length && { first }),
    cells: lines.length ? lines : texts,
    full: fullOf(value, dtype),
    shape: value.shape.join("×"),
    norm: Number.isFinite(size) ? size : "NaN",
  };
  if (lines.length) return { ...shown, listed: texts[0] };
  return most && value.data.length > 1 ? { ...shown, heat: heatOf(value, most) } : shown;
}

/** The same of a local derivative. @type {(value: Value, dtype: string) => Quantity} */
export function localQuantity(value, dtype) {
  const shown = quantity(value, dtype);
  if (typeof shown !== "object" || typeof value === "number") return shown;
  return { ...shown, short: localOf(value, dtype) };
}
