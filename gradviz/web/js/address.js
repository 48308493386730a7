// The page's address says where it stands: net.html#step=12&targets=w5,b2,w1

/** @import { PageModel } from "./local.js" */

const PAUSE = 150; // ms without a change until the address follows: browsers allow few in a row

/**
 * What an address asks for, as far as the graph has it.
 * @param {string} hash
 * @param {Partial<State>} state
 * @returns {Partial<State>}
 */
export function fromAddress(hash, { story, lesson }) {
  /** @type {Partial<State>} */
  const found = {};
  if (lesson || !story) return found;
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const known = new Set(story.nodes.map(({ id }) => id));
  const step = asked.get("step");
  if (step !== null && /^\d+$/.test(step)) found.step = Number(step);
  const targets = asked.get("targets");
  if (targets !== null) found.targets = namesIn(targets).filter((name) => known.has(name));
  const selected = asked.get("selected");
  if (selected !== null) found.selected = namesIn(selected);
  return found;
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

/** @param {PageModel} model */
function addressed(model) {
  const list = (/** @type {string} */ name) =>
    model
      .get(name)
      .map((/** @type {string} */ id) => encodeURIComponent(id))
      .join(",");
  const { steps } = model.get("story");
  const step = model.get("step");
  const parts = [
    step < steps.length - 1 && `step=${step}`,
    model.get("targets").length && `targets=${encodeURI(list("targets"))}`,
    model.get("selected").length && `selected=${encodeURI(list("selected"))}`,
  ];
  return parts.filter(Boolean).join("&");
}

/**
 * The address follows the page, and the page the address.
 * @param {PageModel} model
 */
export function share(model) {
  if (model.get("lesson")) return;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let due;
  const follow = () => {
    clearTimeout(due);
    due = setTimeout(() => {
      const hash = addressed(model);
      if (hash === location.hash.slice(1)) return;
      try {
        history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
      } catch {
        /* a frame without an address of its own */
      }
    }, PAUSE);
  };
  for (const name of ["step", "targets", "selected"]) model.on(`change:${name}`, follow);
  addEventListener("hashchange", () => {
    const asked = fromAddress(location.hash, model.state);
    for (const [name, value] of Object.entries(asked)) model.set(name, value);
  });
}
