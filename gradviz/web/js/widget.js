// A computational graph, alive: step through both passes, ask any value, change any leaf.
//
// The way in for anywidget. In a notebook the model's other half is Python; in a page alone.js
// stands in for it.

import { App } from "./app.js";

/** @import { Model } from "./session.js" */

/**
 * anywidget's contract: show the model in `el`; what is returned undoes it.
 * @param {{model: Model, el: HTMLElement}} place
 */
function render({ model, el }) {
  el.dataset.mark = model.get("mark"); // the picture that a saved notebook has of it is not shown
  const app = new App(model, el);
  return () => app.close();
}

export default { render };
