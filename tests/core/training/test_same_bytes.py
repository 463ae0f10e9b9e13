"""The same training and the same preprocessing give files of the same bytes, in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import same_bytes

ROOT = Path(__file__).parents[3]


@pytest.mark.long
def test_two_processes_write_the_same_bytes(tmp_path):
    """They go through dictionaries and sets in different orders."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    other = subprocess.Popen(
        [sys.executable, same_bytes.__file__, str(tmp_path / "other")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    first = same_bytes.hashes(tmp_path / "this")
    second = json.loads(other.communicate()[0].splitlines()[-1])
    assert first == second
    kinds = [Path(name).parts[0] for name in first]
    assert kinds.count("clips") > 6
    assert kinds.count("runs") == 7  # LoRA and average in three forms each, and the checkpoint
