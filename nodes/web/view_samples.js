/** The samples of the chosen runs: a row for each step, the newest first. */

import { element } from "./dom.js";
import { sampleUrl } from "./rest.js";

export class SamplesView {
  static title = "Samples";
  static hint = "Samples by step";

  constructor() {
    this.chosen = [];
    this.shown = "";
    this.root = element("div", { class: "ltxv-samples" });
    // Only what is seen is loaded and played.
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) play(target, isIntersecting);
    });
  }

  choose(chosen) {
    this.chosen = chosen;
  }

  draw() {
    const runs = this.chosen.map(({ feed, colour }) => [
      feed.name,
      colour,
      feed.details?.samples ?? [],
    ]);
    const shown = JSON.stringify(runs);
    if (shown === this.shown) return;
    this.shown = shown;
    this.seen.disconnect();
    const steps = new Set(runs.flatMap(([, , samples]) => samples.map(({ step }) => step)));
    const rows = [...steps].sort((a, b) => b - a).map((step) => this.#row(step, runs));
    if (rows.length) this.root.replaceChildren(...rows);
    else this.root.textContent = "No samples: write prompts into Configure LTXV Validation.";
  }

  close() {
    this.seen.disconnect();
  }

  #row(step, runs) {
    const cells = runs.flatMap(([name, colour, samples]) => {
      const found = samples.find((each) => each.step === step);
      return (found?.videos ?? []).map((file) => this.#video(name, colour, file));
    });
    return element(
      "section",
      {},
      element("h4", {}, `step ${step}`),
      element("div", { class: "ltxv-grid" }, ...cells),
    );
  }

  #video(name, colour, file) {
    const video = element("video", {
      class: "ltxv-video",
      muted: true,
      loop: true,
      playsInline: true,
      preload: "none",
      controls: false,
      title: `${name}: ${file}`,
    });
    video.dataset.url = sampleUrl(name, file);
    video.style.borderColor = colour;
    this.seen.observe(video);
    return video;
  }
}

function play(video, isSeen) {
  if (!isSeen) video.pause();
  else {
    if (!video.src) video.src = video.dataset.url;
    video.play().catch(() => {});
  }
}
