/** Durations and bytes; tests/core/test_units.py has the same cases in Python. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { amount, bytes, duration, count } from "../../nodes/web/units.js";

const cases = JSON.parse(readFileSync(new URL("./units.json", import.meta.url), "utf-8"));

test("durations have hours", () => {
  for (const [seconds, text] of cases.durations) assert.equal(duration(seconds), text);
  assert.equal(duration(null), "–");
});

test("bytes have the largest unit that fits", () => {
  for (const [count, text] of cases.bytes) assert.equal(bytes(count), text);
});

test("progress says what it counts", () => {
  assert.equal(amount({ done: 3, total: 12, unit: "clip" }), "3 of 12 clips");
  assert.equal(amount({ done: 0, total: 1, unit: "model" }), "0 of 1 model");
  assert.equal(amount({ done: 2 ** 29, total: 3 * 2 ** 30, unit: "byte" }), "512 MiB of 3 GiB");
});

test("numbers of things have the largest unit that fits", () => {
  assert.deepEqual([942, 1200, 100_663_296, 18_876_174_592, 9_960_000].map(count), ["942", "1.2 k", "101 M", "19 G", "10 M"]);
});
