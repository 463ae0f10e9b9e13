/** Charts as files: a picture, and a table of every step. */

import { paintChart, themeOf } from "./chart.js";
import { csvOf, flatColumns } from "./columns.js";
import { metrics } from "./rest.js";
import { saveFile } from "./save_file.js";
import { tell } from "./toast.js";

const SIZE = { width: 1000, height: 560 };
const SHARPNESS = 2;
const LINE_PX = 20;

/**
 * Saves what a chart shows as a picture, with the names of the runs below it.
 *
 * @param {string} title
 * @param {Line[]} lines
 * @param {Shown} look
 */
export function savePng(title, lines, look) {
  const canvas = document.createElement("canvas");
  const { width } = SIZE;
  const height = SIZE.height + LINE_PX * (lines.length + 1);
  [canvas.width, canvas.height] = [width * SHARPNESS, height * SHARPNESS];
  const context = canvas.getContext("2d");
  context.scale(SHARPNESS, SHARPNESS);
  const theme = themeOf(document.querySelector(".ltxv"));
  context.fillStyle = theme.ground;
  context.fillRect(0, 0, width, height);
  paintChart(context, theme, { left: 0, top: 0, ...SIZE }, lines, { ...look, pointer: null });
  context.font = "14px sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  lines.forEach(({ label, colour }, index) => {
    const y = SIZE.height + LINE_PX * (index + 0.5);
    context.fillStyle = colour;
    context.fillRect(20, y - 5, 10, 10);
    context.fillStyle = theme.text;
    context.fillText(label, 38, y, width - 60);
  });
  canvas.toBlob((blob) => saveFile(`${title.toLowerCase().replaceAll(" ", "-")}-${nameOf(lines)}.png`, blob));
}

/** Saves every step of the runs as a table. */
export async function saveCsv(lines) {
  try {
    const runs = await Promise.all(
      lines.map(async ({ label }) => ({ name: label, columns: flatColumns((await metrics(label, 0)).columns) })),
    );
    saveFile(`${nameOf(lines)}.csv`, new Blob([csvOf(runs)], { type: "text/csv" }));
  } catch (error) {
    tell("error", error.message);
  }
}

function nameOf(lines) {
  return lines.length === 1 ? lines[0].label : `${lines.length}-runs`;
}
