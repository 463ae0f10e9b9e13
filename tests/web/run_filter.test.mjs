/** Which runs the list shows. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { shownRuns, valuesOf } from "../../nodes/web/run_filter.js";

const RUNS = [
  { name: "cat-10", status: "finished", model: "a", loss: 0.5, created: "2026-01-01", updated: "2026-01-09" },
  { name: "cat-9", status: "failed", model: "b", loss: null, created: "2026-01-02", updated: "2026-01-03" },
  { name: "Dog-cat", status: "finished", model: "b", loss: 0.1, created: "2026-01-03", updated: "2026-01-04" },
];
const ALL = { text: "", status: "", model: "", order: "newest" };
const names = (filter) => shownRuns(RUNS, { ...ALL, ...filter }).map((run) => run.name);

test("runs are ordered", () => {
  assert.deepEqual(names({}), ["cat-10", "Dog-cat", "cat-9"]);
  assert.deepEqual(names({ order: "oldest" }), ["cat-10", "cat-9", "Dog-cat"]);
  assert.deepEqual(names({ order: "name" }), ["cat-9", "cat-10", "Dog-cat"]);
  assert.deepEqual(names({ order: "loss" }), ["Dog-cat", "cat-10", "cat-9"]);
});

test("every word of a search is in the name", () => {
  assert.deepEqual(names({ text: " CAT dog " }), ["Dog-cat"]);
  assert.deepEqual(names({ text: "bird" }), []);
});

test("state and model are both asked for", () => {
  assert.deepEqual(names({ status: "finished" }), ["cat-10", "Dog-cat"]);
  assert.deepEqual(names({ status: "finished", model: "b" }), ["Dog-cat"]);
  assert.deepEqual(valuesOf(RUNS, "model"), ["a", "b"]);
});
