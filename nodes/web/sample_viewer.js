/** Samples as large as the window: one video, the first and a later step over each other, or all side by side. */

import { button, element, tabs } from "./dom.js";
import { openDialog } from "./dialog.js";
import { sampleUrl } from "./rest.js";
import { downloadLink, useLoRAButton } from "./sample_actions.js";
import { SampleTable } from "./sample_table.js";
import { neighbour, stepsOf } from "./samples.js";
import { Wipe } from "./wipe.js";

const MODES = [
  { title: "Video", hint: "One sample, with sound where it has some" },
  { title: "Before and after", hint: "The first step and this one, with a border to move" },
  { title: "All steps", hint: "Every prompt and step side by side" },
];
const ARROWS = {
  ArrowRight: { right: 1 },
  ArrowLeft: { right: -1 },
  ArrowDown: { down: 1 },
  ArrowUp: { down: -1 },
};

/**
 * @param {{rows: Object[], steps: number[]}} grid see `sampleGrid`
 * @param {{row: number, step: number}} place which sample is shown first
 * @param {(run: string) => Object[]} lorasOf the LoRA files of a run
 */
export function openSamples(grid, place, lorasOf) {
  new SampleViewer(grid, place, lorasOf);
}

class SampleViewer {
  constructor(grid, place, lorasOf) {
    this.grid = grid;
    this.place = place;
    this.lorasOf = lorasOf;
    this.view = null;
    this.title = element("h2", { class: "ltxv-viewer-title", role: "status" });
    this.actions = element("div", { class: "ltxv-row" });
    this.body = element("div", { class: "ltxv-viewer-body" });
    this.tabs = tabs("How samples are shown", MODES, ({ title }) => this.#show(title));
    this.dialog = openDialog(
      "Samples",
      { class: "ltxv-viewer", tabIndex: -1, on: { close: () => this.view.close() } },
      element(
        "div",
        { class: "ltxv-row ltxv-viewer-head" },
        this.title,
        this.actions,
        button("Close", "Close (Escape)", () => this.dialog.close()),
      ),
      this.tabs,
      this.body,
      element("div", { class: "ltxv-hint" }, "Left and right: steps. Up and down: prompts. Escape: close."),
    );
    // Before the controls of a video take the arrows.
    this.dialog.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    this.#show("Video");
    this.dialog.focus();
  }

  #show(mode) {
    this.view?.close();
    this.mode = mode;
    if (mode === "Video") this.view = new OneVideo();
    else if (mode === "All steps") {
      this.view = new SampleTable(
        (place) => this.#open(place),
        () => [],
      );
      this.view.show(this.grid);
    } else this.view = new Wipe();
    this.body.replaceChildren(this.view.root);
    this.#draw();
  }

  #open(place) {
    this.place = place;
    this.tabs.firstElementChild.click();
  }

  #draw() {
    const { row, step } = this.place;
    const shown = this.grid.rows[row];
    const urlOf = (each) => sampleUrl(shown.run, shown.files.get(each));
    const name = shown.prompt || `prompt ${shown.index + 1}`;
    this.title.textContent = `${name} · step ${step} · ${shown.run}`;
    this.title.title = this.title.textContent;
    this.actions.replaceChildren(
      downloadLink(shown, step),
      useLoRAButton("Use this step's LoRA", this.lorasOf(shown.run), shown.run, step, () => this.dialog.close()),
    );
    if (!this.dialog.contains(document.activeElement)) this.dialog.focus(); // a button that had it is gone
    if (this.mode === "Video") this.view.show(urlOf(step), name);
    else if (this.mode === "All steps") this.view.focus(this.place);
    else {
      const [first] = stepsOf(shown);
      this.view.show({ url: urlOf(first), label: `step ${first}` }, { url: urlOf(step), label: `step ${step}` });
    }
  }

  #key(event) {
    const to = ARROWS[event.key];
    const { target } = event;
    const hasOwnArrows = target.matches("input, select, [role=tab]");
    if (!to || hasOwnArrows || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.place = neighbour(this.grid, this.place, to);
    this.#draw();
  }
}

/** One sample with the browser's own controls; those for sound show where the file has some. */
class OneVideo {
  constructor() {
    this.video = element("video", { class: "ltxv-one", controls: true, loop: true, playsInline: true, tabIndex: 0 });
    this.root = element("div", { class: "ltxv-one-view" }, this.video);
  }

  show(url, name) {
    this.video.setAttribute("aria-label", name);
    this.video.src = url;
    this.video.play().catch(() => {});
  }

  close() {
    this.video.pause();
  }
}
