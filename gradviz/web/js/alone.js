// The way in for a page that stands alone: the state is in the document itself.

import { App } from "./app.js";
import { find } from "./elements.js";
import { PageModel, unpacked } from "./local.js";

export async function openPage() {
  const data = find(document, 'script[type="application/json"]', HTMLScriptElement);
  const { packed, ...state } = JSON.parse(data.textContent);
  const model = new PageModel({ ...state, ...(packed && (await unpacked(packed))) });
  const app = new App(model, find(document, "main", HTMLElement));
  // The page is the graph's alone: its keys work wherever the focus is not.
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    const copy = new KeyboardEvent("keydown", event);
    if (!app.root.dispatchEvent(copy)) event.preventDefault();
  });
  Object.assign(globalThis, { gradviz: model }); // for the curious, at the console
}
