// A recorded run in a notebook: the way in for anywidget.

import { RunView } from "./runview.js";

/** @import { Model } from "./session.js" */

/** @param {{model: Model, el: HTMLElement}} place */
function render({ model, el }) {
  const view = new RunView(model, el);
  return () => view.close();
}

export default { render };
