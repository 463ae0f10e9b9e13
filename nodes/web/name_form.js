/** A person's name of a run, and a note. */

import { button, element } from "./dom.js";

const MOST_TITLE = 120;
const MOST_NOTE = 1000;

export class NameForm {
  /** @param {(isOpen: boolean, hadFocus: boolean) => void} opened called when it opens and closes */
  constructor(opened) {
    this.opened = opened;
    const keydown = (event) => {
      event.stopPropagation(); // ComfyUI's own keys
      if (event.key === "Escape") this.close();
    };
    this.title = element("input", {
      type: "text",
      class: "ltxv-search",
      maxLength: MOST_TITLE,
      "aria-label": "Name of the run",
      on: { keydown },
    });
    this.note = element("textarea", {
      class: "ltxv-search",
      maxLength: MOST_NOTE,
      placeholder: "Note",
      "aria-label": "Note on the run",
      on: { keydown },
    });
    this.message = element("div", { class: "ltxv-message", role: "alert" });
    this.message.dataset.error = true;
    this.root = element(
      "form",
      { class: "ltxv-name-form", hidden: true, "aria-label": "Rename the run", on: { submit: (event) => this.#send(event) } },
      this.title,
      this.note,
      this.message,
      element(
        "div",
        { class: "ltxv-row ltxv-buttons" },
        element("button", { type: "submit", class: "ltxv-button", title: "Keep name and note with the run" }, "Save"),
        button("Cancel", "Change nothing", () => this.close()),
      ),
    );
  }

  /**
   * @param {Object} run
   * @param {(words: {title: string, note: string}) => Promise<*>} save
   */
  open(run, save) {
    this.save = save;
    this.title.value = run.title;
    this.title.placeholder = run.name;
    this.note.value = run.note;
    this.message.textContent = "";
    this.root.hidden = false;
    this.opened(true, false);
    this.title.focus();
  }

  close() {
    if (this.root.hidden) return;
    const hadFocus = this.root.contains(document.activeElement);
    this.root.hidden = true;
    this.opened(false, hadFocus);
  }

  async #send(event) {
    event.preventDefault();
    try {
      await this.save({ title: this.title.value, note: this.note.value });
      this.close();
    } catch (error) {
      this.message.textContent = error.message;
    }
  }
}
