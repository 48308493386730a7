// The numbers of an array, one by one: what each of them reaches, and what sends to it.

import { axesOf, sizeOf } from "./arrays.js";
import { fill, hint, html } from "./elements.js";
import { numberOf } from "./field.js";
import { Jacobians } from "./jacobian.js";
import { finite, minus, short } from "./numbers.js";
import { oneByOne, received } from "./received.js";

/** @import { Children } from "./elements.js" */
/** @import { Field } from "./field.js" */
/** @import { Host, Session } from "./session.js" */
/** @import { Place } from "./received.js" */
/** @typedef {{words: string[], texts: [string, string][], marks: string}} Cell of a table */

const ACROSS = 12; // so many numbers stand in a line
const MATRIX = 64; // a Jacobian of so many numbers is written out
const DIGITS = 6;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/**
 * A table below its title, which may be wider.
 * @type {(caption: string, table: HTMLElement) => Element}
 */
const captioned = (caption, table) => {
  table.setAttribute("aria-label", caption);
  return html("div", { class: "numbers" }, html("p", { "aria-hidden": "true" }, caption), table);
};

/** @type {(x: number) => string} */
const wholeNumber = (x) => minus(String(x));

export class Lens {
  /**
   * @param {Session} session
   * @param {Host} host
   * @param {Field} field for the number that is asked for, else for all
   */
  constructor(session, host, field) {
    this.session = session;
    this.host = host;
    this.field = field;
    this.jacobians = new Jacobians(session);
    /** @type {Place | null} the number that is asked for */
    this.asked = null;
    this.root = html("div", {
      class: "lens",
      onclick: (event) => this.choose(event.target),
      onkeydown: (event) => this.key(event),
    });
  }

  /**
   * Of the value or the edge that is selected.
   * @param {{node?: number, edge?: number}} selected
   */
  show({ node, edge }) {
    this.node = node;
    this.edge = edge;
    if (this.asked?.node !== node) this.asked = null;
    /** @type {number[]} edges between the number that is asked for and others */
    this.along = [];
    if (node !== undefined) fill(this.root, this.ofNode(node));
    else fill(this.root, edge === undefined ? null : this.ofEdge(edge));
    const leaf = node !== undefined && this.session.nodes[node].leaf ? { i: node } : null;
    const one =
      leaf && this.asked && finite(numberOf(this.session, { ...leaf, at: this.asked.at }));
    this.field.show(leaf && one ? { ...leaf, at: this.asked?.at } : leaf);
    // Drawing marks again takes a dot under way from its edge.
    if (this.session.get("lesson") || String(this.session.pointed) === String(this.along)) return;
    this.session.pointed = this.along;
    this.host.mark();
  }

  // A value

  /**
   * @param {number} i
   * @returns {Children}
   */
  ofNode(i) {
    const { session, asked } = this;
    const { name, shape } = session.nodes[i];
    if (!shape) return [];
    const { values, grads } = oneByOne(session, i);
    if (!values.length) {
      const known = session.past.values.has(i) && sizeOf(axesOf(shape)) > 0;
      return [known && hint(session.t("numbersAway", { name }))];
    }
    const all = sizeOf(axesOf(shape));
    const n = values.length;
    const cells = values.map((x, at) =>
      this.cell(
        i,
        at,
        [
          [x, "f-value"],
          [grads[at], "f-gradient"],
        ],
        at === asked?.at ? "is-asked" : "",
      ),
    );
    const caption = session.t(n < all ? "numbersFirst" : "numbersOf", { name, n, all });
    return [
      this.table(i, cells, caption),
      ...(asked ? this.ofElement(asked) : [hint(session.t("numbersHint"))]),
    ];
  }

  /** @type {(i: number, at: number, numbers: [number | undefined, string][], marks: string) => Element} */
  cell(i, at, numbers, marks) {
    const told = numbers.flatMap(([x, style]) => (x === undefined ? [] : [{ x, style }]));
    const title = `${this.session.called(i, at)}: ${told.map(({ x }) => wholeNumber(x)).join("; ")}`;
    return html(
      "td",
      {
        role: "gridcell",
        tabindex: "-1",
        title,
        "aria-label": title,
        class: marks,
        "data-node": i,
        "data-at": at,
      },
      told.map(({ x, style }) => html("span", { class: style }, short(x, DIGITS))),
    );
  }

  /** @type {(i: number, cells: Element[], caption: string) => Element} */
  table(i, cells, caption) {
    const axes = axesOf(this.session.nodes[i].shape);
    const last = axes[axes.length - 1] ?? 1;
    const across = Math.min(last, ACROSS);
    (cells.find((cell) => cell.classList.contains("is-asked")) ?? cells[0]).setAttribute(
      "tabindex",
      "0",
    );
    /** @type {Element[]} */
    const lines = [];
    for (let at = 0; at < cells.length; ) {
      const n = Math.min(across, last - (at % last));
      const place = this.session.called(i, at).slice(this.session.nodes[i].name.length);
      const head = axes.length > 1 && last <= ACROSS ? place.replace(/\d+\]$/, ":]") : place;
      lines.push(html("tr", {}, html("th", { scope: "row" }, head), cells.slice(at, at + n)));
      at += n;
    }
    return captioned(caption, html("table", { role: "grid" }, html("tbody", {}, lines)));
  }

  /**
   * What a number reaches, and what sends to it.
   * @param {Place} place
   * @returns {(Element | null)[]}
   */
  ofElement(place) {
    const { session } = this;
    const { node, at } = place;
    const x = this.session.called(node, at);
    const { values, grads } = oneByOne(session, node);
    const told = [`${x} = ${wholeNumber(values[at])}`];
    if (at < grads.length) told.push(`∂${session.loss}/∂${x} = ${wholeNumber(grads[at])}`);
    const head = html("p", { class: "exact", "aria-live": "polite" }, told.join("; "));
    if (!this.jacobians.machine)
      return [head, hint(session.t("lensRefused", { why: session.why }))];
    const readers = session.edges.flatMap(({ u }, e) => (u === node ? [e] : []));
    return [
      head,
      ...received(session, this.jacobians, place),
      ...readers.map((e) =>
        this.locals(e, session.edges[e].v, "reaches", x, (row) =>
          oneByOne(session, session.edges[e].v).values.map((_, k) => row(k)[at]),
        ),
      ),
      ...session.chain.into[node].map((e) =>
        this.locals(e, session.edges[e].u, "sentBy", x, (row) => row(at)),
      ),
    ];
  }

  /**
   * The local derivatives between a number and those at the other end of an edge, `i`.
   * @type {(e: number, i: number, words: string, x: string, ask: (row: (k: number) => number[]) => number[]) => Element | null}
   */
  locals(e, i, words, x, ask) {
    const { session } = this;
    const { nodes, edges, past } = session;
    if (!past.values.has(edges[e].v)) return null; // not told yet
    try {
      const found = ask(this.jacobians.edge(e));
      if (found.some((d) => d !== 0)) this.along?.push(e);
      const cells = found.map((d, at) =>
        this.cell(i, at, [[d, ""]], d === 0 ? "is-zero" : "is-reached"),
      );
      const other = nodes[i].name;
      const caption = session.t(words, { x, u: other, v: other, e: session.edgeName(e, "name") });
      return this.table(i, cells, caption);
    } catch (error) {
      return hint(error instanceof Error ? error.message : String(error));
    }
  }

  // An edge

  /**
   * @param {number} e
   * @returns {Children}
   */
  ofEdge(e) {
    const { session } = this;
    const { u, v } = session.edges[e];
    const [m, n] = [v, u].map((i) => sizeOf(axesOf(session.nodes[i].shape)));
    if ((m === 1 && n === 1) || m * n > MATRIX || !session.past.values.has(v)) return [];
    try {
      const row = this.jacobians.edge(e);
      const rows = Array.from({ length: m }, (_, k) => row(k));
      const names = (/** @type {number} */ i, /** @type {number} */ size) =>
        Array.from({ length: size }, (_, at) =>
          html("th", { scope: i === u ? "col" : "row" }, this.session.called(i, at)),
        );
      const heads = names(v, m);
      const caption = session.t("jacobian", { u: session.nodes[u].name, v: session.nodes[v].name });
      return [
        captioned(
          caption,
          html(
            "table",
            { class: "jacobian" },
            html("thead", {}, html("tr", {}, html("td", {}), names(u, n))),
            html(
              "tbody",
              {},
              rows.map((numbers, k) =>
                html(
                  "tr",
                  {},
                  heads[k],
                  numbers.map((d) =>
                    html(
                      "td",
                      { title: wholeNumber(d), class: d === 0 ? "is-zero" : "is-reached" },
                      short(d, DIGITS),
                    ),
                  ),
                ),
              ),
            ),
          ),
        ),
        hint(session.t("jacobianNever", { m, n })),
      ];
    } catch (error) {
      return [hint(error instanceof Error ? error.message : String(error))];
    }
  }

  // Choosing

  /** @param {Element} target */
  choose(target) {
    const cell = /** @type {HTMLElement | null} */ (target.closest("td[data-at]"));
    if (!cell) return;
    const [node, at] = [Number(cell.dataset.node), Number(cell.dataset.at)];
    this.asked = this.asked?.node === node && this.asked.at === at ? null : { node, at };
    if (node === this.node) this.show(this);
    else this.session.select(this.session.nodes[node].id);
    const same = /** @type {HTMLElement | null} */ (
      this.root.querySelector(`td[data-node="${node}"][data-at="${at}"]`)
    );
    same?.focus();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const cell = /** @type {Element} */ (event.target).closest("td[data-at]");
    const arrow = ARROWS[event.key];
    if (!cell || !(arrow || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation(); // arrows walk along edges elsewhere
    if (!arrow) return this.choose(cell);
    const lines = [...(cell.closest("tbody")?.children ?? [])];
    const line = /** @type {Element} */ (cell.parentElement);
    const next =
      lines[lines.indexOf(line) + arrow[0]]?.children[[...line.children].indexOf(cell) + arrow[1]];
    if (next instanceof HTMLElement && next.matches("td")) next.focus();
  }
}
