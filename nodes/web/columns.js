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
  "loss_by_data_set", // in each row the losses of all data sets of the run
];

const CSV_TITLES = Object.fromEntries([
  ...noise.map((name, band) => [name, `loss_noise_${25 * band}_percent`]),
  ...audioNoise.map((name, band) => [name, `audio_loss_noise_${25 * band}_percent`]),
]);

export function emptyColumns() {
  return Object.fromEntries(COLUMNS.map((name) => [name, []]));
}

/** The columns that GET .../metrics answers: those by noise level as columns of their own, those by data set as one. */
export function flatColumns(answer) {
  const { loss_by_noise: byNoise, audio_loss_by_noise: audioByNoise, loss_by_data_set: bySet, ...columns } = answer;
  const rows = columns.step.map((_, at) => bySet.map((losses) => losses[at]));
  return { ...columns, ...named(noise, byNoise), ...named(audioNoise, audioByNoise), loss_by_data_set: rows };
}

/** How many data sets the losses of a run are of; of a run with one, 0. */
export function dataSetsOf(columns) {
  return columns.loss_by_data_set.reduce((most, losses) => Math.max(most, losses.length), 0);
}

/** A row for the step that an event tells. */
export function rowOf(step) {
  const byNoise = { ...named(noise, step.loss_by_noise), ...named(audioNoise, step.audio_loss_by_noise) };
  const bySet = step.loss_by_data_set ?? [];
  return { ...step, loss_low: step.loss, loss_high: step.loss, ...byNoise, loss_by_data_set: bySet };
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
  const names = COLUMNS.filter((name) => !["loss_low", "loss_high", "loss_by_data_set"].includes(name));
  const titles = names.map((name) => CSV_TITLES[name] ?? name);
  const dataSets = Array.from({ length: Math.max(0, ...runs.map(({ columns }) => dataSetsOf(columns))) }, (_, index) => index);
  const rows = runs.flatMap(({ name, columns }) =>
    columns.step.map((_, at) => [
      quoted(name),
      ...names.map((column) => columns[column][at] ?? ""),
      ...dataSets.map((index) => columns.loss_by_data_set[at][index] ?? ""),
    ]),
  );
  return [["run", ...titles, ...dataSets.map((index) => `loss_data_set_${index + 1}`)], ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

function quoted(text) {
  return `"${text.replaceAll('"', '""')}"`;
}
