/** The buttons that move a run, and which of them a state allows. */

import { act } from "./rest.js";
import { button } from "./dom.js";

/** How long it is said what an action does. */
export const SAID_MS = 6000;

const ACTIONS = [
  {
    action: "pause",
    label: "Pause",
    title: "Write a checkpoint and free the memory; Resume continues the run",
    fits: (run) => run.here && ["running", "queued"].includes(run.status),
  },
  {
    action: "resume",
    label: "Resume",
    title: "Go on from where it was last saved, in the background",
    fits: (run) => ["paused", "stopped"].includes(run.status) || (run.status === "failed" && hasBegun(run)),
  },
  {
    action: "stop",
    label: "Stop",
    title: "Write a checkpoint and end; the LoRA of this step is kept",
    fits: (run) => run.here && ["running", "queued", "paused"].includes(run.status),
  },
  {
    action: "sample",
    label: "Sample now",
    title: "Make validation samples after this step",
    fits: (run) => run.here && run.status === "running",
  },
  {
    action: "checkpoint",
    label: "Checkpoint now",
    title: "Write a checkpoint and a LoRA after this step",
    fits: (run) => run.here && run.status === "running",
  },
];

/** A run that failed before its first step has nothing to resume from: its graph is queued again. */
const hasBegun = (run) => run.step > run.first_step;

const IN_WORDS = {
  pause: "pausing: the checkpoint is written …",
  resume: "resuming …",
  stop: "stopping: the checkpoint is written …",
  sample: "samples follow after this step",
  checkpoint: "a checkpoint follows after this step",
};

/**
 * Buttons for a run.
 *
 * @param {() => string|null} nameOf the run's name at the time of the click
 * @param {(line: string, isError: boolean) => void} say
 * @returns {{buttons: HTMLElement[], show: (run: object|null) => void}}
 */
export function actionButtons(nameOf, say) {
  const buttons = ACTIONS.map(({ action, label, title }) => {
    const made = button(label, title, async () => {
      made.disabled = true;
      say(IN_WORDS[action], false);
      try {
        await act(nameOf(), action);
      } catch (error) {
        say(error.message, true);
      } finally {
        made.disabled = false;
      }
    });
    made.dataset.action = action;
    made.hidden = true;
    return made;
  });
  const show = (run) => {
    ACTIONS.forEach(({ fits }, index) => {
      buttons[index].hidden = !run || !fits(run);
    });
  };
  return { buttons, show };
}
