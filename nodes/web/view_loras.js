/** The LoRA files of the chosen runs, the newest first. */

import { button, element } from "./dom.js";
import { addLoader } from "./add_loader.js";
import { layerMap } from "./layer_map.js";
import { act, loraLayers, loraUrl } from "./rest.js";
import { bytes } from "./units.js";

export class LoRAView {
  static title = "LoRA";
  static hint = "LoRA files: load into the graph, download";

  constructor() {
    this.chosen = [];
    this.shown = "";
    this.files = element("div", {});
    this.message = element("div", { class: "ltxv-message" });
    this.layers = element("div", {});
    this.root = element("div", { class: "ltxv-loras" }, this.message, this.files, this.layers);
  }

  choose(chosen) {
    this.chosen = chosen;
  }

  draw() {
    const runs = this.chosen.map(({ feed, colour }) => [
      feed.name,
      colour,
      feed.details?.loras ?? [],
      feed.details?.held_out?.best.step ?? null,
    ]);
    const shown = JSON.stringify(runs);
    if (shown === this.shown) return;
    this.shown = shown;
    const rows = runs.flatMap(([name, colour, loras, best]) =>
      loras.toReversed().map((lora) => this.#row(name, colour, lora, lora.step === best)),
    );
    if (rows.length) this.files.replaceChildren(...rows);
    else this.files.textContent = "No LoRA yet: the first checkpoint writes one.";
  }

  #row(run, colour, lora, isBest) {
    const dot = element("span", { class: "ltxv-dot" });
    dot.style.background = colour;
    const average = `${lora.is_average ? ", average" : ""}${isBest ? ", best held-out loss" : ""}`;
    return element(
      "div",
      { class: "ltxv-row ltxv-lora" },
      dot,
      element("span", { class: "ltxv-name", title: lora.file }, `step ${lora.step}${average}`),
      element("span", {}, bytes(lora.bytes)),
      button("Layers", "What it changes, layer by layer", () => this.#showLayers(run, lora.file)),
      button("Load into graph", "Place a loader with this file: behind the selected model loader, or the only one", () =>
        this.#place(run, lora.file),
      ),
      element("a", { href: loraUrl(run, lora.file), download: lora.file, class: "ltxv-button" }, "Download"),
    );
  }

  async #showLayers(run, file) {
    const isShown = this.layers.dataset.of === file;
    this.layers.replaceChildren();
    this.layers.dataset.of = isShown ? "" : file;
    if (isShown) return;
    try {
      const found = await loraLayers(run, file);
      if (this.layers.dataset.of === file) this.layers.replaceChildren(layerMap(file, found));
    } catch (error) {
      this.message.textContent = error.message;
    }
  }

  async #place(run, file) {
    this.message.textContent = "";
    try {
      this.message.textContent = await addLoader(await act(run, "publish", { file }));
    } catch (error) {
      this.message.textContent = error.message;
    }
  }
}
