/** Puts a node into the graph that loads what a run has trained. */

import { app } from "../../scripts/app.js";
import { askConsumers } from "./ask_consumers.js";
import { boxOf, boxesOf } from "./node_boxes.js";
import { freePlace } from "./placement.js";

const GAP_PX = 60;
const LETTER_PX = 7.5;
const LABEL_PX = 130;

/** The node for each of ComfyUI's folders, and its widget that names the file. */
const LOADERS = {
  loras: { type: "LTXVTrainLoadLoRA", widget: "lora_name" },
  diffusion_models: { type: "UNETLoader", widget: "unet_name" },
};

/**
 * A LoRA goes between a model loader and the nodes that are to use it: the selected loader, or the only one.
 *
 * @param {{name: string, folder: "loras"|"diffusion_models"}} file as loaders list it
 * @returns {Promise<string>} what was done, in words
 */
export async function addLoader({ name, folder }) {
  await app.refreshComboInNodes(); // the file is new to the lists of all loaders
  const graph = app.canvas.graph ?? app.graph;
  const { type, widget } = LOADERS[folder];
  const source = folder === "loras" ? modelSource(graph) : null;
  const consumers = source ? consumersOf(graph, source) : [];
  const chosen = consumers.length > 1 ? await askConsumers(source, consumers) : consumers;
  if (!chosen) return "Nothing was placed.";
  const node = LiteGraph.createNode(type);
  graph.beforeChange?.();
  graph.add(node);
  node.widgets.find((each) => each.name === widget).value = name;
  node.setSize([Math.max(node.size[0], LABEL_PX + LETTER_PX * name.length), node.size[1]]);
  place(graph, node, source);
  if (source) {
    source.connect(modelOutput(source), node, node.findInputSlot("model"));
    for (const { target, slot } of chosen) node.connect(0, target, slot);
  }
  graph.afterChange?.();
  app.canvas.selectNode?.(node);
  bringIntoView(node);
  app.canvas.setDirty(true, true);
  if (!source) return folder === "loras" ? `${name} is placed. Connect its model.` : `${name} is placed.`;
  const users = chosen.map(({ target }) => target.title).join(", ");
  return `${name} is loaded behind ${source.title}${users ? `, for ${users}` : ""}.`;
}

/** The selected node that gives a MODEL, or the only one that gives a MODEL without being given one. */
function modelSource(graph) {
  const selected = Object.values(app.canvas.selected_nodes ?? {}).find((node) => modelOutput(node) >= 0);
  if (selected) return selected;
  const isFirst = (node) => modelOutput(node) >= 0 && !node.inputs?.some(({ type }) => type === "MODEL");
  const found = graph.nodes.filter(isFirst);
  return found.length === 1 ? found[0] : null;
}

function modelOutput(node) {
  return node.outputs?.findIndex((output) => output.type === "MODEL") ?? -1;
}

/** The inputs that a node's MODEL goes to. */
function consumersOf(graph, source) {
  const links = source.outputs[modelOutput(source)].links ?? [];
  return links
    .map((id) => graph.getLink?.(id) ?? graph.links[id])
    .map((link) => ({ target: graph.getNodeById(link.target_id), slot: link.target_slot }))
    .filter(({ target }) => target);
}

function place(graph, node, source) {
  const [, , width, height] = boxOf(node);
  const title = height - node.size[1];
  const [x, y] = source ? behind(source) : middleOf(app.canvas, node);
  const others = boxesOf(graph.nodes.filter((each) => each !== node));
  const [left, top] = freePlace(others, [x, y - title, width, height], GAP_PX / 2);
  node.pos = [left, top + title];
}

function behind(source) {
  return [source.pos[0] + source.size[0] + GAP_PX, source.pos[1]];
}

function middleOf(canvas, node) {
  const [x, y, width, height] = canvas.ds.visible_area ?? canvas.visible_area;
  return [x + (width - node.size[0]) / 2, y + (height - node.size[1]) / 2];
}

/** Moves a node that is not wholly in sight to the middle of the canvas. */
function bringIntoView(node) {
  const { ds } = app.canvas;
  const [left, top, width, height] = ds.visible_area ?? app.canvas.visible_area;
  const [x, y, w, h] = boxOf(node);
  if (x >= left && x + w <= left + width && y >= top && y + h <= top + height) return;
  ds.offset[0] += left + (width - w) / 2 - x;
  ds.offset[1] += top + (height - h) / 2 - y;
}
