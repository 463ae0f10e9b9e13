/** Samples as a grid. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { loraOfStep, neighbour, promptsOf, sampleGrid, stepsOf } from "../../nodes/web/samples.js";

const of = (step, count) => ({ step, videos: Array.from({ length: count }, (_, k) => `${step}/${k}.mp4`) });
const RUNS = [
  { name: "a", colour: "red", samples: [of(0, 2), of(50, 2)], prompts: ["cat", "dog"] },
  { name: "b", colour: "blue", samples: [of(0, 1), of(100, 1)], prompts: [] },
];

test("the same prompt of several runs is together", () => {
  const { rows, steps } = sampleGrid(RUNS);
  assert.deepEqual(steps, [0, 50, 100]);
  assert.deepEqual(
    rows.map(({ run, index, prompt }) => [run, index, prompt]),
    [
      ["a", 0, "cat"],
      ["b", 0, ""],
      ["a", 1, "dog"],
    ],
  );
  assert.equal(rows[2].files.get(50), "50/1.mp4");
  assert.deepEqual(stepsOf(rows[1]), [0, 100]);
  assert.deepEqual(sampleGrid([]), { rows: [], steps: [] });
});

test("arrows lead from sample to sample and stop at the edges", () => {
  const grid = sampleGrid(RUNS);
  assert.deepEqual(neighbour(grid, { row: 0, step: 0 }, { right: 1 }), { row: 0, step: 50 });
  assert.deepEqual(neighbour(grid, { row: 0, step: 50 }, { right: 1 }), { row: 0, step: 50 });
  assert.deepEqual(neighbour(grid, { row: 0, step: 0 }, { right: -1 }), { row: 0, step: 0 });
  assert.deepEqual(neighbour(grid, { row: 0, step: 50 }, { down: 1 }), { row: 1, step: 0 });
  assert.deepEqual(neighbour(grid, { row: 1, step: 100 }, { down: 1 }), { row: 2, step: 50 });
  assert.deepEqual(neighbour(grid, { row: 0, step: 50 }, { down: -1 }), { row: 0, step: 50 });
});

test("a step before the first sample of a prompt leads to that", () => {
  const grid = sampleGrid([RUNS[0], { name: "c", colour: "", samples: [of(70, 1)], prompts: [] }]);
  assert.deepEqual(neighbour(grid, { row: 0, step: 0 }, { down: 1 }), { row: 1, step: 70 });
});

test("samples show the average, where one is kept", () => {
  const loras = [
    { step: 50, is_average: false },
    { step: 50, is_average: true },
    { step: 60, is_average: false },
  ];
  assert.equal(loraOfStep(loras, 50), loras[1]);
  assert.equal(loraOfStep(loras, 60), loras[2]);
  assert.equal(loraOfStep(loras, 0), null);
});

test("every video has its prompt", () => {
  const options = { "validation.prompts": ["cat", "dog"], "validation.videos_per_prompt": 2 };
  assert.deepEqual(promptsOf(options), ["cat", "cat", "dog", "dog"]);
  assert.deepEqual(promptsOf({}), []);
});
