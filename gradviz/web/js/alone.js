// The way in for a page that stands alone: the state is in the document itself.

import { fromAddress, share } from "./address.js";
import { App } from "./app.js";
import { find } from "./elements.js";
import { PageModel, unpacked } from "./local.js";

export async function openPage() {
  const places = [...document.querySelectorAll("main > .place")];
  const sources = [...document.querySelectorAll('script[type="application/json"]')];
  const states = sources.map((source) => JSON.parse(source.textContent));
  const models = [];
  /** @type {App[]} */
  const apps = [];
  for (const [n, { packed, ...state }] of states.entries()) {
    const { words } = states[0];
    const whole = { words, ...state, ...(packed && (await unpacked(packed))) };
    const model = new PageModel({ ...whole, ...fromAddress(location.hash, whole) });
    models.push(model);
    const app = new App(model, /** @type {HTMLElement} */ (places[n]));
    apps.push(app);
    if (states.length > 1) continue;
    share(model);
    // The page is the graph's alone: its keys work wherever the focus is not.
    document.addEventListener("keydown", (event) => {
      if (event.target !== document.body) return;
      const copy = new KeyboardEvent("keydown", event);
      if (!app.root.dispatchEvent(copy)) event.preventDefault();
    });
  }
  // What is folded or moved away on the screen is whole on paper.
  addEventListener("beforeprint", () => {
    for (const app of apps) app.frame.picture.fit();
    for (const details of find(document, "main", HTMLElement).querySelectorAll("details")) {
      details.open = true;
    }
  });
  Object.assign(globalThis, { gradviz: models[0], gradvizzes: models }); // for the curious
}
