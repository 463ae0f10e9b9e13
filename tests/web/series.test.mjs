/** The numbers behind the charts. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import {
  differences,
  lastAtMost,
  shortNumber,
  ticks,
  valueRange,
  wholeRange,
} from "../../nodes/web/series.js";

test("a single peak does not flatten the chart", () => {
  const losses = Array.from({ length: 200 }, (_, index) => 1 + index / 1000);
  losses[50] = 900;
  const [low, high] = valueRange(losses);
  assert.equal(low, 1);
  assert.ok(high < 1.2);
});

test("a range is never empty", () => {
  assert.deepEqual(valueRange([]), [0, 1]);
  assert.deepEqual(valueRange([null, 2]), [1, 3]);
  assert.deepEqual(valueRange([0]), [-0.5, 0.5]);
  assert.deepEqual(valueRange([0, 4], true), [2, 8]);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks(0, 150, 3), [0, 50, 100, 150]);
  assert.deepEqual(
    ticks(0.21, 0.79, 3).map((value) => value.toFixed(1)),
    ["0.4", "0.6"],
  );
  assert.deepEqual(ticks(0.01, 1, 6, true), [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]);
});

test("numbers are short", () => {
  assert.deepEqual(
    [0.012345, 1.2345, 123.45, 0, 2e-4, 1234567, null].map(shortNumber),
    ["0.0123", "1.23", "123", "0", "2e-4", "1.2e6", "–"],
  );
});

test("positions are found in ascending steps", () => {
  assert.deepEqual([0, 1, 4, 5, 99].map((step) => lastAtMost([1, 3, 5], step)), [-1, 0, 1, 2, 2]);
});

test("only options that differ are named", () => {
  const runs = [
    { a: 1, b: [1, 2], c: null },
    { a: 2, b: [1, 2], d: true },
  ];
  assert.deepEqual(differences(runs), [
    ["a", [1, 2]],
    ["c", [null, undefined]],
    ["d", [undefined, true]],
  ]);
});

test("the whole range has room above and below", () => {
  assert.deepEqual(wholeRange([1, null, 2]), [0.92, 2.08]);
  assert.deepEqual(wholeRange([2, 2]), [1.9, 2.1]);
  assert.deepEqual(wholeRange([0]), [-1, 1]);
  assert.deepEqual(wholeRange([null]), [0, 1]);
});
