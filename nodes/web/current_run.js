/** The run that was chosen last: its name and note, why it failed, the buttons that move it, Rename and Delete. */

import { actionButtons, SAID_MS } from "./actions.js";
import { heldOutText } from "./columns.js";
import { button, element } from "./dom.js";
import { NameForm } from "./name_form.js";
import { titleOf } from "./run_filter.js";
import * as rest from "./rest.js";
import { UploadQuestion } from "./upload.js";

export class CurrentRun {
  /**
   * @param {(name: string) => void} deleted called when a run was deleted
   */
  constructor(deleted) {
    this.deleted = deleted;
    this.name = null;
    this.feed = null;
    this.title = element("span", { class: "ltxv-name" });
    this.folder = element("span", { class: "ltxv-folder", title: "Its folder" });
    this.note = element("div", { class: "ltxv-note" });
    this.heldOut = element("div", { class: "ltxv-held-out" });
    this.message = element("div", { class: "ltxv-message", role: "status" });
    this.cause = element("div", { class: "ltxv-message" });
    this.cause.dataset.error = true;
    this.upload = new UploadQuestion();
    const { buttons, show } = actionButtons(
      () => this.name,
      (line, isError) => this.#say(line, isError),
    );
    this.showActions = show;
    this.remove = button("Delete …", "Delete the run: what goes and what stays is said before", () => this.#ask(true));
    this.question = element("div", { class: "ltxv-ask-delete", role: "alertdialog", "aria-label": "Delete the run" });
    const rename = button("Rename …", "Give the run another name here, and a note; its folder keeps its name", () =>
      this.#rename(),
    );
    this.report = element(
      "a",
      { class: "ltxv-button", title: "Save the run as one page to be shared: samples, curves, settings, machine" },
      "Report",
    );
    this.actions = element("div", { class: "ltxv-row ltxv-buttons" }, ...buttons, this.report, rename, this.remove);
    this.form = new NameForm((isOpen, hadFocus) => {
      this.actions.hidden = isOpen;
      if (hadFocus) rename.focus();
    });
    this.root = element(
      "section",
      { class: "ltxv-current", "aria-label": "Chosen run", hidden: true },
      this.title,
      this.folder,
      this.note,
      this.heldOut,
      this.cause,
      this.message,
      this.upload.root,
      this.actions,
      this.question,
      this.form.root,
    );
    this.#ask(false);
  }

  /**
   * @param {Object|null} run as the list has it
   * @param {RunFeed|null} feed of the same run
   */
  show(run, feed) {
    this.root.hidden = !run;
    if (run?.name !== this.name) {
      this.#ask(false);
      this.#say("", false);
      this.form.close();
    }
    this.run = run;
    this.name = run?.name ?? null;
    this.feed = feed;
    if (!run) return;
    this.report.href = rest.reportUrl(run.name);
    this.report.download = `${run.name}.html`;
    this.title.textContent = this.title.title = titleOf(run);
    this.folder.textContent = run.name;
    this.folder.hidden = !run.title;
    this.note.textContent = run.note;
    this.note.hidden = !run.note;
    this.heldOut.textContent = feed ? heldOutText(feed.details?.held_out, feed.columns) : "";
    this.heldOut.hidden = !this.heldOut.textContent;
    this.cause.textContent = run.cause ? `${run.cause.message}. ${run.cause.advice}` : "";
    this.upload.show(run);
    this.showActions(run);
    this.remove.hidden = ["running", "queued"].includes(run.status);
  }

  /** A line that is no error goes by itself. */
  #say(line, isError) {
    this.message.textContent = line;
    this.message.dataset.error = isError;
    clearTimeout(this.#endOfLine);
    if (!isError) this.#endOfLine = setTimeout(() => this.#say("", true), SAID_MS);
  }

  #endOfLine = null;

  #rename() {
    this.form.open(this.run, (words) => rest.act(this.name, "name", words));
  }

  #ask(isAsked) {
    this.question.hidden = !isAsked;
    this.actions.hidden = isAsked;
    this.question.replaceChildren();
    if (!isAsked) return;
    const keep = button("Keep", "Keep the run", () => this.#ask(false));
    this.question.append(
      element("div", {}, `Goes for good: ${this.#goes()}.`),
      element("div", {}, "Stays: the data set, other runs, and LoRAs that were copied to ComfyUI's model folders."),
      element(
        "div",
        { class: "ltxv-row ltxv-buttons" },
        button("Delete", `Delete ${this.name} for good`, () => this.#delete(), "ltxv-danger"),
        keep,
      ),
    );
    keep.focus();
  }

  #goes() {
    const { loras = [], samples = [] } = this.feed?.details ?? {};
    const videos = samples.reduce((sum, each) => sum + each.videos.length, 0);
    return [
      "the folder of the run with its checkpoints",
      `${counted(loras.length, "LoRA file")}`,
      `${counted(videos, "sample")}`,
      "metrics, configuration, name and note",
    ].join(", ");
  }

  async #delete() {
    const { name } = this;
    try {
      await rest.act(name, "delete");
      this.#ask(false);
      this.deleted(name);
    } catch (error) {
      this.#ask(false);
      this.#say(error.message, true);
    }
  }
}

function counted(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
