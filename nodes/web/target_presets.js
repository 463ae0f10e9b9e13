/**
 * Buttons below the target modules of a LoRA: presets, each with what it takes of the model that the LoRA is for.
 */

import { button, element } from "./dom.js";
import { targetPresets } from "./rest.js";
import { bytes, count } from "./units.js";

const WIDGET = "ltxv_train_presets";
const HEIGHT_PX = 96;
const WAIT_MS = 400;

/** Gives a new Configure LTXV LoRA node its buttons; before its advanced widgets are hidden. */
export function offerPresets(node) {
  const root = element("div", { class: "ltxv ltxv-presets" });
  const widget = node.addDOMWidget(WIDGET, WIDGET, root, {
    advanced: true, // as the target modules are
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => HEIGHT_PX,
    getMaxHeight: () => HEIGHT_PX,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  let shown = "";
  const look = async () => {
    const asked = questionOf(node);
    const key = JSON.stringify([asked, targetsWidget(node).value]);
    if (!root.isConnected || key === shown) return;
    shown = key;
    if (!asked.model_source) root.replaceChildren("Presets show here once this leads to a training with a base model.");
    else root.replaceChildren(...(await rows(node, asked)));
  };
  const timer = setInterval(look, WAIT_MS);
  const removed = node.onRemoved;
  node.onRemoved = function (...values) {
    clearInterval(timer);
    removed?.apply(this, values);
  };
}

async function rows(node, asked) {
  try {
    const presets = await targetPresets(asked);
    return presets.map(({ preset, parameters, file_bytes: file, training_bytes: training }) => {
      const text = `${preset}: ${count(parameters)} parameters, ${bytes(training)} to train, ${bytes(file)} as a file`;
      const hint = `Writes ${preset} into the target modules: these layers get a LoRA of rank ${asked.rank}`;
      const made = button(text, hint, () => (targetsWidget(node).value = preset));
      made.setAttribute("aria-pressed", targetsWidget(node).value.trim() === preset);
      return made;
    });
  } catch (error) {
    return [element("div", { class: "ltxv-message" }, error.message)];
  }
}

const targetsWidget = (node) => node.widgets.find(({ name }) => name === "target_modules");

/** The rank on a LoRA node, and the base model of the first training that it leads to. */
function questionOf(node) {
  const rank = node.widgets.find(({ name }) => name === "rank").value;
  return { rank, ...modelAfter(node, new Set()) };
}

function modelAfter(node, seen) {
  if (!node || seen.has(node)) return {};
  seen.add(node);
  for (const target of targetsOf(node)) {
    const model = target.inputs?.find(({ name, widget }) => name === "model" && !widget);
    const section = model?.link != null ? target.getInputNode?.(target.inputs.indexOf(model)) : null;
    const found = [modelOn(section), modelOn(target), modelAfter(target, seen)].find((each) => each.model_source);
    if (found) return found;
  }
  return {};
}

function modelOn(node) {
  const values = (node?.widgets ?? []).filter(({ name }) => name === "model_source" || name === "model_file");
  return Object.fromEntries(values.map(({ name, value }) => [name, value]));
}

function targetsOf(node) {
  return (node.outputs ?? []).flatMap((_, slot) => node.getOutputNodes?.(slot) ?? []);
}
