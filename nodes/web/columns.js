/** The columns of a run, of equal length, as charts read them. Nothing here touches the page. */

const BANDS = 4;
const bands = (name) => Array.from({ length: BANDS }, (_, band) => `${name}_${band}`);
const noise = bands("noise");
const audioNoise = bands("audio_noise");

export const COLUMNS = [
  ...["step", "loss", "smooth_loss", "loss_low", "loss_high", "learning_rate", "grad_norm", "step_seconds"],
  "memory_bytes",
  ...noise,
  ...["video_loss", "audio_loss"],
  ...audioNoise,
];

const CSV_TITLES = Object.fromEntries([
  ...noise.map((name, band) => [name, `loss_noise_${25 * band}_percent`]),
  ...audioNoise.map((name, band) => [name, `audio_loss_noise_${25 * band}_percent`]),
]);

export function emptyColumns() {
  return Object.fromEntries(COLUMNS.map((name) => [name, []]));
}

/** The columns that GET .../metrics answers: those by noise level as columns of their own. */
export function flatColumns({ loss_by_noise: byNoise, audio_loss_by_noise: audioByNoise, ...columns }) {
  return { ...columns, ...named(noise, byNoise), ...named(audioNoise, audioByNoise) };
}

/** A row for the step that an event tells. */
export function rowOf(step) {
  const byNoise = { ...named(noise, step.loss_by_noise), ...named(audioNoise, step.audio_loss_by_noise) };
  return { ...step, loss_low: step.loss, loss_high: step.loss, ...byNoise };
}

/** Which stage of a progressive run a step belongs to, behind a comma; nothing of other runs. */
export function stageText(step) {
  return step?.stages > 1 ? `, stage ${step.stage} of ${step.stages}` : "";
}

/** What a run's best step means, and how much of its time measuring took. */
export function heldOutText(heldOut, columns) {
  if (!heldOut) return "";
  const seconds = columns.step_seconds.filter((value) => value !== null);
  const mean = seconds.reduce((sum, value) => sum + value, 0) / seconds.length;
  const training = mean * (columns.step.at(-1) ?? 0);
  const share = (100 * heldOut.seconds) / (heldOut.seconds + training);
  const cost = Number.isFinite(share) ? ` (measuring: ${share.toFixed(1)} % of the time)` : "";
  return heldOut.best.text + cost;
}

function named(names, values) {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? null]));
}

/**
 * A table for other programs, one row for each step of each run.
 *
 * @param {{name: string, columns: Object}[]} runs
 * @returns {string}
 */
export function csvOf(runs) {
  const names = COLUMNS.filter((name) => !["loss_low", "loss_high"].includes(name));
  const titles = names.map((name) => CSV_TITLES[name] ?? name);
  const rows = runs.flatMap(({ name, columns }) =>
    columns.step.map((_, at) => [quoted(name), ...names.map((column) => columns[column][at] ?? "")]),
  );
  return [["run", ...titles], ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

function quoted(text) {
  return `"${text.replaceAll('"', '""')}"`;
}
