/** What charts can show of a run: which columns, on which scale, and the words for a step. */

import { shortNumber } from "./series.js";
import { smoothed } from "./smoothing.js";
import { bytes } from "./units.js";

/** Bounds of the noise levels that columns `noise_0` to `noise_3` tell of. */
export const NOISE_BANDS = ["0–25 %", "25–50 %", "50–75 %", "75–100 %"];

const DASHES = [[], [7, 3], [3, 3], [1, 3]];

/**
 * @typedef {Object} Curve
 * @property {(number|null)[]} values for each step of the columns
 * @property {string} [name] in the legend, where a run has several curves
 * @property {string} colour
 * @property {number} width
 * @property {number[]} [dash]
 * @property {boolean} [isRaw] drawn pale, with the range of every point, and the chart's range is that of these
 *
 * @typedef {Object} Look
 * @property {boolean} isLog
 * @property {boolean} showsRate also draws the learning rate, on a scale of its own
 * @property {boolean} fromZero
 * @property {number} base whose powers are round numbers of the scale
 * @property {(line: Line, isAlone: boolean, colours: string[]) => Curve[]} curves
 * @property {(columns: Object, at: number) => string} read what is said of a step
 * @property {(value: number) => string} label of the scale
 */

const LOSS = {
  isLog: false,
  showsRate: false,
  fromZero: false,
  base: 10,
  label: shortNumber,
  curves: ({ columns, colour }) => [
    { values: columns.loss, colour, width: 1, isRaw: true },
    { values: columns.smooth_loss, colour, width: 1.8 },
  ],
  read: (columns, at) => `${shortNumber(columns.loss[at])} (average ${shortNumber(columns.smooth_loss[at])})`,
};

const NOISE = {
  ...LOSS,
  curves: ({ columns, colour }, isAlone, colours) =>
    NOISE_BANDS.map((band, index) => ({
      values: smoothed(columns[`noise_${index}`]),
      name: `noise ${band}`,
      colour: isAlone ? colours[index] : colour,
      width: 1.6,
      dash: isAlone ? [] : DASHES[index],
    })),
  read: (columns, at) =>
    NOISE_BANDS.map((band, index) => [band, columns[`noise_${index}`][at]])
      .filter(([, value]) => value !== null)
      .map(([band, value]) => `${band}: ${shortNumber(value)}`)
      .join(", "),
};

const measured = (column, label, base = 10) => ({
  ...LOSS,
  fromZero: true,
  base,
  label,
  curves: ({ columns, colour }) => [{ values: columns[column], colour, width: 1.4 }],
  read: (columns, at) => label(columns[column][at]),
});

/** As tabs. */
export const CHART_VIEWS = [
  { title: "Loss", hint: "Loss (pale), and its moving average", look: LOSS },
  { title: "Log scale", hint: "Loss on a logarithmic scale", look: { ...LOSS, isLog: true } },
  { title: "Noise", hint: "Average loss of the samples of each quarter of the noise levels", look: NOISE },
  {
    title: "Rate",
    hint: "Loss with the learning rate (dashed)",
    look: {
      ...LOSS,
      showsRate: true,
      read: (columns, at) => `${LOSS.read(columns, at)}, rate ${shortNumber(columns.learning_rate[at])}`,
    },
  },
  {
    title: "Memory",
    hint: "The most memory of each step: on the device, or of the process where a CPU trains",
    look: measured("memory_bytes", (value) => (value === null ? "–" : bytes(value)), 1024),
  },
  {
    title: "Time",
    hint: "Seconds of each step",
    look: measured("step_seconds", (value) => `${shortNumber(value)} s`),
  },
];
