// How wide a text is in the pictures, in its size.

const NARROW = 0.278;
/** @type {Record<string, number>} */
const WIDTHS = {
  "−": 0.584,
  "×": 0.584,
  ".": NARROW,
  ",": NARROW,
  " ": NARROW,
  "[": NARROW,
  "]": NARROW,
};
/** @type {(text: string) => number} */
export const width = (text) =>
  [...text].reduce((sum, c) => sum + (WIDTHS[c] ?? ("⁰¹²³⁴⁵⁶⁷⁸⁹⁻".includes(c) ? 0.36 : 0.556)), 0);
