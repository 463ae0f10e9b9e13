/** Puts the section nodes of a YAML configuration on the canvas, wired into a training node. */

import { app } from "../../scripts/app.js";
import { fitHeight } from "./advanced.js";
import { nodesOfConfiguration } from "./rest.js";

const LABEL = "Place as nodes";
const GAP_PX = 60;
const TITLE_PX = 40;
const COLUMN_PX = 900;

/** Gives a new Load LTXV Training Config node its button. */
export function offerNodes(node) {
  const button = node.addWidget("button", LABEL, null, () => place(node), { serialize: false });
  button.serialize = false;
  button.tooltip = "Puts a node for each section of this configuration on the canvas, wired into a training node";
}

async function place(node) {
  const [file, text] = ["file", "text"].map((name) => node.widgets.find((each) => each.name === name).value);
  try {
    const { sections, join, train } = await nodesOfConfiguration({ file, text });
    build(node, sections, join, train);
  } catch (error) {
    const { toast } = app.extensionManager;
    toast.add({ severity: "error", summary: "This configuration can't be placed", detail: error.message });
  }
}

function build(beside, sections, join, train) {
  const graph = beside.graph ?? app.graph;
  graph.beforeChange?.();
  const others = [...graph.nodes];
  const parts = sections.map((each) => ({ section: each.section, node: add(graph, each) }));
  const joined = add(graph, join);
  const training = add(graph, train);
  for (const { section, node } of parts) node.connect(0, joined, joined.findInputSlot(section));
  joined.connect(0, training, training.findInputSlot("config"));
  arrange([...columns(parts.map(({ node }) => node)), [joined], [training]], beside, others);
  graph.afterChange?.();
  app.canvas.setDirty(true, true);
}

/** A node with its widgets set; those that few change show where one of them is set. */
function add(graph, { type, widgets }) {
  const node = LiteGraph.createNode(type);
  graph.add(node);
  for (const [name, value] of Object.entries(widgets)) {
    const widget = node.widgets.find((each) => each.name === name);
    if (widget.options?.advanced && widget.value !== value) node.showAdvanced = true;
    widget.value = value;
  }
  fitHeight(node);
  return node;
}

function columns(nodes) {
  const found = [[]];
  let height = 0;
  for (const node of nodes) {
    height += node.size[1] + TITLE_PX;
    if (height > COLUMN_PX && found.at(-1).length) {
      found.push([]);
      height = node.size[1] + TITLE_PX;
    }
    found.at(-1).push(node);
  }
  return found;
}

/** Columns from left to right beside a node, below whatever stands there. */
function arrange(blocks, beside, others) {
  const [left, top] = [beside.pos[0] + beside.size[0] + GAP_PX, beside.pos[1]];
  let x = left;
  let bottom = top;
  for (const column of blocks) {
    let y = top;
    for (const node of column) {
      node.pos = [x, y];
      y += node.size[1] + TITLE_PX;
    }
    bottom = Math.max(bottom, y);
    x += Math.max(...column.map((node) => node.size[0])) + GAP_PX;
  }
  const down = Math.max(0, ...others.map((node) => overlap(node, { left, top, right: x, bottom })));
  for (const node of blocks.flat()) node.pos = [node.pos[0], node.pos[1] + down];
}

/** How far a block must go down to stand below a node that it would lie on. */
function overlap({ pos, size }, { left, top, right, bottom }) {
  const isBeside = pos[0] > right || pos[0] + size[0] < left;
  return isBeside || pos[1] + size[1] < top ? 0 : pos[1] + size[1] + GAP_PX - top;
}
