/** Samples of runs as a grid: a row for each prompt, a column for each step. Nothing here touches the page. */

/**
 * @typedef {Object} SampleRow
 * @property {string} run
 * @property {string} colour of the run
 * @property {number} index which video of a step
 * @property {string} prompt "" where it isn't known
 * @property {Map<number, string>} files by step
 * @property {number|null} best the step with the best held-out loss
 *
 * @typedef {{row: number, step: number}} Place of a sample in a grid
 */

/**
 * The same prompt of several runs is in rows below each other.
 *
 * @param {{name: string, colour: string, samples: Object[], prompts: string[], best: number|null}[]} runs `samples` as
 *   GET /ltxv_train/runs/{name} answers, `prompts` with one text for each video of a step
 * @returns {{rows: SampleRow[], steps: number[]}}
 */
export function sampleGrid(runs) {
  const rows = runs.flatMap(({ name, colour, samples, prompts, best = null }) => {
    const count = Math.max(0, ...samples.map(({ videos }) => videos.length));
    return Array.from({ length: count }, (_, index) => {
      const made = samples.filter(({ videos }) => videos[index]);
      const files = new Map(made.map(({ step, videos }) => [step, videos[index]]));
      return { run: name, colour, index, prompt: prompts[index] ?? "", files, best };
    });
  });
  rows.sort((a, b) => a.index - b.index);
  const steps = [...new Set(rows.flatMap(({ files }) => [...files.keys()]))].sort((a, b) => a - b);
  return { rows, steps };
}

/**
 * Where an arrow key leads: the next step of the same prompt, or the next prompt at the same step. A prompt
 * without a sample of that step shows the step before it.
 *
 * @returns {Place} the same one at an edge
 */
export function neighbour({ rows }, { row, step }, { right = 0, down = 0 }) {
  const to = clamp(row + down, rows.length);
  const steps = stepsOf(rows[to]);
  const at = steps.findLastIndex((each) => each <= step);
  return { row: to, step: steps[clamp(at + right, steps.length)] };
}

/** The steps that a row has samples of, ascending. */
export function stepsOf({ files }) {
  return [...files.keys()].sort((a, b) => a - b);
}

/** The LoRA that made the samples of a step: the averaged one, where an average is kept. */
export function loraOfStep(loras, step) {
  return loras.filter((each) => each.step === step).sort((a, b) => b.is_average - a.is_average)[0] ?? null;
}

/** One text for each video of a step, from the options of a run. */
export function promptsOf(options) {
  const each = options["validation.videos_per_prompt"] ?? 1;
  return (options["validation.prompts"] ?? []).flatMap((prompt) => Array(each).fill(prompt));
}

function clamp(index, count) {
  return Math.max(0, Math.min(count - 1, index));
}
