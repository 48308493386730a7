// The pictures that travel with a page, and which of them is shown.

/** @import { PageModel } from "./local.js" */

export class Pictures {
  /**
   * @param {PageModel} model
   * @param {(text: string, name: string) => string} t
   */
  constructor(model, t) {
    this.model = model;
    this.t = t;
    /** @type {Drawing[] | undefined} */
    this.drawings = undefined;
  }

  /**
   * The pictures that travel with the page, the nearest by some measures first.
   * @type {(...measures: ((drawing: Drawing) => number)[]) => Promise<Drawing[]>}
   */
  async nearest(...measures) {
    this.drawings ??= /** @type {Drawing[]} */ (await unpacked(this.model.get("drawings")));
    const by = (/** @type {Drawing} */ a, /** @type {Drawing} */ b) =>
      measures.map((apart) => apart(a) - apart(b)).find(Boolean) ?? 0;
    return [...this.drawings].sort(by);
  }

  /** @param {Drawing} drawing */
  draw(drawing) {
    this.model.set("drawing", drawing);
    this.model.set("folded", drawing.folded);
  }

  /** @param {FoldRequest} request */
  async fold({ folded, key }) {
    const now = this.model.get("drawing");
    const shut = folded.includes(key);
    // (What comes to light, or is hidden with it, was not asked for.)
    const apart = (/** @type {Drawing} */ drawing) =>
      drawing.scopes.filter(
        (scope) =>
          now.scopes.includes(scope) && drawing.folded.includes(scope) !== folded.includes(scope),
      ).length;
    const found = (await this.nearest((d) => Number(d.direction !== now.direction), apart)).find(
      (drawing) => drawing.scopes.includes(key) && drawing.folded.includes(key) === shut,
    );
    if (!found) throw new Error(this.t(shut ? "notClosed" : "notOpened", key));
    this.draw(found);
    if (apart(found)) throw new Error(this.t("notTogether", key));
  }

  /**
   * The picture in this direction, with these folds open.
   * @param {string} direction
   * @param {string[]} open
   * @returns {Promise<boolean>} whether it is just that
   */
  async arrange(direction, open) {
    const apart = (/** @type {Drawing} */ drawing) => differing(open, openIn(drawing)).length;
    const other = (/** @type {Drawing} */ drawing) => Number(drawing.direction !== direction);
    const now = this.model.get("drawing");
    if (!apart(now) && !other(now)) return true;
    const [found] = await this.nearest(other, apart);
    this.draw(found);
    return !apart(found) && !other(found);
  }

  /** @param {TurnRequest["direction"]} direction */
  async turn(direction) {
    const whole = await this.arrange(direction, openIn(this.model.get("drawing")));
    if (!whole) throw new Error(this.t("notTurned", ""));
  }
}

/**
 * The folds that a picture shows open.
 * @type {(drawing: Drawing) => string[]}
 */
export const openIn = ({ scopes, folded }) => scopes.filter((key) => !folded.includes(key));

/**
 * What is in one of two lists only.
 * @type {(some: string[], others: string[]) => string[]}
 */
const differing = (some, others) => [
  ...some.filter((x) => !others.includes(x)),
  ...others.filter((x) => !some.includes(x)),
];

/**
 * What travels compressed.
 * @param {string} text
 * @returns {Promise<any>}
 */
export async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
