// The current view of a picture as a file of its own.

import { html, set, svg } from "./elements.js";

/** @import { Picture } from "./picture.js" */

const PROPERTIES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "opacity",
  "font-style",
  "font-family",
  "display",
];

/**
 * What style sheets do is written into the copy.
 * @param {Picture} picture
 */
export function copied({ root, stage, view }) {
  const clone = /** @type {SVGSVGElement} */ (root.cloneNode(true));
  const originals = root.querySelectorAll("*");
  clone.querySelectorAll("*").forEach((made, i) => {
    const style = getComputedStyle(originals[i]);
    for (const name of PROPERTIES) {
      const value = style.getPropertyValue(name);
      const told = value && value !== "normal" && !(name === "display" && value !== "none");
      if (told) made.setAttribute(name, value);
    }
  });
  const [x, y, w, h] = view;
  set(clone, { width: Math.round(w), height: Math.round(h) });
  const fill = getComputedStyle(stage).backgroundColor;
  clone.insertBefore(svg("rect", { x, y, width: w, height: h, fill }), clone.firstChild);
  return new Blob([new XMLSerializer().serializeToString(clone)], { type: "image/svg+xml" });
}

/** @param {Blob} blob */
export async function rasterized(blob) {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  image.src = url;
  await image.decode();
  const canvas = html("canvas", { width: image.width * 2, height: image.height * 2 });
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  return new Promise((/** @type {BlobCallback} */ resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
