// Where a value's name is typed: names that have the text in them are offered.

import { fill, html } from "./elements.js";

/** @import { Session } from "./session.js" */

const OFFERED = 100;

/**
 * @param {Session} session
 * @param {string} id
 * @param {(text: string) => void} find
 */
export function searchField(session, id, find) {
  const label = session.t("search");
  const list = `gradviz-names-${id}`;
  const names = html("datalist", { id: list });
  const offer = (/** @type {string} */ text) => {
    const found = session.nodes.filter(({ name }) => name.includes(text)).slice(0, OFFERED);
    fill(
      names,
      found.map(({ name }) => html("option", { value: name })),
    );
  };
  const field = html("input", {
    type: "search",
    list,
    placeholder: label,
    "aria-label": label,
    oninput: ({ target }) => offer(target.value),
    onchange: ({ target }) => find(target.value),
  });
  offer("");
  return { field, names };
}
