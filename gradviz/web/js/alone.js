// The way in for a page that stands alone: the state is in the document itself.

import { fromAddress, openAt, share } from "./address.js";
import { App } from "./app.js";
import { find } from "./elements.js";
import { PageModel } from "./local.js";
import { openIn, unpacked } from "./pictures.js";

const SLIM = 640; // pixels: boxes in a column are read there, boxes in a row are not

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
    const { drawing, direction, lesson } = model.state;
    const place = /** @type {HTMLElement} */ (places[n]);
    const down = !direction && place.clientWidth < SLIM;
    const open = lesson ? undefined : openAt(location.hash);
    await model.local.pictures.arrange(down ? "TB" : drawing.direction, open ?? openIn(drawing));
    const app = new App(model, place);
    apps.push(app);
    if (states.length > 1) continue;
    share(model, openIn(drawing));
    // The page is the graph's alone: its keys work wherever the focus is not.
    document.addEventListener("keydown", (event) => {
      if (event.target !== document.body) return;
      const copy = new KeyboardEvent("keydown", event);
      if (!app.root.dispatchEvent(copy)) event.preventDefault();
    });
  }
  // What is folded or moved away on the screen is whole on paper.
  addEventListener("beforeprint", () => {
    for (const app of apps) app.frame.picture.print();
    for (const details of find(document, "main", HTMLElement).querySelectorAll("details")) {
      details.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const { frame } of apps) frame.picture.look(frame.picture.middle, frame.picture.zoom);
  });
  Object.assign(globalThis, { gradviz: models[0], gradvizzes: models }); // for the curious
}
