import assert from "node:assert/strict";
import { test } from "node:test";
import { cells, full, norm, scalar, short, typed, wire } from "../../../gradviz/web/js/numbers.js";
import { arrayIn, listsOf } from "../../../gradviz/web/js/typing.js";

test("a number is written with five digits, as a textbook writes it", () => {
  assert.equal(short(0.298371109), "0.29837");
  assert.equal(short(-1.5e-7), "−1.5×10⁻⁷");
  assert.equal(short(99999.5), "1×10⁵");
  assert.equal(short(123, 2), "1.2×10²");
  assert.equal(short(-0), "0");
});

test("what JSON lacks goes there and back", () => {
  for (const x of [1.5, Infinity, -Infinity, NaN, -0]) assert.ok(Object.is(scalar(wire(x)), x));
});

test("a number has one cell, an array those that came with it, nothing an empty one", () => {
  assert.deepEqual(cells("nan"), ["nan"]);
  assert.deepEqual(cells({ cells: ["-1", "2"], full: "[-1 2]", shape: "2", norm: 5 }), ["−1", "2"]);
  assert.deepEqual(cells(null), [""]);
  assert.equal(full(-0.1), "−0.1");
  assert.equal(norm("-inf"), Infinity);
});

test("a number is typed in decimal digits, and one that is too large is told apart from none", () => {
  assert.equal(typed(" −1.5e3 "), -1500);
  assert.equal(typed(".5"), 0.5);
  assert.equal(typed("－１．５"), -1.5);
  for (const text of ["", "0x10", "1,5", "inf", "1e", "- 1"]) assert.equal(typed(text), undefined);
  assert.equal(typed("1e400"), Infinity);
});

test("rows of numbers are an array of that shape, or none", () => {
  assert.deepEqual(arrayIn("1 2\n3,4", [2, 2]), [1, 2, 3, 4]);
  assert.deepEqual(arrayIn("array([[1., 2.],\n [3., −4e-1]])", [2, 2]), [1, 2, 3, -0.4]);
  assert.deepEqual(arrayIn("[[1, 2], [3, 4]]", [2, 2]), [1, 2, 3, 4]);
  assert.deepEqual(arrayIn("1\t2\t3", [3]), [1, 2, 3]);
  assert.deepEqual(arrayIn("1\n2\n3", [3]), [1, 2, 3]);
  assert.deepEqual(arrayIn("1 2\n3 4\n5 6\n7 8", [2, 2, 2]), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(listsOf([1, 2, 3, 4], [2, 1, 2]), [[[1, 2]], [[3, 4]]]);
  for (const text of ["1 2 3 4", "1 2\n3", "1 2\n3 x", "[[1, 2]]", '[[1, 2], [3, "x"]]', ""]) {
    assert.equal(arrayIn(text, [2, 2]), undefined);
  }
  // One beyond the range of numbers is told apart from none.
  for (const text of ["1 2\n3 1e400", "[[1, 2], [3, 1e400]]"]) {
    assert.deepEqual(arrayIn(text, [2, 2]), [1, 2, 3, Infinity]);
  }
});
