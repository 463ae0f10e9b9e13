/** A table of samples: prompts down, steps across. What is seen is loaded and plays together. */

import { button, element } from "./dom.js";
import { playBar } from "./play_bar.js";
import { sampleUrl } from "./rest.js";
import { VideoGroup } from "./video_group.js";

export class SampleTable {
  /**
   * @param {(place: {row: number, step: number}) => void} open called with a sample that is clicked
   * @param {(place: {row: number, step: number}) => Node[]} actions what stands below a sample
   */
  constructor(open, actions) {
    this.open = open;
    this.actions = actions;
    this.group = new VideoGroup();
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#see(target, isIntersecting);
    });
    this.table = element("table", { class: "ltxv-sample-table" });
    this.root = element(
      "div",
      { class: "ltxv-samples" },
      playBar(this.group),
      element("div", { class: "ltxv-sample-scroll" }, this.table),
    );
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.group.play();
  }

  /** Shows a grid, the newest step in view. */
  show({ rows, steps }) {
    this.seen.disconnect();
    this.group.take([]);
    const heads = steps.map((step) => element("th", { scope: "col" }, `step ${step}`));
    this.table.replaceChildren(
      element("thead", {}, element("tr", {}, element("td"), ...heads)),
      element("tbody", {}, ...rows.map((row, index) => this.#row(row, index, steps))),
    );
    this.#ratio = null;
    this.#showNewest();
  }

  /** Moves the keyboard to a sample. */
  focus({ row, step }) {
    this.table.querySelector(`[data-row="${row}"][data-step="${step}"]`)?.focus();
  }

  close() {
    this.seen.disconnect();
    this.group.close();
  }

  #ratio = null;

  #showNewest() {
    const { parentElement: scroll } = this.table;
    scroll.scrollLeft = scroll.scrollWidth;
  }

  /** Cells whose video isn't loaded yet are as wide as the first one that is. */
  #setRatio({ videoWidth, videoHeight }) {
    if (this.#ratio || !videoHeight) return;
    this.#ratio = videoWidth / videoHeight;
    this.table.style.setProperty("--ltxv-ratio", this.#ratio);
    this.#showNewest();
  }

  #row(row, index, steps) {
    const dot = element("span", { class: "ltxv-dot" });
    dot.style.background = row.colour;
    const name = row.prompt || `prompt ${row.index + 1}`;
    return element(
      "tr",
      {},
      element("th", { scope: "row", title: `${row.run}\n${name}` }, dot, " ", element("span", {}, name)),
      ...steps.map((step) => element("td", {}, ...(row.files.has(step) ? this.#cell(row, index, step) : []))),
    );
  }

  #cell(row, index, step) {
    const video = element("video", {
      class: "ltxv-video",
      muted: true,
      playsInline: true,
      preload: "none",
      tabIndex: -1,
      on: { loadedmetadata: ({ target }) => this.#setRatio(target) },
    });
    video.dataset.url = sampleUrl(row.run, row.files.get(step));
    const place = { row: index, step };
    const opener = button("", "Open large", () => this.open(place), "ltxv-cell");
    const isBest = step === row.best;
    const name = `${row.run}, ${row.prompt || `prompt ${row.index + 1}`}, step ${step}`;
    opener.setAttribute("aria-label", `${name}${isBest ? ", best held-out loss" : ""}: open large`);
    if (isBest) opener.title = "Best held-out loss. Open large";
    opener.classList.toggle("ltxv-best", isBest);
    Object.assign(opener.dataset, place);
    opener.append(video);
    this.seen.observe(video);
    return [opener, element("div", { class: "ltxv-row ltxv-cell-actions" }, ...this.actions(place))];
  }

  #see(video, isSeen) {
    if (isSeen) {
      video.preload = "auto";
      if (!video.src) video.src = video.dataset.url;
      this.group.add(video);
    } else this.group.remove(video);
  }
}
