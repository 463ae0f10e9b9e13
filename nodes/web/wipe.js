/** Two videos over each other, and a slider that moves the border between them. */

import { element } from "./dom.js";
import { playBar } from "./play_bar.js";
import { VideoGroup } from "./video_group.js";

export class Wipe {
  constructor() {
    this.group = new VideoGroup();
    const video = () => element("video", { muted: true, playsInline: true, preload: "auto" });
    [this.before, this.after] = [video(), video()];
    this.after.className = "ltxv-after";
    this.labels = [element("span", { class: "ltxv-wipe-before" }), element("span", { class: "ltxv-wipe-after" })];
    this.slider = element("input", {
      type: "range",
      class: "ltxv-wipe-slider",
      min: 0,
      max: 100,
      step: 0.5,
      value: 50,
      "aria-label": "Border between before and after",
      on: { input: () => this.#move() },
    });
    this.stage = element(
      "div",
      { class: "ltxv-wipe" },
      this.before,
      this.after,
      element("div", { class: "ltxv-wipe-line" }),
      ...this.labels,
      this.slider,
    );
    this.root = element("div", { class: "ltxv-wipe-view" }, this.stage, playBar(this.group));
    this.before.addEventListener("loadedmetadata", () => {
      this.stage.style.setProperty("--ltxv-ratio", this.before.videoWidth / this.before.videoHeight);
    });
    this.group.take([this.before, this.after]);
    this.#move();
  }

  /** @param {{url: string, label: string}} before @param {{url: string, label: string}} after */
  show(before, after) {
    [before, after].forEach(({ url, label }, index) => {
      const video = [this.before, this.after][index];
      this.labels[index].textContent = label;
      if (video.dataset.url === url) return;
      video.dataset.url = url;
      video.src = url;
    });
    this.group.play();
  }

  close() {
    this.group.close();
  }

  #move() {
    this.stage.style.setProperty("--ltxv-border", `${this.slider.value}%`);
  }
}
