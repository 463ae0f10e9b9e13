/** Which runs the list shows. Run by tests/nodes/test_web.py, or `node --test tests/web/*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import { byDataSet, shownRuns, valuesOf } from "../../nodes/web/run_filter.js";

const RUNS = [
  { name: "cat-10", status: "finished", model: "a", loss: 0.5, created: "2026-01-01", updated: "2026-01-09" },
  { name: "cat-9", status: "failed", model: "b", loss: null, created: "2026-01-02", updated: "2026-01-03" },
  { name: "Dog-cat", status: "finished", model: "b", loss: 0.1, created: "2026-01-03", updated: "2026-01-04" },
];
for (const run of RUNS) Object.assign(run, { title: "", note: "", data: "1234567890", data_set: "/data/cats" });
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

test("a person's name and note are searched, and order by name", () => {
  const runs = [{ ...RUNS[0], title: "Zebra", note: "blurry" }, RUNS[1]];
  const shown = (filter) => shownRuns(runs, { ...ALL, ...filter }).map((run) => run.name);
  assert.deepEqual(shown({ order: "name" }), ["cat-9", "cat-10"]);
  assert.deepEqual(shown({ text: "zebra blur cat-1" }), ["cat-10"]);
});

test("runs are grouped by their data set", () => {
  const other = { ...RUNS[1], name: "other", data: "abcdefghijkl", data_set: "C:\\more\\cats" };
  const dogs = { ...RUNS[1], name: "dogs", data: "z", data_set: null };
  const groups = byDataSet([RUNS[0], other, dogs, RUNS[1]]);
  assert.deepEqual(
    groups.map(({ name, runs }) => [name, runs.map((run) => run.name)]),
    [
      ["cats (12345678)", ["cat-10", "cat-9"]],
      ["cats (abcdefgh)", ["other"]],
      ["unknown data set", ["dogs"]],
    ],
  );
});

test("state and model are both asked for", () => {
  assert.deepEqual(names({ status: "finished" }), ["cat-10", "Dog-cat"]);
  assert.deepEqual(names({ status: "finished", model: "b" }), ["Dog-cat"]);
  assert.deepEqual(valuesOf(RUNS, "model"), ["a", "b"]);
});
