// The map of a run: its loss, its layers by steps, and its findings, as one picture.

import { svg } from "./elements.js";
import { finite, scalar, short } from "./numbers.js";

const [LEFT, WIDTH, ROW, CURVE] = [210, 900, 15, 110];
/** @type {Record<string, string>} */
export const FOUND = { error: "✗", warning: "!", note: "·" };

/** @type {(x: any) => number | undefined} a number that may be none */
export const number = (x) => (x === null || x === undefined ? undefined : scalar(x));

export class RunMap {
  /**
   * @param {Recorded} run
   * @param {string} what
   * @param {(key: string, places?: Record<string, string | number>) => string} t
   * @param {(step: number, other: boolean) => void} choose
   * @param {string} language
   */
  constructor(run, what, t, choose, language) {
    this.run = run;
    this.t = t;
    this.language = language;
    this.choose = choose;
    this.cells = run.cells[what] ?? [];
    const { columns, rows, findings } = run;
    this.cell = WIDTH / Math.max(columns.length, 12);
    this.top = CURVE + 34;
    this.under = this.top + ROW * rows.length + 8;
    this.height = this.under + ROW * findings.length + 26;
    this.width = LEFT + this.cell * columns.length + 16;
    const known = this.cells
      .flat()
      .map(number)
      .filter((x) => x !== undefined && finite(x) && x > 0)
      .map((x) => Math.log10(/** @type {number} */ (x)));
    this.low = Math.floor(known.reduce((a, b) => Math.min(a, b), Infinity));
    this.high = Math.max(
      Math.ceil(known.reduce((a, b) => Math.max(a, b), -Infinity)),
      this.low + 1,
    );
  }

  parts() {
    const { rows, findings } = this.run;
    return [
      ...this.curve(),
      ...rows.map((name, i) => this.row(name, i)),
      ...findings.map((finding, i) => this.finding(finding, this.under + ROW * i)),
      ...this.axis(this.height - 10),
      ...this.key(this.height - 19),
      ...this.columns(this.height - 24),
    ];
  }

  /** @type {(name: string, i: number) => Element} */
  row(name, i) {
    const y = this.top + ROW * i;
    const squares = this.run.columns.map((_, n) => this.square(this.cells[i][n], n, y, name));
    return svg("g", {}, this.label(name, y), squares);
  }

  /** @type {(text: string, y: number) => Element} */
  label(text, y) {
    const shown = text.length > 32 ? `${text.slice(0, 15)}…${text.slice(-15)}` : text;
    return svg(
      "text",
      { x: LEFT - 8, y: y + ROW - 4, class: "f-ink", "text-anchor": "end" },
      shown,
      svg("title", {}, text),
    );
  }

  /** @type {(value: any, n: number, y: number, name: string) => any} */
  square(value, n, y, name) {
    const { low, high } = this;
    const x = LEFT + this.cell * n;
    const size = number(value);
    const { step } = this.run.columns[n];
    const said = size === undefined ? this.t("run none") : short(size);
    const part = size !== undefined && size > 0 ? (Math.log10(size) - low) / (high - low) : 0;
    const sick = size !== undefined && !finite(size);
    const heat = Math.min(7, Math.max(0, Math.floor(8 * part)));
    const colour = sick ? "sick-card" : size ? `heat${heat}` : "group";
    return [
      svg(
        "rect",
        { x, y, width: this.cell - 0.6, height: ROW - 0.6, class: `f-${colour}` },
        svg("title", {}, this.t("run cell", { name, step, said })),
      ),
      (sick || !size) &&
        svg(
          "text",
          { x: x + this.cell / 2, y: y + ROW - 4, class: "f-sick", "text-anchor": "middle" },
          sick ? "✗" : size === undefined ? "–" : "0",
        ),
    ];
  }

  /** @type {(finding: FoundOverTime, y: number) => any} */
  finding({ kind, where, severity, text, at }, y) {
    const sign = FOUND[severity];
    return svg(
      "g",
      {},
      this.label(`${kind[this.language]}: ${where}`, y),
      at.map((n) =>
        svg(
          "text",
          {
            x: LEFT + this.cell * (n + 0.5),
            y: y + ROW - 4,
            class: severity === "note" ? "f-soft" : "f-sick",
            "text-anchor": "middle",
          },
          severity === "note" ? "•" : sign,
          svg("title", {}, text[this.language]),
        ),
      ),
    );
  }

  /** What the colours mean. @param {number} y */
  key(y) {
    const [x, { low, high }] = [LEFT - 150, this];
    if (!Number.isFinite(low)) return [];
    const end = (
      /** @type {string} */ text,
      /** @type {number} */ at,
      /** @type {string} */ anchor,
    ) => svg("text", { x: at, y: y + 9, class: "f-soft", "text-anchor": anchor }, text);
    return [
      end(`1e${low}`, x - 4, "end"),
      ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) =>
        svg("rect", { x: x + 12 * n, y, width: 12, height: 10, class: `f-heat${n}` }),
      ),
      end(`1e${high}`, x + 100, "start"),
    ];
  }

  /** Where a step lies: between the columns in proportion. @param {number} step */
  across(step) {
    const { columns } = this.run;
    const after = columns.findIndex((column) => column.step >= step);
    if (after <= 0) return LEFT + this.cell * ((after < 0 ? columns.length - 1 : 0) + 0.5);
    const [a, b] = [columns[after - 1].step, columns[after].step];
    return LEFT + this.cell * (after - 1 + (step - a) / (b - a) + 0.5);
  }

  /** The loss over the steps, on a logarithmic scale where it is positive and far apart. */
  curve() {
    const { curve } = this.run;
    const known = curve.flatMap(([, low, high]) => [low, high].filter((x) => x !== null));
    if (!known.length) return [];
    const least = known.reduce((a, b) => Math.min(a, b));
    const most = known.reduce((a, b) => Math.max(a, b));
    const logarithmic = least > 0 && most / least > 100;
    const on = (/** @type {number} */ x) => (logarithmic ? Math.log(x) : x);
    const y = (/** @type {number} */ x) =>
      16 + CURVE * (1 - (on(x) - on(least)) / (on(most) - on(least) || 1));
    const points = curve
      .filter(([, low]) => low !== null)
      .flatMap(([step, low, high]) => {
        const x = this.across(step).toFixed(1);
        return low === high ? [`${x},${y(low)}`] : [`${x},${y(low)}`, `${x},${y(high)}`];
      });
    const side = (/** @type {string} */ text, /** @type {number} */ at) =>
      svg("text", { x: LEFT - 8, y: at, class: "f-soft", "text-anchor": "end" }, text);
    return [
      side(`${this.t("run loss")} ${short(most)}`, 20),
      logarithmic && side(this.t("run logarithmic"), 20 + CURVE / 2),
      side(short(least), 20 + CURVE),
      svg("polyline", { points: points.join(" "), class: "curve" }),
      curve
        .filter(([, , , broken]) => broken !== null)
        .slice(0, 100)
        .map(([step, , , broken]) =>
          svg(
            "text",
            { x: this.across(step), y: 18 + CURVE, class: "f-sick", "text-anchor": "middle" },
            "✗",
            svg("title", {}, `${step}: ${broken}`),
          ),
        ),
    ];
  }

  /** @param {number} y */
  axis(y) {
    const every = Math.max(1, Math.ceil(52 / this.cell));
    return this.run.columns.map(
      ({ step }, n) =>
        n % every === 0 &&
        svg(
          "text",
          { x: LEFT + this.cell * (n + 0.5), y, class: "f-soft", "text-anchor": "middle" },
          String(step),
        ),
    );
  }

  /** What is clicked. @param {number} height */
  columns(height) {
    return this.run.columns.map(({ step, loss }, n) =>
      svg(
        "rect",
        {
          x: LEFT + this.cell * n,
          y: 10,
          width: this.cell,
          height: height - 10,
          class: "column",
          "data-step": step,
          onclick: (/** @type {MouseEvent} */ event) => this.choose(step, event.shiftKey),
        },
        svg(
          "title",
          {},
          this.t("run at", { step, loss: loss === null ? "–" : short(scalar(loss)) }),
        ),
      ),
    );
  }
}
