import assert from "node:assert/strict";
import { test } from "node:test";
import {
  amount,
  braced,
  continued,
  equation,
  few,
  joined,
  numeral,
  op,
  row,
  slope,
  text,
  tight,
} from "../../../gradviz/web/js/formulas.js";

const name = (letter) => ({ math: ["mi", letter], tex: letter });

test("a formula says the same in both notations", () => {
  const found = slope(name("J"), name("w"));
  assert.deepEqual(found.math, [
    "mfrac",
    ["mrow", ["mo", "∂"], ["mi", "J"]],
    ["mrow", ["mo", "∂"], ["mi", "w"]],
  ]);
  assert.equal(found.tex, "\\frac{\\partial J}{\\partial w}");
});

test("a negative factor stands in parentheses, a negative term does not", () => {
  assert.equal(numeral(-2).tex, "- 2");
  assert.equal(numeral(-2, true).tex, "\\left(- 2\\right)");
  assert.equal(numeral(2, true).tex, "2");
});

test("a large number has its power of ten, an infinite one its sign", () => {
  assert.equal(numeral(1.5e-7).tex, "1.5 \\times 10^{-7}");
  assert.equal(numeral(-Infinity).tex, "- \\infty");
});

test("a sum or what begins with a sign is fenced as a factor, a product is not", () => {
  const [a, b] = [name("a"), name("b")];
  assert.match(tight(row(a, op("+"), b)).tex, /^\\left/);
  assert.match(tight(row(op("−"), a)).tex, /^\\left/);
  assert.equal(tight(joined([a, b], "·")).tex, "a \\cdot b");
});

test("words in a formula cannot become commands", () => {
  assert.equal(text("50 % of a_b\\c").tex, "\\text{50 \\% of a\\_b\\textbackslash{}c}");
  const array = { cells: ["-1", "0", "{2}"], full: "", shape: "3×3", norm: 1 };
  assert.equal(amount(array).tex, "\\text{3×3: −1 … \\{2\\}}");
});

test("a small array stands in brackets, a matrix row below row", () => {
  const list = { cells: ["1", "-2e-05"], listed: "[1, -2e-05]", full: "", shape: "2", norm: 1 };
  assert.equal(amount(list).tex, "\\left[1 , - 2 \\times 10^{-5}\\right]");
  const cells = ["1", "0", "inf", "nan"];
  const matrix = { cells, listed: "[[1, 0], [inf, nan]]", full: "", shape: "2×2", norm: 1 };
  assert.equal(
    amount(matrix).tex,
    "\\begin{bmatrix} 1 & 0 \\\\ \\infty & \\mathrm{nan} \\end{bmatrix}",
  );
  assert.equal(JSON.stringify(amount(matrix).math).match(/"mtr"/g).length, 2);
});

test("lines meet at their first sign", () => {
  const [a, b, c] = ["a", "b", "c"].map(name);
  assert.equal(equation(a, b, c).aligned, "a &= b= c");
  assert.equal(equation(a, b).tex, "a = b");
  assert.equal(continued("+", c).aligned, "&+ c");
});

test("what is reused stands over a brace that says so", () => {
  assert.equal(braced(name("a"), "reused").tex, "\\underbrace{a}_{\\text{reused}}");
});

test("of many factors the first and the last are written", () => {
  const letters = [..."abcdefghijklmnop"];
  assert.deepEqual(few(letters, "…"), [..."abcde…lmnop"]);
  assert.deepEqual(few(letters.slice(0, 12), "…"), letters.slice(0, 12));
});
