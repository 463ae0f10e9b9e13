/** What can be done with a sample: its file downloaded, the LoRA that made it put into the graph. */

import { addLoader } from "./add_loader.js";
import { button, element } from "./dom.js";
import { act, sampleUrl } from "./rest.js";
import { loraOfStep } from "./samples.js";
import { tell } from "./toast.js";

/** A link that saves the video under a name that says what it is. */
export function downloadLink({ run, index, files }, step) {
  const file = files.get(step);
  const download = `${run}-${String(step).padStart(6, "0")}-${index + 1}.mp4`;
  return element(
    "a",
    { href: sampleUrl(run, file), download, class: "ltxv-button", title: `Download ${download}` },
    "Download",
  );
}

/**
 * @param {string} label
 * @param {Object[]} loras files of the run
 * @param {string} run
 * @param {number} step
 * @param {() => void} before called before the graph is changed
 */
export function useLoRAButton(label, loras, run, step, before = () => {}) {
  const lora = loraOfStep(loras, step);
  const made = button(label, "Use this step's LoRA: place a loader with it in the graph", async () => {
    before();
    try {
      tell("info", await addLoader(await act(run, "publish", { file: lora.file })));
    } catch (error) {
      tell("error", error.message);
    }
  });
  if (!lora) {
    made.disabled = true;
    made.title = step
      ? `No LoRA of step ${step} was saved: checkpoints.interval says at which steps it is`
      : "Step 0 is the model before training";
  }
  return made;
}
