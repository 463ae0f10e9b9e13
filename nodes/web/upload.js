/** The upload that a run asks for: what would go where, and the answer. */

import { button, element } from "./dom.js";
import * as rest from "./rest.js";

const ANSWERS = [
  ["once", "Allow once", "Upload this run now"],
  ["always", "Always for this repository", "Upload this run now, and others to this repository"],
  ["no", "No", "Upload nothing of this run"],
];

/** Asks whether a run may be uploaded; hidden where it asks for nothing. */
export class UploadQuestion {
  /** @param {(height: number) => void} resized called when it appears or goes */
  constructor(resized = () => {}) {
    this.resized = resized;
    this.root = element("div", { class: "ltxv-upload", hidden: true, role: "alert" });
    this.key = null;
  }

  /** Looks at a run again when it has come to its end. */
  async show(run) {
    const key = run?.status === "finished" ? `${run.name} ${run.ended}` : null;
    if (key === this.key) return;
    this.key = key;
    this.#draw(null);
    if (!key) return;
    const { upload } = await rest.upload(run.name).catch(() => ({ upload: null }));
    if (this.key === key) this.#draw(upload, run.name);
  }

  #draw(upload, name) {
    const wasHidden = this.root.hidden;
    this.root.hidden = upload?.status !== "waiting";
    if (!this.root.hidden) this.root.replaceChildren(...this.#question(upload, name));
    if (wasHidden !== this.root.hidden) this.resized();
  }

  #question(upload, name) {
    const kind = upload.private ? "private" : "public";
    const says = element(
      "div",
      { class: "ltxv-message" },
      `This run asks to be uploaded to ${upload.repository} (${kind}) at the Hugging Face Hub, `,
      upload.account ? `with ${upload.account}: ` : "and nobody is logged in (hf auth login): ",
      upload.files.join(", "),
    );
    const buttons = element("div", { class: "ltxv-row ltxv-buttons" });
    const send = async (event, answer) => {
      if (!event.isTrusted) return;
      buttons.hidden = true;
      if (answer !== "no") says.textContent = `uploading to ${upload.repository} …`;
      const { repository } = upload;
      try {
        const answered = await rest.act(name, "upload", { answer, repository, private: upload.private });
        says.textContent = answered.upload?.commit ? `Uploaded: ${answered.upload.commit}` : "";
        if (answer === "no") this.#draw(null);
      } catch (error) {
        buttons.hidden = false;
        says.textContent = error.message;
      }
    };
    buttons.append(
      ...ANSWERS.map(([answer, label, hint]) => {
        const made = button(label, hint, (event) => send(event, answer));
        made.dataset.answer = answer;
        return made;
      }),
    );
    return [says, buttons];
  }
}
