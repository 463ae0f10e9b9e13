/** Where nodes fit. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { freePlace, movesDown } from "../../nodes/web/placement.js";

test("a free place is taken as it is", () => {
  assert.deepEqual(freePlace([[0, 0, 100, 100]], [200, 0, 50, 50], 10), [200, 0]);
});

test("what is in the way is gone round, with a gap", () => {
  const boxes = [
    [0, 0, 100, 100],
    [50, 120, 100, 30],
  ];
  assert.deepEqual(freePlace(boxes, [0, 0, 60, 50], 10), [0, 160]);
  assert.deepEqual(freePlace(boxes, [105, 0, 60, 50], 10), [105, 160]);
});

test("nodes below one that grows go down, and those below them", () => {
  const boxes = [
    [0, 120, 100, 50],
    [0, 180, 100, 50],
    [200, 120, 100, 50],
    [0, -60, 100, 50],
  ];
  assert.deepEqual(movesDown(boxes, [0, 0, 100, 100], [0, 0, 100, 150], 20), [50, 60, 0, 0]);
});

test("what has room, or was covered before, stays", () => {
  const boxes = [
    [0, 300, 100, 50],
    [0, 50, 100, 50],
  ];
  assert.deepEqual(movesDown(boxes, [0, 0, 100, 100], [0, 0, 100, 150], 20), [0, 0]);
});
