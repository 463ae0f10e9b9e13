"""The command for a card that nobody here has, on the CPU."""

import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from ltxv_train_core.cli import main
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.events import Control
from ltxv_train_core.gpu_check import run
from ltxv_train_core.gpu_check.bench import Bench
from ltxv_train_core.gpu_check.names import NAMES
from ltxv_train_core.gpu_check.run import check_device
from ltxv_train_core.gpu_check.verdict import checked
from ltxv_train_core.models.memory import quantize
from tests.helpers.accelerator import Accelerator

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


def outcomes(output):
    return {
        line.split()[1]: line.split()[0]
        for line in output.splitlines()
        if line.startswith(("works", "fails", "skipped"))
    }


def test_the_command_names_the_device_and_what_works(capsys):
    names = ["step", "checkpointing", "offloading", "out-of-memory"]
    assert main(["gpu-check", "--only", *names]) == 0
    output = capsys.readouterr().out
    assert output.startswith("device: cpu, ")
    assert f"torch {torch.__version__}" in output
    assert outcomes(output) == dict.fromkeys(names, "works")


@pytest.mark.minutes
def test_every_check_works_on_a_cpu(capsys):
    assert main(["gpu-check"]) == 0
    expected = dict.fromkeys(NAMES, "works") | {"decoding-fallback": "skipped"}
    assert outcomes(capsys.readouterr().out) == expected


def test_what_is_wrong_is_found(monkeypatch):
    quantized = quantize.quantized

    def other_weights(layer, kind):
        layer.weight.data = torch.randn_like(layer.weight)
        return quantized(layer, kind)

    monkeypatch.setattr(quantize, "quantized", other_weights)
    verdict = checked("quantization", Bench.of(CPU, Control()))
    assert verdict.outcome == "fails"
    assert "like those expected, at least 0.99 is right" in verdict.text


def test_no_check_begins_when_the_time_is_over():
    (late,) = check_device(["step"], minutes=-1)
    assert (late.outcome, late.text) == ("skipped", "there was no time left for it")


WORKER = """
import os, sys, time
from ltxv_train_core.jobs.helper_process import serve


def answer(message):
    if message["name"] == "hangs":
        time.sleep(600)
    if message["name"] == "crashes":
        os.kill(os.getpid(), 9)
    return {"name": message["name"], "outcome": "works", "text": str(os.getpid()), "seconds": 0.0}


serve({}, answer)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_a_check_that_crashes_or_hangs_ends_no_other(monkeypatch, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(run, "_WORKER", script)
    monkeypatch.setattr(run, "ON_CPU", 1)
    monkeypatch.setattr(run, "LIMIT_SECONDS", {"hangs": 0.5, "first": 60.0})
    began = time.monotonic()
    first, second, crashed, hung, last = check_device(["first", "a", "crashes", "hangs", "b"])
    assert first.outcome == second.outcome == last.outcome == "works"
    assert first.text == second.text != last.text, "a new process"
    assert crashed.outcome == hung.outcome == "fails"
    assert "SIGKILL" in crashed.text
    assert hung.text.startswith("did not end within 0")
    assert time.monotonic() - began < 120


def test_a_stop_ends_a_check(monkeypatch, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(run, "_WORKER", script)
    stop = Control()
    threading.Timer(1.0, stop.stop).start()
    with pytest.raises(Cancelled):
        check_device(["hangs"], stop=stop)


@pytest.mark.long
def test_a_device_with_little_memory_decodes_in_another_way():
    """On a device that the CPU calculates, of 2 GiB, of which the check leaves a little."""
    with Accelerator(2**31) as accelerator:
        verdict = checked("decoding-fallback", Bench.of(accelerator.device, Control()))
    assert verdict.outcome == "works", verdict
    assert verdict.text.startswith("decoded in tiles"), verdict
