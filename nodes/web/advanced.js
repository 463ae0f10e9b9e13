/**
 * Hides widgets that few change, on the classic canvas, which shows all. Nodes 2.0 do it by themselves.
 */

import { app } from "../../scripts/app.js";

const BUTTON = "ltxv_train_advanced";
const WIDGET_GAP_PX = 4;
const ALWAYS = "Comfy.Node.AlwaysShowAdvancedWidgets";

/** Hides a new node's advanced widgets, and gives it a button that shows them. */
export function hideAdvanced(node) {
  const advanced = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
  if (!advanced.length) return;
  for (const widget of advanced) {
    hide(widget, () => !node.showAdvanced && !alwaysShown() && !isLinked(node, widget));
  }
  const button = node.addWidget("button", BUTTON, null, () => toggle(node), { serialize: false, canvasOnly: true });
  button.serialize = false;
  compute(button, "label", () => (node.showAdvanced ? "Hide advanced inputs" : "Show advanced inputs"));
  compute(button, "hidden", alwaysShown);
}

/** Makes a node as high as what it shows. */
export function fitHeight(node) {
  node.setSize([node.size[0], node.computeSize()[1]]);
}

/** Hides a widget while a condition holds, or one that was given before. */
export function hide(widget, condition) {
  const before = Object.getOwnPropertyDescriptor(widget, "hidden")?.get;
  compute(widget, "hidden", () => Boolean(before?.()) || condition());
  if (before) return;
  // 0.3.64 leaves room for widgets that are hidden, and adds a gap to the height that a widget asks for.
  const { computeSize } = widget;
  compute(widget, "computeSize", () => (widget.hidden ? () => [0, -WIDGET_GAP_PX] : computeSize));
}

function toggle(node) {
  node.showAdvanced = !node.showAdvanced;
  fitHeight(node);
  node.setDirtyCanvas(true, true);
}

function isLinked(node, { name }) {
  return node.inputs.some(({ widget, link }) => widget?.name === name && link != null);
}

function alwaysShown() {
  return Boolean(app.extensionManager?.setting?.get(ALWAYS));
}

function compute(widget, property, get) {
  Object.defineProperty(widget, property, { get, set: () => {}, configurable: true });
}
