/** Whether the chosen runs have learned the sound of their clips: a sentence and a picture of each. */

import { button, element } from "./dom.js";
import { listen, voice, voicePictureUrl } from "./rest.js";

export class VoiceView {
  static title = "Voice";
  static hint = "Whether the sound was learned: samples beside the nearest clips";

  constructor() {
    this.rows = new Map();
    this.root = element("div", { class: "ltxv-voices" });
  }

  choose(chosen) {
    const shown = chosen.map(({ feed, colour }) => {
      const row = this.rows.get(feed.name) ?? new VoiceRow(feed.name);
      this.rows.set(feed.name, row);
      row.dot.style.background = colour;
      return row.root;
    });
    this.root.replaceChildren(...shown);
  }

  draw() {}
}

/** One run. */
class VoiceRow {
  constructor(run) {
    this.run = run;
    this.dot = element("span", { class: "ltxv-dot" });
    this.text = element("div", { class: "ltxv-message", role: "status" });
    this.picture = element("img", { class: "ltxv-voice-picture", hidden: true });
    this.button = button(
      "Listen",
      "Compare the sound of the first and last samples with that of the clips; takes up to a minute",
      () => this.#ask(listen, "Listening…"),
    );
    this.root = element(
      "div",
      { class: "ltxv-voice" },
      element("div", { class: "ltxv-row" }, this.dot, element("span", { class: "ltxv-name", title: run }, run), this.button),
      this.text,
      this.picture,
    );
    this.#ask(voice, "");
  }

  async #ask(request, meanwhile) {
    this.button.disabled = true;
    this.text.textContent = meanwhile;
    try {
      this.#show((await request(this.run)).voice);
    } catch (error) {
      this.text.textContent = error.message;
    }
    this.button.disabled = false;
  }

  #show(found) {
    this.picture.hidden = !found;
    this.text.textContent = found?.text ?? "Nobody has listened to this run yet.";
    if (!found) return;
    const before = found.before_step === null ? "" : `${found.before_step} and `;
    this.text.textContent += ` Samples of step ${before}${found.step}, ${found.clips} clips.`;
    this.picture.alt = found.text;
    this.picture.src = voicePictureUrl(this.run, `${found.step} ${found.distance}`);
  }
}
