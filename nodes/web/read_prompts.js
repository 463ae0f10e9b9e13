/** The prompts that a run samples. */

import { configuration } from "./rest.js";
import { promptsOf } from "./samples.js";

/** One text for each video of a step; none where the run's configuration can't be read. */
export async function readPrompts(run) {
  const { options } = await configuration(run).catch(() => ({ options: {} }));
  return promptsOf(options);
}
