/** Columns of runs, and tables made of them. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { COLUMNS, csvOf, dataSetsOf, flatColumns, heldOutText, rowOf, stageText } from "../../nodes/web/columns.js";
import { smoothed } from "../../nodes/web/smoothing.js";

const STEP = {
  ...{ step: 3, loss: 0.5, smooth_loss: 0.6, learning_rate: 1e-3, grad_norm: 2, step_seconds: 0.1 },
  ...{ memory_bytes: 1024, loss_by_noise: [null, 0.4, 0.6, null] },
  ...{ video_loss: 0.2, audio_loss: 0.3, audio_loss_by_noise: [] },
};

test("a step is a row of every column", () => {
  const row = rowOf(STEP);
  for (const name of COLUMNS) assert.notEqual(row[name], undefined, name);
  assert.deepEqual([row.loss_low, row.loss_high, row.noise_0, row.noise_2], [0.5, 0.5, null, 0.6]);
  assert.equal(rowOf({ ...STEP, loss_by_noise: [] }).noise_3, null);
});

test("the server's columns by noise level are columns", () => {
  const byNoise = [[1, 2], [3, null], [5, 6], [7, 8]];
  const noise = { loss_by_noise: byNoise, audio_loss_by_noise: [...byNoise].reverse() };
  const flat = flatColumns({ step: [1, 2], ...noise, loss_by_data_set: [[5, null], [7, 8], [null, 9]] });
  assert.deepEqual(flat, {
    step: [1, 2],
    ...{ noise_0: [1, 2], noise_1: [3, null], noise_2: [5, 6], noise_3: [7, 8] },
    ...{ audio_noise_0: [7, 8], audio_noise_1: [5, 6], audio_noise_2: [3, null], audio_noise_3: [1, 2] },
    loss_by_data_set: [[5, 7, null], [null, 8, 9]],
  });
  assert.deepEqual(flatColumns({ step: [1, 2], ...noise, loss_by_data_set: [] }).loss_by_data_set, [[], []]);
});

test("a table has a row for each step of each run", () => {
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, [rowOf(STEP)[name]]]));
  const lines = csvOf([
    { name: 'a, "b"', columns },
    { name: "c", columns },
  ]).split("\r\n");
  assert.equal(
    lines[0],
    "run,step,loss,smooth_loss,learning_rate,grad_norm,step_seconds,memory_bytes," +
      "loss_noise_0_percent,loss_noise_25_percent,loss_noise_50_percent,loss_noise_75_percent,video_loss,audio_loss," +
      [0, 25, 50, 75].map((percent) => `audio_loss_noise_${percent}_percent`).join(","),
  );
  assert.equal(lines[1], '"a, ""b""",3,0.5,0.6,0.001,2,0.1,1024,,0.4,0.6,,0.2,0.3,,,,');
  assert.equal(lines.length, 4);
});

test("a table has a column for each data set", () => {
  const columnsOf = (step) => Object.fromEntries(COLUMNS.map((name) => [name, [rowOf(step)[name]]]));
  const joined = columnsOf({ ...STEP, loss_by_data_set: [0.25, null] });
  assert.deepEqual([dataSetsOf(joined), dataSetsOf(columnsOf(STEP))], [2, 0]);
  const [titles, first, second] = csvOf([
    { name: "a", columns: joined },
    { name: "b", columns: columnsOf(STEP) },
  ]).split("\r\n");
  assert.ok(titles.endsWith("audio_loss_noise_75_percent,loss_data_set_1,loss_data_set_2"));
  assert.ok(first.endsWith(",,,,0.25,"));
  assert.ok(second.endsWith(",,,,,"));
});

test("an average passes over what is missing", () => {
  assert.deepEqual(smoothed([null, 2, null]), [null, 2, 2]);
  const [, second] = smoothed([1, 2]);
  assert.ok(Math.abs(second - (0.95 * 1 + 2) / 1.95) < 1e-12);
});

test("the cost of measuring stands behind what the best step means", () => {
  const heldOut = { seconds: 3, best: { text: "best step 4" } };
  assert.equal(heldOutText(heldOut, { step: [50, 100], step_seconds: [1, 0.94] }), "best step 4 (measuring: 3.0 % of the time)");
  assert.equal(heldOutText(heldOut, { step: [], step_seconds: [] }), "best step 4");
  assert.equal(heldOutText(null, { step: [], step_seconds: [] }), "");
});

test("a run with stages says which one it is in", () => {
  assert.equal(stageText({ stage: 2, stages: 3 }), ", stage 2 of 3");
  assert.equal(stageText({ stage: 1, stages: 1 }) + stageText(null), "");
});
