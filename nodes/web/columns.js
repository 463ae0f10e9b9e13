/** The columns of a run, of equal length, as charts read them. Nothing here touches the page. */

const BANDS = 4;
const noise = Array.from({ length: BANDS }, (_, band) => `noise_${band}`);

export const COLUMNS = [
  ...["step", "loss", "smooth_loss", "loss_low", "loss_high", "learning_rate", "grad_norm", "step_seconds"],
  "memory_bytes",
  ...noise,
];

export function emptyColumns() {
  return Object.fromEntries(COLUMNS.map((name) => [name, []]));
}

/** The columns that GET .../metrics answers: those by noise level as columns of their own. */
export function flatColumns({ loss_by_noise: byNoise, ...columns }) {
  return { ...columns, ...Object.fromEntries(noise.map((name, band) => [name, byNoise[band]])) };
}

/** A row for the step that an event tells. */
export function rowOf(step) {
  const byNoise = noise.map((name, band) => [name, step.loss_by_noise[band] ?? null]);
  return { ...step, loss_low: step.loss, loss_high: step.loss, ...Object.fromEntries(byNoise) };
}

/**
 * A table for other programs, one row for each step of each run.
 *
 * @param {{name: string, columns: Object}[]} runs
 * @returns {string}
 */
export function csvOf(runs) {
  const names = COLUMNS.filter((name) => !["loss_low", "loss_high"].includes(name));
  const titles = names.map((name) => (noise.includes(name) ? `loss_noise_${25 * noise.indexOf(name)}_percent` : name));
  const rows = runs.flatMap(({ name, columns }) =>
    columns.step.map((_, at) => [quoted(name), ...names.map((column) => columns[column][at] ?? "")]),
  );
  return [["run", ...titles], ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

function quoted(text) {
  return `"${text.replaceAll('"', '""')}"`;
}
