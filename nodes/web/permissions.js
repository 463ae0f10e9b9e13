/** What graphs may do on this machine: asked at the node that needs it, listed in the settings. */

import { app } from "../../scripts/app.js";
import { button, element } from "./dom.js";
import { isOpen, nodeAt } from "./node_runs.js";
import * as rest from "./rest.js";
import { onEvent } from "./runs.js";

const WIDGET = "ltxv_train_permission";
const WIDTH_PX = 260;
const LINE_PX = 110;
const MARGIN_PX = 100;
const VIEW_DELAY_MS = 150;

/** Of each kind: what a graph wants, and what the button says. */
const KINDS = {
  folders: {
    wants: (folder) => `This graph wants to use files in ${folder}`,
    label: "Allow this folder",
    hint: "Graphs may read it from now on, and write where it is empty or holds only our files",
  },
  downloads: {
    wants: (repository) => `This graph wants to download from ${repository} at the Hugging Face Hub`,
    label: "Allow this repository",
    hint: "Graphs may download models and data sets from this repository of the Hugging Face Hub from now on",
  },
  entities: {
    wants: (entity) => `This graph wants to log its run to Weights & Biases: ${entity}`,
    label: "Always for this entity",
    hint: "Runs to come are logged there, with your login; this one is not",
  },
};

const asked = new WeakMap();

/** Shows at nodes what they need and may not have. */
export function askAtNodes() {
  onEvent(({ kind, what, value, node, graph }) => {
    if (kind !== "PermissionAsked" || !KINDS[what] || !node || !isOpen(graph)) return;
    const found = nodeAt(node);
    if (!found) return;
    if (!asked.has(found)) asked.set(found, new Question(found, () => asked.delete(found)));
    asked.get(found).ask(what, value);
    // The node may be long, or out of sight.
    app.extensionManager?.toast?.add({
      severity: "warn",
      summary: KINDS[what].wants(value),
      detail: `Allow it at the bottom of the node "${found.title}", or change the node.`,
      life: 12_000,
    });
  });
}

/** What one node asks for, each with a button. */
class Question {
  constructor(node, closed) {
    this.node = node;
    this.closed = closed;
    this.rows = new Map();
    this.root = element("div", { class: "ltxv ltxv-ask", role: "alert" });
    this.widget = node.addDOMWidget(WIDGET, WIDGET, this.root, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => LINE_PX * Math.max(1, this.rows.size),
      getValue: () => "",
      setValue: () => {},
    });
    this.widget.serialize = false;
  }

  ask(kind, value) {
    const key = `${kind} ${value}`;
    this.rows.get(key)?.remove();
    this.rows.set(key, this.#row(key, kind, value));
    this.root.replaceChildren(...this.rows.values());
    this.#fit();
    setTimeout(() => this.#bringIntoView(), VIEW_DELAY_MS);
  }

  /** Moves the canvas where the question is out of sight: the graph waits for an answer. */
  #bringIntoView() {
    const { ds } = app.canvas;
    const view = app.canvas.canvas.getBoundingClientRect();
    const box = this.root.getBoundingClientRect();
    const into = (low, high, least, most) => Math.min(0, most - high) || Math.max(0, least - low);
    const right = into(box.left, box.right, view.left + MARGIN_PX, view.right - MARGIN_PX);
    const down = into(box.top, box.bottom, view.top + MARGIN_PX, view.bottom - MARGIN_PX);
    if (!right && !down) return;
    ds.offset[0] += right / ds.scale;
    ds.offset[1] += down / ds.scale;
    app.canvas.setDirty(true, true);
  }

  #row(key, kind, value) {
    const { wants, label, hint } = KINDS[kind];
    const says = element("div", { class: "ltxv-message", title: value }, wants(value));
    const allow = button(label, hint, async (event) => {
      // A script of a page may call a button too.
      if (!event.isTrusted) return;
      buttons.hidden = true;
      try {
        await rest.allow({ [kind]: [value] });
        says.textContent = `Allowed: ${value}. Press Run.`;
        this.rows.delete(key);
        setTimeout(() => this.#remove(row), 4000);
      } catch (error) {
        buttons.hidden = false;
        says.textContent = error.message;
        says.dataset.error = true;
      }
    }, "ltxv-allow");
    const no = button("No", "Allow nothing", () => {
      this.rows.delete(key);
      this.#remove(row);
    });
    const buttons = element("div", { class: "ltxv-row ltxv-buttons" }, allow, no);
    const row = element("div", { class: "ltxv-ask-row" }, says, buttons);
    return row;
  }

  #remove(row) {
    row.remove();
    if (this.rows.size) return this.#fit();
    if (!this.node.widgets?.includes(this.widget)) return;
    if (this.node.removeWidget) this.node.removeWidget(this.widget);
    else {
      this.widget.onRemove?.();
      this.node.widgets.splice(this.node.widgets.indexOf(this.widget), 1);
    }
    this.root.remove();
    this.closed();
    this.#fit();
  }

  /** Makes the node as large as what it asks needs it. */
  #fit() {
    const [width, height] = [Math.max(this.node.size[0], WIDTH_PX), this.node.computeSize()[1]];
    this.node.setSize([width, Math.max(this.node.size[1], height)]);
    this.node.setDirtyCanvas(true, true);
  }
}

/** A page of ComfyUI's settings: what was allowed, each with a button that takes it back. */
export function permissionSetting() {
  return {
    id: "ltxv_train.permissions",
    category: ["LTXV Train", "Permissions", "Allowed"],
    name: "What graphs may do on this machine",
    tooltip: "Graphs may use ComfyUI's folders. Everything else is asked for once, at the node.",
    type: () => {
      const root = element("div", { class: "ltxv ltxv-allowed" });
      show(root, rest.permissions());
      return root;
    },
    defaultValue: null,
  };
}

const LISTED = [
  ["folders", "Folder", (each) => each],
  ["downloads", "Downloads from", (each) => each],
  ["uploads", "Uploads to", ({ to, visibility }) => `${to} (${visibility})`],
  ["entities", "Weights & Biases", (each) => each],
];

async function show(root, answer) {
  try {
    const allowed = await answer;
    const rows = LISTED.flatMap(([kind, title, text]) =>
      allowed[kind].map((each) =>
        element(
          "div",
          { class: "ltxv-row" },
          element("span", {}, `${title}: ${text(each)}`),
          element("span", { class: "ltxv-space" }),
          button("Remove", "Take this back", (event) => {
            if (event.isTrusted) show(root, rest.removePermission({ [kind]: [each] }));
          }),
        ),
      ),
    );
    const nothing = "Nothing yet: graphs use ComfyUI's own folders, and send nothing.";
    root.replaceChildren(...(rows.length ? rows : [nothing]));
  } catch (error) {
    root.replaceChildren(error.message);
  }
}
