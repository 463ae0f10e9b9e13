/** The panel of LTXV Train: its widget in the training nodes, its tab in the side bar. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { fitHeight, hideAdvanced } from "./advanced.js";
import { offerNodes } from "./config_nodes.js";
import { fitContactSheet } from "./contact_sheet.js";
import { loadStyle } from "./dom.js";
import { explainDrops } from "./dropped_files.js";
import { hideLinkedModel } from "./linked_model.js";
import { makeRoom } from "./make_room.js";
import { NodeWidget } from "./node_widget.js";
import { isOpen, nodeAt } from "./node_runs.js";
import { askAtNodes, permissionSetting } from "./permissions.js";
import { listen, onEvent } from "./runs.js";
import { rememberHeights, restoreHeights } from "./saved_sizes.js";
import { sidebarTab } from "./side_panel.js";
import { offerPresets } from "./target_presets.js";

const LOAD_CONFIG = "LTXVTrainLoadConfig";
const PREPROCESS = "LTXVTrainDatasetPreprocess";
const LORA = "LTXVTrainLoRAConfig";

const widgets = new WeakMap();

/** Runs that began while their graph was not on the canvas, by its id and the node's place. */
const missed = new Map();

// The loss chart that the server draws is for interfaces without this widget. ComfyUI begins to listen
// when all extensions are loaded, so this comes first.
api.addEventListener("b_preview_with_metadata", (event) => {
  if (widgets.has(nodeAt(event.detail.displayNodeId))) event.stopImmediatePropagation();
});

app.registerExtension({
  name: "ltxv_train",
  settings: [permissionSetting()],

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!isOurs(nodeData)) return;
    const hasPanel = followsRuns(nodeData);
    chain(nodeType.prototype, "onNodeCreated", (node) => {
      labelWidgets(node, nodeData);
      if (nodeData.name === LORA) offerPresets(node);
      hideAdvanced(node);
      hideLinkedModel(node);
      if (nodeData.name === LOAD_CONFIG) offerNodes(node);
      if (nodeData.name === PREPROCESS) fitContactSheet(node);
      if (hasPanel) widgets.set(node, new NodeWidget(node));
      fitHeight(node);
      makeRoom(node);
    });
    if (!hasPanel) return;
    chain(nodeType.prototype, "onConfigure", (node) => {
      // The graph gets its own id only after its nodes.
      setTimeout(() => {
        widgets.get(node)?.restore();
        catchUp();
      });
    });
    chain(nodeType.prototype, "onRemoved", (node) => widgets.get(node)?.close());
  },

  beforeConfigureGraph: rememberHeights,
  afterConfigureGraph: () => restoreHeights(app.graph),

  setup() {
    loadStyle();
    listen();
    askAtNodes();
    explainDrops();
    onEvent(({ node, graph, run }) => {
      if (!node || !run) return;
      if (isOpen(graph)) widgets.get(nodeAt(node))?.follow(run);
      else missed.set(`${graph} ${node}`, { graph, node, run });
    });
    app.extensionManager.registerSidebarTab(sidebarTab());
  },
});

/** Shows in a graph that is opened again what began meanwhile. */
function catchUp() {
  for (const [key, { graph, node, run }] of missed) {
    if (!isOpen(graph)) continue;
    missed.delete(key);
    widgets.get(nodeAt(node))?.follow(run);
  }
}

function isOurs(nodeData) {
  return nodeData.name.startsWith("LTXVTrain");
}

/** The training nodes, and those that join a run. */
function followsRuns(nodeData) {
  return nodeData.output_name?.includes("run_folder");
}

/**
 * Labels widgets in words also where the interface doesn't: 0.3.64 in languages that lack a word, and texts, whose
 * placeholder is their label.
 */
function labelWidgets(node, { input }) {
  const inputs = { ...input.required, ...input.optional };
  for (const widget of node.widgets ?? []) {
    if (widget.label === widget.name) widget.label = inputs[widget.name]?.[1].display_name;
    if (widget.element instanceof HTMLTextAreaElement && widget.label) widget.element.placeholder = widget.label;
  }
}

function chain(prototype, method, then) {
  const before = prototype[method];
  prototype[method] = function (...values) {
    const result = before?.apply(this, values);
    then(this);
    return result;
  };
}
