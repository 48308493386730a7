// The pictures that travel with a page or that a kernel has sent, and which of them is shown.

import { inPlace } from "./inplace.js";

/** @import { Model } from "./session.js" */

export class Pictures {
  /**
   * @param {Model} model
   * @param {(text: string, name: string) => string} t
   */
  constructor(model, t) {
    this.model = model;
    this.t = t;
    this.packed = "";
    /** @type {Drawing[]} */
    this.drawings = [];
    /** @type {string[]} what is open, in what is closed now too */
    this.open = [];
  }

  /** @param {Drawing} drawing */
  draw(drawing) {
    this.model.set("drawing", drawing);
    this.model.set("folded", drawing.folded);
    try {
      this.model.save_changes();
    } catch {
      /* no kernel: the view keeps its own state */
    }
  }

  /** @param {FoldRequest} request */
  async fold({ folded, key }) {
    const shut = folded.includes(key);
    await this.arrange(...this.wanted({ kind: "fold", folded, key }));
    const { folded: left } = this.model.get("drawing");
    if (left.includes(key) !== shut) throw new Error(this.t(shut ? "notClosed" : "notOpened", key));
  }

  /**
   * The direction and the open folds of what is asked for.
   * @param {FoldRequest | TurnRequest} request
   * @returns {[string, string[]]}
   */
  wanted(request) {
    const now = this.model.get("drawing");
    const within = this.open.filter((scope) => !now.scopes.includes(scope));
    const known = [...openIn(now), ...within];
    if (request.kind === "turn") return [request.direction, known];
    const { folded, key } = request;
    const open = known.filter((scope) => scope !== key);
    return [now.direction, folded.includes(key) ? open : [...open, key]];
  }

  /**
   * The picture in this direction, with these folds open.
   * @param {string} direction
   * @param {string[]} open
   * @param {boolean} [near] whether one that is not just that is better than none
   * @returns {Promise<boolean>} whether it is just that
   */
  async arrange(direction, open, near = true) {
    const packed = this.model.get("drawings");
    if (!packed) return false;
    if (packed !== this.packed) {
      this.drawings = await unpacked(packed);
      this.packed = packed;
    }
    const apart = (/** @type {Drawing} */ drawing) => differing(open, openIn(drawing)).length;
    const other = (/** @type {Drawing} */ drawing) => Number(drawing.direction !== direction);
    const now = this.model.get("drawing");
    if (!apart(now) && !other(now)) return true;
    const [nearest] = [...this.drawings].sort((a, b) => other(a) - other(b) || apart(a) - apart(b));
    const found = arranged(nearest, open);
    const seen = openIn(found); // what was open in one that closes is not seen
    const fits = found.scopes.every((key) => seen.includes(key) === open.includes(key));
    const whole = fits && !other(found);
    if (whole || near) {
      this.open = open;
      this.draw(found);
    }
    return whole;
  }

  /** @param {TurnRequest["direction"]} direction */
  async turn(direction) {
    const whole = await this.arrange(...this.wanted({ kind: "turn", direction }));
    if (!whole) throw new Error(this.t("notTurned", ""));
  }
}

/**
 * A picture with these folds open and others closed, as far as it has their insides.
 * @type {(drawing: Drawing, open: string[]) => Drawing}
 */
function arranged(drawing, open) {
  const insides = drawing.insides ?? {};
  /** @type {(way: (now: Drawing) => string[]) => void} */
  const each = (way) => {
    for (let key = next(way); key !== undefined; key = next(way)) {
      drawing = inPlace(drawing, key, insides[key]);
    }
  };
  /** @type {(way: (now: Drawing) => string[]) => string | undefined} */
  const next = (way) => way(drawing).find((key) => key in insides);
  each((now) => openIn(now).filter((key) => !open.includes(key)));
  each((now) => Object.values(now.closed).filter((key) => open.includes(key)));
  return drawing;
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
