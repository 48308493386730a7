// What is said of the value or the edge that is asked for.

import { block, button, fill, formula, hint, html } from "./elements.js";
import { Field } from "./field.js";
import { few } from "./formulas.js";
import { heatMaps } from "./heatmap.js";
import { Lens } from "./lens.js";
import { held } from "./narration.js";
import { finite, isNumber, norm, scalar, short } from "./numbers.js";
import { factored, gradient, localLines, message, pathLines, valueLines } from "./rule.js";
import { gradientInFull, inFull } from "./scene.js";

/** @import { Path } from "./chain.js" */
/** @import { Children } from "./elements.js" */
/** @import { Line } from "./formulas.js" */
/** @import { Host, Session } from "./session.js" */

export class Panel {
  /**
   * @param {Session} session
   * @param {Host} host
   */
  constructor(session, host) {
    this.session = session;
    this.host = host;
    this.field = new Field(session, host);
    this.asked = html("div", { class: "asked" });
    this.answers = html("div", { class: "answers" });
    this.lens = new Lens(session, host, this.field);
    this.root = html("section", {}, this.asked, this.field.root, this.lens.root, this.answers);
  }

  refresh() {
    const { session } = this;
    const { node, edge } = session.selection()[0] ?? {};
    const open = this.answers.querySelector("details")?.open ?? false;
    if (node !== undefined) {
      fill(this.asked, this.head(node));
      fill(this.answers, this.answer(node, open));
    } else {
      fill(this.asked, edge === undefined ? this.hints() : this.aboutEdge(edge));
      fill(this.answers);
    }
    this.lens.show({ node, edge });
  }

  hints() {
    const { session } = this;
    const { untold: n, numbersAway } = session.structure;
    const left = numbersAway ? "untoldMore" : "untold";
    return [hint(session.t("hint")), n > 0 && hint(session.t(left, { n }))];
  }

  /** @type {(key: string, name: string, id?: string) => Element} */
  link(key, name, id = name) {
    return button(name, this.session.t(key, { name }), () => this.session.select(id));
  }

  /** @type {(lines: Line[]) => Element} */
  formulas(lines) {
    const copy = button("LaTeX", this.session.t("copyLatex"), copyLatex, { class: "copy" });
    return html("div", { class: "formulas" }, copy, block(lines));
  }

  // A value

  /**
   * @param {number} i
   * @returns {Children}
   */
  head(i) {
    const { session } = this;
    const node = session.nodes[i];
    const facts = [
      ["valueOf", inFull(session, session.numbers.values[i]), "f-value"],
      ["gradientOf", gradientInFull(session, i), "f-gradient"],
      ["source", node.source, "code"],
    ];
    const kind = [session.t(`kind ${node.kind}`), node.shape].filter(Boolean).join(" ");
    const isTarget = session.get("targets").includes(node.id);
    const toggle = button(
      session.t(isTarget ? "targetOff" : "targetOn"),
      session.t("targetTitle"),
      () => session.toggleTarget(i),
    );
    return [
      html("h3", {}, formula(node.label), " ", html("small", {}, kind), toggle),
      html(
        "dl",
        {},
        facts
          .filter(([, text]) => text)
          .map(([key, text, style]) => [
            html("dt", {}, session.t(key)),
            html("dd", { class: style }, text),
          ]),
      ),
      heatMaps(session, i),
    ];
  }

  /**
   * @param {number} i
   * @param {boolean} open
   * @returns {Children}
   */
  answer(i, open) {
    const { session } = this;
    const computed = valueLines(session, i);
    const readers = session.edges.flatMap(({ u }, e) => (u === i ? [e] : []));
    const edges = [...session.chain.into[i], ...readers];
    return [
      computed.length > 0 && html("div", { class: "formulas" }, block(computed)),
      session.nodes[i].computed && !computed.length && hint(session.t("leftOut")),
      ...(session.hasChain(i) ? this.chainRule(i, open) : []),
      edges.length > 0 &&
        html(
          "p",
          { class: "edges" },
          session.t("edges"),
          " ",
          edges.map((e) =>
            this.link("askEdge", session.edgeName(e, "name"), session.edgeName(e, "id")),
          ),
        ),
    ];
  }

  /**
   * @param {number} i
   * @param {boolean} open
   */
  chainRule(i, open) {
    const { session } = this;
    const count = session.chain.counts.paths[i];
    const paths = session.chain.paths(i, session.numbers.locals);
    const written = pathLines(session, i, paths, count - BigInt(paths.length)).flat();
    return [
      html("h4", {}, session.t("chainRule")),
      this.formulas(written),
      ...held(
        session,
        paths.flatMap((path) => few(path.edges)),
      ),
      html(
        "details",
        { open },
        html("summary", {}, session.t("factored")),
        this.formulas(factored(session, i)),
      ),
      html("h4", {}, session.t(count === 1n ? "onePath" : "paths", { n: count })),
      html(
        "ol",
        { class: "paths" },
        paths.map((path) => this.path(path)),
      ),
      this.share(i),
    ];
  }

  /** @param {Path} path */
  path({ value, edges: path }) {
    const { session, host } = this;
    const { nodes, edges } = session;
    const names = [edges[path[0]].u, ...path.map((e) => edges[e].v)].map((v) => nodes[v].name);
    const name = few(names, "…").join(" → ");
    const show = (/** @type {number[] | null} */ shown) => {
      session.path = shown;
      host.mark();
    };
    const go = () => {
      session.finish();
      show(path);
    };
    const told = isNumber(session.numbers.grads[edges[path[0]].u]) && !Number.isNaN(value);
    const label = name + (told ? `: ${short(value)}` : "");
    return html(
      "li",
      {},
      button(label, session.t("showPath", { name }), go, {
        onpointerenter: () => show(path),
        onpointerleave: () => show(null),
        onblur: () => show(null),
      }),
    );
  }

  /**
   * How much of what a gradient step changes is this parameter's.
   * @param {number} i
   */
  share(i) {
    const { nodes, numbers, loss } = this.session;
    const sizes = numbers.grads.map((q, j) => (nodes[j].wrt ? norm(q) ** 2 : 0));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (!nodes[i].wrt || !(total > 0)) return null;
    const p = short((sizes[i] / total) * 100, 3);
    return html("p", { class: "share" }, this.session.t("share", { p, name: loss }));
  }

  // An edge

  /**
   * @param {number} e
   * @returns {Children}
   */
  aboutEdge(e) {
    const { session } = this;
    const { nodes, numbers } = session;
    const { u, v } = session.edges[e];
    const sent = numbers.messages[e];
    const lines = [...localLines(session, e), ...(sent === null ? [] : [message(session, e)])];
    const p = (scalar(sent) / scalar(numbers.grads[u])) * 100;
    const d = formula(gradient(session, u));
    return [
      html(
        "h3",
        {},
        formula(nodes[u].label),
        " → ",
        formula(nodes[v].label),
        " ",
        html("small", {}, session.t("edge")),
      ),
      ...(lines.length ? [this.formulas(lines), ...held(session, [e])] : []),
      sent === null && hint(session.t("noMessage")),
      isNumber(sent) && finite(p) && html("p", {}, session.say("edgeShare", { p: short(p, 3), d })),
      html(
        "p",
        { class: "edges" },
        [u, v].map((i) => this.link("askNode", nodes[i].name, nodes[i].id)),
      ),
    ];
  }
}

/**
 * Copy the formulas around a button; they hold their LaTeX.
 * @param {{target: HTMLButtonElement}} event
 */
function copyLatex({ target }) {
  const formulas = /** @type {NodeListOf<MathMLElement>} */ (
    target.parentNode?.querySelectorAll("math[data-tex]")
  );
  const lines = [...formulas].map((math) => math.dataset.tex);
  const text = `\\begin{aligned}\n${lines.join(" \\\\\n")}\n\\end{aligned}`;
  const area = html("textarea", {}, text); // an old way, which needs no permission
  target.closest(".gradviz-app")?.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  target.textContent = "✓ LaTeX";
  setTimeout(() => {
    target.textContent = "LaTeX";
  }, 1200);
}
