/** What a LoRA changes as a heat map: a row for each block, a column for each kind of layer. */

import { element } from "./dom.js";
import { shortNumber } from "./series.js";

/** @param {Object} found see GET /ltxv_train/runs/{name}/loras/{file}/layers */
export function layerMap(file, { blocks, kinds, sizes, directions, others, rank, notes }) {
  const most = Math.max(...sizes.flat().map((size) => size ?? 0)) || 1;
  const cell = (row, column) => {
    const size = sizes[row][column];
    if (size === null) return element("td", {});
    const words = `block ${blocks[row]}, ${kinds[column]}: ${shortNumber(size)}, ${directions[row][column].toFixed(1)} of ${rank} directions`;
    const shown = element("td", { title: words, "aria-label": words });
    shown.style.setProperty("--ltxv-share", size / most);
    return shown;
  };
  const head = element("tr", {}, element("td"), ...kinds.map((kind) => element("th", { scope: "col" }, element("span", {}, kind))));
  const rows = blocks.map((block, row) =>
    element("tr", {}, element("th", { scope: "row" }, String(block)), ...kinds.map((_, column) => cell(row, column))),
  );
  return element(
    "figure",
    { class: "ltxv-layers" },
    element("figcaption", {}, `${file}: how much is added to each weight, by block; the fuller, the more`),
    ...notes.map((note) => element("div", { class: "ltxv-note" }, note)),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
    ...others.map(({ layer, size }) => element("div", {}, `${layer}: ${shortNumber(size)}`)),
  );
}
