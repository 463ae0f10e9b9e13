/** What charts can show of a run: which columns, on which scale, and the words for a step. */

import { dataSetsOf } from "./columns.js";
import { shortNumber } from "./series.js";
import { smoothed } from "./smoothing.js";
import { bytes } from "./units.js";

/** Bounds of the noise levels that columns `noise_0` to `noise_3`, and `audio_noise_0` to `audio_noise_3`, tell of. */
export const NOISE_BANDS = ["0–25 %", "25–50 %", "50–75 %", "75–100 %"];

const DASHES = [[], [7, 3], [3, 3], [1, 3]];

/** What of a run with sound has a loss of its own. */
const STREAMS = ["video", "audio"];

/**
 * @typedef {Object} Curve
 * @property {(number|null)[]} values for each step of the columns, or of its own
 * @property {number[]} [steps] its own
 * @property {number} [marked] the step with a ring
 * @property {string} [name] in the legend, where a run has several curves
 * @property {string} colour
 * @property {number} width
 * @property {number[]} [dash]
 * @property {boolean} [isRaw] drawn pale, with the range of every point
 * @property {boolean} [isAverage] of a raw curve: it doesn't count for the chart's range
 *
 * @typedef {Object} Look
 * @property {boolean} isLog
 * @property {boolean} showsRate also draws the learning rate, on a scale of its own
 * @property {boolean} fromZero
 * @property {boolean} [isWhole] shows every value: none is an outlier
 * @property {number} base whose powers are round numbers of the scale
 * @property {(line: Line, isAlone: boolean, colours: string[]) => Curve[]} curves
 * @property {(line: Line) => number[]} stepsOf that the mouse finds
 * @property {(columns: Object, at: number, line: Line) => string} read what is said of a step
 * @property {(value: number) => string} label of the scale
 */

const LOSS = {
  isLog: false,
  showsRate: false,
  fromZero: false,
  base: 10,
  label: shortNumber,
  stepsOf: ({ columns }) => columns.step,
  curves: ({ columns, colour }, isAlone, colours) => [
    { values: columns.loss, colour, width: 1, isRaw: true },
    { values: columns.smooth_loss, colour, width: 1.8, isAverage: true },
    ...STREAMS.filter((name) => isRecorded(columns, name)).map((name, index) => ({
      values: smoothed(columns[`${name}_loss`]),
      name,
      colour: isAlone ? colours[index + 1] : colour,
      width: 1.6,
      dash: isAlone ? [] : DASHES[index + 1],
    })),
  ],
  read: (columns, at) =>
    [
      `${shortNumber(columns.loss[at])} (average ${shortNumber(columns.smooth_loss[at])})`,
      ...STREAMS.filter((name) => isRecorded(columns, name)).map(
        (name) => `${name} ${shortNumber(columns[`${name}_loss`][at])}`,
      ),
    ].join(", "),
};

function isRecorded(columns, name) {
  return columns[`${name}_loss`].some((value) => value !== null);
}

const NOISE = {
  ...LOSS,
  curves: ({ columns, colour }, isAlone, colours) =>
    noiseColumns(columns).flatMap(({ stream, prefix, width }) =>
      NOISE_BANDS.map((band, index) => ({
        values: smoothed(columns[`${prefix}${index}`]),
        name: `${stream} ${band}`,
        colour: isAlone ? colours[index] : colour,
        width,
        dash: isAlone ? [] : DASHES[index],
      })),
    ),
  read: (columns, at) =>
    noiseColumns(columns)
      .flatMap(({ stream, prefix }) =>
        NOISE_BANDS.map((band, index) => [`${stream} ${band}`, columns[`${prefix}${index}`][at]]),
      )
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name}: ${shortNumber(value)}`)
      .join(", "),
};

/** Names of the columns by noise level, and how they are told apart: those of the sound are thin lines. */
function noiseColumns(columns) {
  if (!isRecorded(columns, "audio")) return [{ stream: "noise", prefix: "noise_", width: 1.6 }];
  return [
    { stream: "video", prefix: "noise_", width: 1.6 },
    { stream: "audio", prefix: "audio_noise_", width: 0.8 },
  ];
}

const DATA_SETS = {
  ...LOSS,
  curves: ({ columns, colour, dataSets }, isAlone, colours) =>
    dataSetNames(columns, dataSets).map((name, index) => ({
      values: untilLast(columns.loss_by_data_set.map((losses) => losses[index] ?? null)),
      name,
      width: 1.6,
      ...lookOf(index, colour, isAlone, colours),
    })),
  read: (columns, at, { dataSets }) =>
    dataSetNames(columns, dataSets)
      .map((name, index) => [name, columns.loss_by_data_set[at][index] ?? null])
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name}: ${shortNumber(value)}`)
      .join(", "),
};

function dataSetNames(columns, dataSets) {
  return Array.from({ length: dataSetsOf(columns) }, (_, index) => dataSets?.[index] ?? `data set ${index + 1}`);
}

/** Of a run that is shown alone each curve has its colour, of several runs its dashes. */
function lookOf(index, colour, isAlone, colours) {
  const turn = isAlone ? Math.floor(index / colours.length) : index;
  return { colour: isAlone ? colours[index % colours.length] : colour, dash: DASHES[turn % DASHES.length] };
}

/** The average, which ends with the last value: a data set may be of earlier stages alone. */
function untilLast(values) {
  const last = values.findLastIndex((value) => value !== null);
  return smoothed(values).map((average, at) => (at <= last ? average : null));
}

const HELD_OUT = {
  ...LOSS,
  isWhole: true,
  stepsOf: ({ heldOut }) => heldOut?.steps ?? [],
  curves: ({ heldOut, dataSets, colour }, isAlone, colours) => {
    if (!heldOut) return [];
    const { steps, loss, average_loss: average, best } = heldOut;
    const weights = { steps, values: loss, colour, width: 1.8, marked: best.step };
    const dash = isAlone ? [] : DASHES[1];
    const ofAverage = { steps, values: average, name: "moving average", colour: isAlone ? colours[1] : colour, width: 1.6, dash };
    const ofSets = heldOut.by_data_set ?? {};
    const places = [...new Set([...(dataSets ?? []), ...Object.keys(ofSets)])];
    const bySet = Object.entries(ofSets).map(([name, values], index) => ({
      ...{ steps, values, name, width: 1.2 },
      ...lookOf(places.indexOf(name), colour, isAlone, colours),
      dash: DASHES[1 + (isAlone ? 0 : index % 3)],
    }));
    if (bySet.length) weights.name = "all held-out clips";
    return [weights, ...(average.every((value) => value === null) ? [] : [ofAverage]), ...bySet];
  },
  read: (columns, at, { heldOut }) =>
    [
      `held-out loss ${shortNumber(heldOut.loss[at])}${heldOut.steps[at] === heldOut.best.step ? " (best)" : ""}`,
      ...Object.entries(heldOut.by_data_set ?? {}).map(([name, values]) => `${name}: ${shortNumber(values[at])}`),
    ].join(", "),
};

/** How far predictions are from the base's; of runs that measured it. */
const MOVED = {
  ...LOSS,
  isWhole: true,
  fromZero: true,
  label: percent,
  stepsOf: ({ heldOut }) => (isMoved(heldOut) ? heldOut.steps : []),
  curves: ({ heldOut, colour }, isAlone, colours) => {
    if (!isMoved(heldOut)) return [];
    const { steps, moved, moved_without_prompt: without } = heldOut;
    const dash = isAlone ? [] : DASHES[1];
    return [
      { steps, values: without, name: "without prompt", colour, width: 1.8, marked: heldOut.best.step },
      { steps, values: moved, name: "with captions", colour: isAlone ? colours[1] : colour, width: 1.6, dash },
    ].filter(({ values }) => values.some((value) => value !== null));
  },
  read: (columns, at, { heldOut }) =>
    [
      ["without prompt", heldOut.moved_without_prompt[at]],
      ["with captions", heldOut.moved[at]],
    ]
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `moved ${name} ${percent(value)}`)
      .join(", "),
};

function isMoved(heldOut) {
  return Boolean(heldOut?.moved?.some((value) => value !== null));
}

function percent(share) {
  return `${shortNumber(100 * share)} %`;
}

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
  { title: "Loss", hint: "Loss (pale), and its moving average; with sound, those of video and audio too", look: LOSS },
  { title: "Log scale", hint: "Loss on a logarithmic scale", look: { ...LOSS, isLog: true } },
  { title: "Noise", hint: "Average loss of the samples of each quarter of the noise levels", look: NOISE },
  {
    title: "Data sets",
    hint: "Average loss of the samples of each data set, before its weight; of runs with several (data.more_data_sets)",
    look: DATA_SETS,
  },
  {
    title: "Held out",
    hint: "Loss of the clips that the run never trains on, with the best step ringed; of several data sets each one's too (data.held_out_clips)",
    look: HELD_OUT,
  },
  {
    title: "Moved",
    hint: "How far a LoRA has moved predictions from the base's: what moves without a prompt is forgotten (data.held_out_clips)",
    look: MOVED,
  },
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
