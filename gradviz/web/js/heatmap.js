// The entries of an array as colours: blue below 0, orange above it, told apart by lightness too.

import { html } from "./elements.js";
import { short } from "./numbers.js";

/** @import { Session } from "./session.js" */

const ZERO = 127; // bytes 0 to 254 stand for -top to top ...
const BROKEN = 255; // ... and this for what is not finite
const [BELOW, MIDDLE, ABOVE, BLACK] = [
  [5, 48, 120],
  [247, 247, 247],
  [150, 60, 0],
  [0, 0, 0],
];

/** @type {(byte: number) => number[]} */
const colour = (byte) => {
  if (byte === BROKEN) return BLACK;
  const share = Math.abs(byte - ZERO) / ZERO;
  const end = byte < ZERO ? BELOW : ABOVE;
  return MIDDLE.map((from, n) => Math.round(from + (end[n] - from) * share));
};

/**
 * The maps of a value and of its gradient, side by side.
 * @type {(session: Session, i: number) => Element | null}
 */
export function heatMaps(session, i) {
  const { values, grads } = session.numbers;
  const maps = [
    drawn(session, "valueOf", values[i]),
    drawn(session, "gradientOf", session.done ? grads[i] : null),
  ];
  return maps.some(Boolean) ? html("div", { class: "maps" }, maps) : null;
}

/** @type {(session: Session, what: string, q: Quantity | null) => Element | null} */
function drawn(session, what, q) {
  const map = q !== null && typeof q === "object" && q.heat;
  if (!map) return null;
  const { rows, columns, cells, top, averaged, sampled } = map;
  const bytes = Uint8Array.from(atob(cells), (c) => c.charCodeAt(0));
  const places = { what: session.t(what), shape: q.shape, rows, columns, top: short(top, 3) };
  const broken = bytes.filter((byte) => byte === BROKEN).length;
  const said = [
    session.t("map", places),
    sampled ? session.t("mapSampled") : averaged ? session.t("mapAveraged") : "",
    broken ? session.t("mapBroken", { n: broken }) : "",
  ].filter(Boolean);
  const canvas = html("canvas", {
    width: columns,
    height: rows,
    role: "img",
    "aria-label": said.join(" "),
    "data-cells": cells,
  });
  const pixels = new ImageData(columns, rows);
  bytes.forEach((byte, n) => {
    pixels.data.set([...colour(byte), 255], 4 * n);
  });
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
  return html("figure", {}, canvas, html("figcaption", { "aria-hidden": "true" }, said.join(" ")));
}
