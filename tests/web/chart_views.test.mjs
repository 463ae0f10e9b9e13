/** What charts draw and say of a run. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { CHART_VIEWS } from "../../nodes/web/chart_views.js";
import { COLUMNS, rowOf } from "../../nodes/web/columns.js";

const SILENT = {
  ...{ step: 3, loss: 0.5, smooth_loss: 0.6, learning_rate: 1e-3, grad_norm: 2, step_seconds: 0.1 },
  ...{ memory_bytes: 1024, loss_by_noise: [0.1, 0.4, 0.6, 0.7] },
  ...{ video_loss: null, audio_loss: null, audio_loss_by_noise: [] },
};
const HEARD = { ...SILENT, video_loss: 0.2, audio_loss: 0.3, audio_loss_by_noise: [0.11, null, 0.31, 0.41] };
const COLOURS = ["blue", "orange", "green", "violet"];

const look = (title) => CHART_VIEWS.find((view) => view.title === title).look;
const columnsOf = (step) => Object.fromEntries(COLUMNS.map((name) => [name, [rowOf(step)[name]]]));
const curvesOf = (title, step, isAlone = true) =>
  look(title).curves({ columns: columnsOf(step), colour: "blue" }, isAlone, COLOURS);

test("a run with sound has lines of video and audio", () => {
  const [total, average, video, audio] = curvesOf("Loss", HEARD);
  assert.deepEqual([total.values[0], average.values[0]], [0.5, 0.6]);
  assert.deepEqual([video.name, video.values[0], video.colour], ["video", 0.2, "orange"]);
  assert.deepEqual([audio.name, audio.values[0], audio.colour], ["audio", 0.3, "green"]);
  assert.equal(curvesOf("Loss", SILENT).length, 2);
  const [, , other] = curvesOf("Log scale", HEARD, false);
  assert.deepEqual([other.colour, other.dash], ["blue", [7, 3]]);
});

test("its losses by noise level are thick for the video and thin for the sound", () => {
  const curves = curvesOf("Noise", HEARD);
  assert.deepEqual(
    curves.map(({ values }) => values[0]),
    [0.1, 0.4, 0.6, 0.7, 0.11, null, 0.31, 0.41],
  );
  assert.equal(curves[4].name, "audio 0–25 %");
  assert.ok(curves[4].width < curves[0].width);
  assert.deepEqual(
    curvesOf("Noise", SILENT).map(({ name }) => name),
    ["noise 0–25 %", "noise 25–50 %", "noise 50–75 %", "noise 75–100 %"],
  );
});

test("each data set has a line, which ends when it is trained on no more", () => {
  const rows = [[4, null], [2, null], [null, null], [null, 1]];
  const columns = { ...columnsOf(SILENT), loss_by_data_set: rows };
  const line = { columns, colour: "blue", dataSets: ["small"] };
  const [small, other] = look("Data sets").curves(line, true, COLOURS);
  assert.deepEqual([small.name, small.colour, other.name, other.colour], ["small", "blue", "data set 2", "orange"]);
  assert.deepEqual([small.values[0], small.values[2], small.values[3]], [4, null, null]);
  assert.ok(Math.abs(small.values[1] - (0.95 * 4 + 2) / 1.95) < 1e-12);
  assert.deepEqual(other.values, [null, null, null, 1]);
  const [, dashed] = look("Data sets").curves(line, false, COLOURS);
  assert.deepEqual([dashed.colour, dashed.dash], ["blue", [7, 3]]);
  assert.equal(look("Data sets").read(columns, 1, line), "small: 2");
  assert.deepEqual(curvesOf("Data sets", SILENT), [], "a run with one data set");
});

test("held-out clips of several data sets have a line each", () => {
  const heldOut = { steps: [0, 9], loss: [2, 1], average_loss: [null, null], best: { step: 9 } };
  const line = { heldOut: { ...heldOut, by_data_set: { small: [1, 0.5], large: [3, 1.5] } }, dataSets: ["large", "small"], colour: "blue" };
  const [whole, small, large] = look("Held out").curves(line, true, COLOURS);
  assert.deepEqual([whole.name, small.name, large.name], ["all held-out clips", "small", "large"]);
  assert.deepEqual([small.values, small.colour, large.colour], [[1, 0.5], "orange", "blue"], "as the chart of data sets");
  assert.deepEqual([whole.dash, small.dash], [undefined, [7, 3]]);
  const [, only, other] = look("Held out").curves({ ...line, dataSets: [] }, true, COLOURS);
  assert.deepEqual([only.colour, other.colour], ["blue", "orange"], "data sets that are measured alone");
  assert.equal(look("Held out").read(null, 1, line), "held-out loss 1 (best), small: 0.5, large: 1.5");
  assert.equal(look("Held out").curves({ ...line, heldOut }, true, COLOURS).length, 1);
});

test("the values of a step are said", () => {
  assert.equal(look("Loss").read(columnsOf(HEARD), 0), "0.5 (average 0.6), video 0.2, audio 0.3");
  assert.equal(look("Loss").read(columnsOf(SILENT), 0), "0.5 (average 0.6)");
  assert.match(look("Noise").read(columnsOf(HEARD), 0), /^video 0–25 %: 0.1, .*, audio 75–100 %: 0.41$/);
});

test("held-out losses have steps of their own, and the best one is marked", () => {
  const heldOut = { steps: [0, 20, 40], loss: [3, 1, 2], average_loss: [null, null, null], best: { step: 20 } };
  const line = { columns: columnsOf(SILENT), colour: "blue", heldOut };
  const held = look("Held out");
  const [weights, ...none] = held.curves(line, true, COLOURS);
  assert.deepEqual([weights.steps, weights.values, weights.marked], [[0, 20, 40], [3, 1, 2], 20]);
  assert.equal(none.length, 0);
  assert.deepEqual(held.stepsOf(line), [0, 20, 40]);
  assert.equal(held.read(line.columns, 1, line), "held-out loss 1 (best)");
  assert.equal(held.read(line.columns, 2, line), "held-out loss 2");
  const [, average] = held.curves({ ...line, heldOut: { ...heldOut, average_loss: [3, 1.5, 1.4] } }, true, COLOURS);
  assert.deepEqual([average.name, average.colour, average.values], ["moving average", "orange", [3, 1.5, 1.4]]);
  assert.deepEqual(held.curves({ ...line, heldOut: null }, true, COLOURS), []);
  assert.deepEqual(held.stepsOf({ ...line, heldOut: null }), []);
  assert.deepEqual(look("Loss").stepsOf(line), [3]);
});

test("how far a model has moved is drawn in per cent, of runs that measured it", () => {
  const old = { steps: [0, 20], loss: [3, 1], average_loss: [null, null], best: { step: 20 } };
  const heldOut = { ...old, moved: [0, 0.25], moved_without_prompt: [0, 0.034] };
  const line = { columns: columnsOf(SILENT), colour: "blue", heldOut };
  const view = look("Moved");
  const [without, captions] = view.curves(line, true, COLOURS);
  assert.deepEqual([without.name, without.values, without.marked], ["without prompt", [0, 0.034], 20]);
  assert.deepEqual([captions.name, captions.values, captions.colour], ["with captions", [0, 0.25], "orange"]);
  assert.equal(view.read(line.columns, 1, line), "moved without prompt 3.4 %, moved with captions 25 %");
  assert.equal(view.label(0.1), "10 %");
  assert.deepEqual(view.stepsOf(line), [0, 20]);
  const silent = { ...line, heldOut: { ...heldOut, moved_without_prompt: [null, null] } };
  assert.deepEqual(view.curves(silent, true, COLOURS).map(({ name }) => name), ["with captions"]);
  assert.equal(view.read(line.columns, 1, silent), "moved with captions 25 %");
  for (const none of [null, old, { ...heldOut, moved: [null, null] }]) {
    assert.deepEqual(view.curves({ ...line, heldOut: none }, true, COLOURS), []);
    assert.deepEqual(view.stepsOf({ ...line, heldOut: none }), []);
  }
});
