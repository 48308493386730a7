// Elements of HTML, SVG and MathML.
//
// Labels come from users' code: they only ever become text nodes and attribute values.

const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";
// Notebook 7 sees keys before any listener here does, and asks what has the focus to let them be.
export const OURS = { "data-lm-suppress-shortcuts": "true" };
// A root whose keys stop there: a click anywhere brings the keyboard to it, and nothing goes on to
// the notebook around, where x cuts the cell.
export const KEPT = {
  tabindex: "-1",
  onkeydown: (/** @type {KeyboardEvent} */ event) => event.stopPropagation(),
  ...OURS,
};
const FOCUSED = new Set(["button", "input", "select", "summary", "textarea"]);
const MATH = new Set(
  "math mrow mi mn mo mtext mfrac msup msub msubsup msqrt mroot mover munder mtable mtr mtd".split(
    " ",
  ),
);

/** @import { Line } from "./formulas.js" */
/** @typedef {Node | string | number | bigint | boolean | null | undefined} Child */
/** @typedef {Child | Child[] | Child[][] | (Child | Child[])[]} Children */
/**
 * Attributes, and listeners by their event: `onclick`.
 * @typedef {{[name: string]: string | number | boolean | null | undefined
 *   | ((event: any) => unknown)}} Attributes
 */

/** @type {(x: unknown) => boolean} */
const isThere = (x) => (x ?? false) !== false;

/**
 * @param {string} namespace
 * @param {string} tag
 * @param {Attributes} attributes
 * @param {Children[]} children
 */
function element(namespace, tag, attributes, children) {
  const made = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  if (FOCUSED.has(tag)) set(made, OURS);
  set(made, attributes);
  const every = /** @type {Child[]} */ (children.flat(3));
  made.append(.../** @type {(Node | string)[]} */ (every.filter(isThere)));
  return made;
}

/**
 * @param {Element} target
 * @param {Attributes} attributes
 */
export function set(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!isThere(value)) continue;
    if (typeof value === "function") target.addEventListener(name.slice(2), value);
    else target.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} attributes
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export const html = (tag, attributes, ...children) =>
  /** @type {HTMLElementTagNameMap[K]} */ (element("", tag, attributes, children));

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} attributes
 * @param {...Children} children
 * @returns {SVGElementTagNameMap[K]}
 */
export const svg = (tag, attributes, ...children) =>
  /** @type {SVGElementTagNameMap[K]} */ (element(SVG, tag, attributes, children));

/** @type {(...children: Children[]) => HTMLElement} */
export const hint = (...children) => html("p", { class: "hint" }, ...children);
/** @type {(label: string, title: string, onclick: (event: any) => void, more?: Attributes) => HTMLButtonElement} */
export const button = (label, title, onclick, more = {}) =>
  html("button", { type: "button", title, "aria-label": title, onclick, ...more }, label);

/**
 * @param {MathTree} tree
 * @returns {Node}
 */
function mathml(tree) {
  const [tag, ...children] = tree;
  if (!MATH.has(tag)) throw new Error(`no MathML element: ${tag}`);
  const form = tag === "mo" && "+=".includes(String(children[0])) && "infix";
  const inside = children.map((child) => (typeof child === "string" ? child : mathml(child)));
  return element(MATHML, tag, { form }, inside);
}
/** @type {(formula: Formula) => Element} */
export const formula = ({ math }) => element(MATHML, "math", { display: "inline" }, [mathml(math)]);
/**
 * Formulas below one another; each holds its LaTeX, for who copies them.
 * @type {(lines: Line[]) => Element[]}
 */
export const block = (lines) =>
  lines.map(({ math, aligned }) =>
    element(MATHML, "math", { display: "block", "data-tex": aligned }, [mathml(math)]),
  );

/**
 * Give an element other children; what is the same stays, with its layout and its focus.
 * @param {Node & ParentNode} target
 * @param {...Children} children
 */
export function fill(target, ...children) {
  const next = [...html("div", {}, ...children).childNodes];
  const old = [...target.childNodes];
  if (next.length !== old.length) {
    target.replaceChildren(...next);
    return;
  }
  old.forEach((child, i) => {
    if (child.isEqualNode(next[i])) return;
    // A button that says something else does something else.
    const alike =
      child instanceof Element &&
      child.nodeName !== "BUTTON" &&
      child.cloneNode().isEqualNode(next[i].cloneNode());
    if (alike) fill(child, ...next[i].childNodes);
    else child.replaceWith(next[i]);
  });
}

/**
 * The first element of that kind inside; it is there.
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
export function find(parent, selector, kind) {
  const found = parent.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`nothing is ${selector}`);
  return found;
}
/** @type {(element: Element, name: string) => number} */
export const numeric = (element, name) => Number(element.getAttribute(name));

/**
 * Everything the pointer does from here on until it is lifted.
 * @param {Element} target
 * @param {PointerEvent} event
 * @param {(event: PointerEvent) => void} move
 * @param {() => void} end
 */
export function follow(target, { pointerId }, move, end) {
  const moved = /** @type {EventListener} */ (move);
  const up = () => {
    target.removeEventListener("pointermove", moved);
    end();
  };
  target.setPointerCapture(pointerId);
  target.addEventListener("pointermove", moved);
  target.addEventListener("lostpointercapture", up, { once: true });
}
