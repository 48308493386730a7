// The way in for the page of a recorded run: all of it is in the document itself.

import { find } from "./elements.js";
import { PageModel } from "./local.js";
import { RunView } from "./runview.js";

export function openRun() {
  const source = find(document, 'script[type="application/json"]', HTMLScriptElement);
  const model = new PageModel(JSON.parse(source.textContent ?? ""));
  const view = new RunView(model, find(document, "main > .place", HTMLElement));
  Object.assign(globalThis, { gradvizRun: view }); // for the curious
}
