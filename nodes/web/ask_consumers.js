/** Asks which nodes are to use a LoRA, where a model goes to several. */

import { button, element } from "./dom.js";
import { openDialog } from "./dialog.js";

/**
 * @param {LGraphNode} source gives the model
 * @param {{target: LGraphNode, slot: number}[]} consumers inputs that the model goes to
 * @returns {Promise<{target: LGraphNode, slot: number}[]|null>} the chosen ones; null: nothing is to be placed
 */
export function askConsumers(source, consumers) {
  const boxes = consumers.map(() => element("input", { type: "checkbox", checked: true }));
  const rows = consumers.map(({ target, slot }, index) => {
    const input = target.inputs[slot];
    const name = `${target.title}, ${input.label ?? input.localized_name ?? input.name}`;
    return element("label", { class: "ltxv-row" }, boxes[index], element("span", {}, name), ` (node ${target.id})`);
  });
  return new Promise((resolve) => {
    let answer = null;
    const place = button("Place", "Place the loader for the marked nodes", () => {
      answer = consumers.filter((_, index) => boxes[index].checked);
      dialog.close();
    });
    const cancel = button("Cancel", "Place nothing", () => dialog.close());
    const dialog = openDialog(
      "Which nodes use the LoRA?",
      { class: "ltxv-ask-consumers", on: { close: () => resolve(answer) } },
      element("h2", {}, "Which nodes use the LoRA?"),
      element("div", {}, `The model of ${source.title} goes to several. Those that are not marked keep the model without the LoRA.`),
      ...rows,
      element("div", { class: "ltxv-row ltxv-buttons" }, place, cancel),
    );
    place.focus();
  });
}
