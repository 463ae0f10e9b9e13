/** Hides the widgets of a node that name the base model while a model section is connected: it counts instead. */

import { app } from "../../scripts/app.js";
import { fitHeight, hide } from "./advanced.js";

const WIDGETS = ["model", "text_encoder", "vae"].flatMap((part) => [`${part}_source`, `${part}_file`]);

/** Lets a new node with a model socket follow it. */
export function hideLinkedModel(node) {
  if (!node.inputs?.some(isModel)) return;
  const own = node.widgets?.filter(({ name }) => WIDGETS.includes(name)) ?? [];
  for (const widget of own) hide(widget, () => node.inputs.some((input) => isModel(input) && input.link != null));
  const before = node.onConnectionsChange;
  node.onConnectionsChange = function (...values) {
    before?.apply(this, values);
    // A graph that is opened has the heights that it was saved with.
    if (own.length && isModel(values[4] ?? {}) && !app.configuringGraph) fitHeight(node);
  };
}

function isModel({ name, widget }) {
  return name === "model" && !widget;
}
