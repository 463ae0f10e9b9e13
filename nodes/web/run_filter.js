/** Which runs a list shows, and in which order. Nothing here touches the page. */

export const ORDERS = { newest: "Newest first", oldest: "Oldest first", name: "By name", loss: "Lowest loss" };

const COMPARE = {
  newest: (a, b) => compare(b.updated, a.updated) || compare(a.name, b.name),
  oldest: (a, b) => compare(a.created, b.created) || compare(a.name, b.name),
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  loss: (a, b) => (a.loss ?? Infinity) - (b.loss ?? Infinity) || compare(a.name, b.name),
};

/**
 * @typedef {Object} Filter
 * @property {string} text words that the name holds, all of them
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
      const name = run.name.toLowerCase();
      const fits = words.every((word) => name.includes(word));
      return fits && (!status || run.status === status) && (!model || run.model === model);
    })
    .sort(COMPARE[order]);
}

/** The values that runs have, each once, sorted. */
export function valuesOf(runs, field) {
  return [...new Set(runs.map((run) => run[field]).filter(Boolean))].sort();
}

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}
