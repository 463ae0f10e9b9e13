"""Durations and bytes are written alike in Python and in the browser (tests/web/units.test.mjs)."""

import json
from pathlib import Path

from ltxv_train_core.events import Progress
from ltxv_train_core.units import byte_size, duration

CASES = json.loads((Path(__file__).parents[1] / "web" / "units.json").read_text(encoding="utf-8"))


def test_durations_have_hours():
    assert [[seconds, duration(seconds)] for seconds, _ in CASES["durations"]] == CASES["durations"]


def test_bytes_have_the_largest_unit_that_fits():
    assert [[count, byte_size(count)] for count, _ in CASES["bytes"]] == CASES["bytes"]


def test_progress_says_what_it_counts():
    assert Progress("encode videos", 3, 12, "clip").amount == "3 of 12 clips"
    assert Progress("load model", 0, 1, "model").amount == "0 of 1 model"
    assert Progress("download model", 2**29, 3 * 2**30, "byte").amount == "512 MiB of 3 GiB"
