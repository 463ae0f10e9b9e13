/** Which runs a list shows, and in which order. Nothing here touches the page. */

export const ORDERS = {
  newest: "Newest first",
  oldest: "Oldest first",
  name: "By name",
  loss: "Lowest loss",
  heldOut: "Lowest held-out loss",
};

const COMPARE = {
  newest: (a, b) => compare(b.updated, a.updated) || compare(a.name, b.name),
  oldest: (a, b) => compare(a.created, b.created) || compare(a.name, b.name),
  name: (a, b) => titleOf(a).localeCompare(titleOf(b), undefined, { numeric: true }),
  heldOut: (a, b) => (a.held_out_loss ?? Infinity) - (b.held_out_loss ?? Infinity) || compare(a.name, b.name),
  loss: (a, b) => (a.loss ?? Infinity) - (b.loss ?? Infinity) || compare(a.name, b.name),
};

/**
 * @typedef {Object} Filter
 * @property {string} text words that the name, the folder's name or the note hold, all of them
 * @property {string} status "" for every one
 * @property {string} model "" for every one
 * @property {keyof ORDERS} order
 *
 * @param {Object[]} runs as GET /ltxv_train/runs answers
 * @param {Filter} filter
 * @returns {Object[]}
 */
export function shownRuns(runs, { text, status, model, order }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return runs
    .filter((run) => {
      const name = `${run.title} ${run.name} ${run.note}`.toLowerCase();
      const fits = words.every((word) => name.includes(word));
      return fits && (!status || run.status === status) && (!model || run.model === model);
    })
    .sort(COMPARE[order]);
}

/** What a run is called: by a person, or by its folder. */
export const titleOf = (run) => run.title || run.name;

/**
 * Runs by their data set, in the order in which data sets come first.
 *
 * @param {Object[]} runs
 * @returns {{name: string, runs: Object[]}[]} two data sets of one name are told apart by their fingerprints
 */
export function byDataSet(runs) {
  const groups = new Map();
  for (const run of runs) {
    if (!groups.has(run.data)) groups.set(run.data, []);
    groups.get(run.data).push(run);
  }
  const found = [...groups].map(([data, of]) => ({ name: lastPart(of[0].data_set ?? "") || "unknown data set", data, runs: of }));
  const count = (name) => found.filter((each) => each.name === name).length;
  return found.map(({ name, data, runs: of }) => ({ name: count(name) > 1 ? `${name} (${data.slice(0, 8)})` : name, runs: of }));
}

/** The file or folder that a path leads to, without the folders above it. */
export function lastPart(path) {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}

/** The values that runs have, each once, sorted. */
export function valuesOf(runs, field) {
  return [...new Set(runs.map((run) => run[field]).filter(Boolean))].sort();
}

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}
