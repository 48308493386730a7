// What is said of the value or the edge under the pointer.

import { fill, html } from "./elements.js";
import { heatMaps } from "./heatmap.js";
import { lowered } from "./numbers.js";
import { gradientInFull, inFull } from "./scene.js";

/** @import { Asked, Session } from "./session.js" */

export class Tooltip {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.root = html("div", { class: "tip", role: "tooltip", hidden: true });
  }

  hide() {
    this.root.hidden = true;
  }

  /**
   * @param {Asked} what
   * @param {Element} group
   * @param {Element} stage
   */
  show({ node, edge }, group, stage) {
    this.root.hidden = false;
    const lines =
      node !== undefined ? this.ofNode(node) : edge !== undefined ? this.ofEdge(edge) : [];
    fill(
      this.root,
      lines.filter(Boolean).map((line) => html("div", {}, line)),
      node !== undefined && heatMaps(this.session, node),
    );
    const box = group.getBoundingClientRect();
    const around = stage.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = this.root;
    const left = Math.max(Math.min(box.left - around.left, around.width - wide - 8), 4);
    const below = box.bottom - around.top + 6;
    const above = box.top - around.top - high - 6;
    const top = Math.max(below + high > around.height ? above : below, 2);
    Object.assign(this.root.style, { left: `${left}px`, top: `${top}px` });
  }

  /** @param {number} i */
  ofNode(i) {
    const { session } = this;
    const { name, kind, shape, dtype, source } = session.nodes[i];
    const { closed, sealed } = session.get("drawing");
    const scope = closed[i];
    const opens = sealed.includes(scope)
      ? session.t("notOpened", { name: scope })
      : `▸ ${session.t("unfold", { scope })}`;
    return [
      `${name} = ${inFull(session, session.numbers.values[i])}`,
      `∂${session.loss}/∂${name}: ${gradientInFull(session, i)}`,
      [session.t(`kind ${kind}`), shape, dtype].filter(Boolean).join(" · "),
      source,
      scope && opens,
    ];
  }

  /** @param {number} e */
  ofEdge(e) {
    const { session } = this;
    const { nodes, numbers } = session;
    const { u, v, key, alone, carries, derivative, vjp } = session.edges[e];
    const slope = alone
      ? `∂${lowered(key + 1)}${nodes[v].name}`
      : `∂${nodes[v].name}/∂${nodes[u].name}`;
    const sent = numbers.messages[e];
    const known =
      inFull(session, numbers.locals[e]) || (derivative || vjp ? session.t("linear") : "");
    return [
      carries && known ? `${slope} = ${known}` : "",
      sent !== null ? `${session.t("message")}: ${inFull(session, sent)}` : "",
    ];
  }
}
