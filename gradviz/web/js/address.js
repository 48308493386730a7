// The page's address says where it stands: net.html#step=12&targets=w5,b2,w1&open=h1,h2

import { openIn } from "./pictures.js";

/** @import { PageModel } from "./local.js" */

const PAUSE = 150; // ms without a change until the address follows: browsers allow few in a row

/**
 * What an address asks for, as far as the graph has it.
 * @param {string} hash
 * @param {Partial<State>} state
 * @returns {Partial<State>}
 */
export function fromAddress(hash, { structure, lesson }) {
  /** @type {Partial<State>} */
  const found = {};
  if (lesson || !structure) return found;
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const known = new Set(structure.nodes.map(({ id }) => id));
  const step = asked.get("step");
  if (step !== null && /^\d+$/.test(step)) found.step = Number(step);
  const targets = asked.get("targets");
  if (targets !== null) found.targets = namesIn(targets).filter((name) => known.has(name));
  const selected = asked.get("selected");
  if (selected !== null) found.selected = namesIn(selected);
  return found;
}

/**
 * The folds that an address has open; undefined where it says nothing of them.
 * @param {string} hash
 */
export function openAt(hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, "")).get("open");
  return asked === null ? undefined : namesIn(asked);
}

/**
 * A name may have a comma in it: names are written twice over.
 * @type {(list: string) => string[]}
 */
function namesIn(list) {
  try {
    return list.split(",").filter(Boolean).map(decodeURIComponent);
  } catch {
    return []; // a % that stands for nothing
  }
}

/** @type {(model: PageModel, own: string[]) => string} */
function addressed(model, own) {
  const written = (/** @type {string[]} */ names) =>
    encodeURI(names.map((name) => encodeURIComponent(name)).join(","));
  const [targets, selected] = [model.get("targets"), model.get("selected")];
  const open = openIn(model.get("drawing"));
  const { steps } = model.get("structure");
  const step = model.get("step");
  const parts = [
    step < steps.length - 1 && `step=${step}`,
    targets.length && `targets=${written(targets)}`,
    selected.length && `selected=${written(selected)}`,
    open.join() !== own.join() && `open=${written(open)}`,
  ];
  return parts.filter(Boolean).join("&");
}

/**
 * The address follows the page, and the page the address.
 * @param {PageModel} model
 * @param {string[]} own the folds that it has open without one
 */
export function share(model, own) {
  if (model.get("lesson")) return;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let due;
  const follow = () => {
    clearTimeout(due);
    due = setTimeout(() => {
      const hash = addressed(model, own);
      if (hash === location.hash.slice(1)) return;
      try {
        history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
      } catch {
        /* a frame without an address of its own */
      }
    }, PAUSE);
  };
  for (const name of ["step", "targets", "selected", "drawing"]) model.on(`change:${name}`, follow);
  addEventListener("hashchange", () => {
    const asked = fromAddress(location.hash, model.state);
    for (const [name, value] of Object.entries(asked)) model.set(name, value);
    const open = openAt(location.hash);
    if (open) model.local.pictures.arrange(model.get("drawing").direction, open);
  });
}
