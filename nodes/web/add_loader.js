/** Puts a node into the graph that loads what a run has trained. */

import { app } from "../../scripts/app.js";

const GAP_PX = 60;

/** The node for each of ComfyUI's folders, and its widget that names the file. */
const LOADERS = {
  loras: { type: "LTXVTrainLoadLoRA", widget: "lora_name" },
  diffusion_models: { type: "UNETLoader", widget: "unet_name" },
};

/**
 * A LoRA goes between the selected model loader, if one is selected, and all that it goes to.
 *
 * @param {{name: string, folder: "loras"|"diffusion_models"}} file as loaders list it
 * @returns {Promise<string>} what was done, in words
 */
export async function addLoader({ name, folder }) {
  await app.refreshComboInNodes(); // the file is new to the lists of all loaders
  const graph = app.canvas.graph ?? app.graph;
  const { type, widget } = LOADERS[folder];
  const node = LiteGraph.createNode(type);
  const source = folder === "loras" ? selectedModel() : undefined;
  graph.beforeChange?.();
  node.pos = source ? behind(source) : middleOf(app.canvas, node);
  graph.add(node);
  node.widgets.find((each) => each.name === widget).value = name;
  if (source) insert(graph, source, node);
  graph.afterChange?.();
  app.canvas.selectNode?.(node);
  app.canvas.setDirty(true, true);
  return source ? `${name} is loaded behind ${source.title}.` : `${name} is placed in the middle.`;
}

function selectedModel() {
  return Object.values(app.canvas.selected_nodes ?? {}).find((node) => modelOutput(node) >= 0);
}

function modelOutput(node) {
  return node.outputs?.findIndex((output) => output.type === "MODEL") ?? -1;
}

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
