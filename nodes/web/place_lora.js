/** Puts a Load LTXV LoRA node into the graph. */

import { app } from "../../scripts/app.js";

const LOADER = "LTXVTrainLoadLoRA";
const GAP_PX = 60;

/**
 * @param {string} loraName as loaders list it
 * @returns {Promise<string>} what was done, in words
 */
export async function placeLoRA(loraName) {
  await app.refreshComboInNodes(); // the file is new to the lists of all loaders
  const graph = app.canvas.graph ?? app.graph;
  const selected = Object.values(app.canvas.selected_nodes ?? {});
  const source = selected.find((node) => modelOutput(node) >= 0);
  graph.beforeChange?.();
  const node = LiteGraph.createNode(LOADER);
  node.pos = source ? behind(source) : middleOf(app.canvas, node);
  graph.add(node);
  node.widgets.find((widget) => widget.name === "lora_name").value = loraName;
  if (source) insert(graph, source, node);
  graph.afterChange?.();
  app.canvas.selectNode?.(node);
  app.canvas.setDirty(true, true);
  return source
    ? `${loraName} is loaded behind ${source.title}.`
    : `${loraName} is placed: connect its model.`;
}

function modelOutput(node) {
  return node.outputs?.findIndex((output) => output.type === "MODEL") ?? -1;
}

/** Between a model and all that it goes to. */
function insert(graph, source, node) {
  const output = modelOutput(source);
  const links = (source.outputs[output].links ?? []).map((id) => graph.getLink?.(id) ?? graph.links[id]);
  const targets = links.map((link) => [graph.getNodeById(link.target_id), link.target_slot]);
  source.connect(output, node, node.findInputSlot("model"));
  for (const [target, slot] of targets) if (target) node.connect(0, target, slot);
}

function behind(source) {
  return [source.pos[0] + source.size[0] + GAP_PX, source.pos[1]];
}

function middleOf(canvas, node) {
  const [x, y, width, height] = canvas.ds.visible_area ?? canvas.visible_area;
  return [x + (width - node.size[0]) / 2, y + (height - node.size[1]) / 2];
}
