/** The samples of the chosen runs: prompts down, steps across. A click opens them large. */

import { element } from "./dom.js";
import { readPrompts } from "./read_prompts.js";
import { downloadLink, useLoRAButton } from "./sample_actions.js";
import { SampleTable } from "./sample_table.js";
import { openSamples } from "./sample_viewer.js";
import { sampleGrid } from "./samples.js";

export class SamplesView {
  static title = "Samples";
  static hint = "Samples by prompt and step";

  constructor() {
    this.chosen = [];
    this.prompts = new Map();
    this.shown = "";
    this.table = new SampleTable(
      (place) => openSamples(this.grid, place, (run) => this.#loras(run)),
      ({ row, step }) => this.#actions(this.grid.rows[row], step),
    );
    this.none = element("div", {}, "No samples: write prompts into Configure LTXV Validation.");
    this.root = element("div", {}, this.none, this.table.root);
  }

  async choose(chosen) {
    this.chosen = chosen;
    const names = chosen.map(({ feed }) => feed.name).filter((name) => !this.prompts.has(name));
    await Promise.all(names.map(async (name) => this.prompts.set(name, await readPrompts(name))));
    this.draw();
  }

  draw() {
    const runs = this.chosen.map(({ feed, colour }) => ({
      name: feed.name,
      colour,
      samples: feed.details?.samples ?? [],
      loras: feed.details?.loras ?? [],
      prompts: this.prompts.get(feed.name) ?? [],
      best: feed.details?.held_out?.best.step ?? null,
    }));
    const shown = JSON.stringify(runs);
    if (shown === this.shown) return;
    this.shown = shown;
    this.grid = sampleGrid(runs);
    this.none.hidden = Boolean(this.grid.rows.length);
    this.table.root.hidden = !this.none.hidden;
    this.table.show(this.grid);
  }

  close() {
    this.table.close();
  }

  #loras(run) {
    return this.chosen.find(({ feed }) => feed.name === run)?.feed.details?.loras ?? [];
  }

  #actions(row, step) {
    return [downloadLink(row, step), useLoRAButton("Use LoRA", this.#loras(row.run), row.run, step)];
  }
}
