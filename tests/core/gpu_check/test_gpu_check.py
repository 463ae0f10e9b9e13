"""The command for a card that nobody here has, on the CPU."""

import pytest
import torch

from ltxv_train_core.cli import main
from ltxv_train_core.gpu_check import run
from ltxv_train_core.gpu_check.names import NAMES
from ltxv_train_core.gpu_check.run import check_device
from ltxv_train_core.models.memory import quantize
from tests.helpers.accelerator import Accelerator

CPU = torch.device("cpu")


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


@pytest.mark.long
def test_every_check_works_on_a_cpu(capsys):
    assert main(["gpu-check"]) == 0
    expected = dict.fromkeys(NAMES, "works") | {"decoding-fallback": "skipped"}
    assert outcomes(capsys.readouterr().out) == expected


def test_what_is_wrong_is_found(monkeypatch, capsys):
    quantized = quantize.quantized

    def other_weights(layer, kind):
        layer.weight.data = torch.randn_like(layer.weight)
        return quantized(layer, kind)

    monkeypatch.setattr(quantize, "quantized", other_weights)
    assert main(["gpu-check", "--only", "quantization"]) == 1
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("fails")]
    assert "like those expected, at least 0.99 is right" in line


def test_no_check_begins_when_the_time_is_over(monkeypatch):
    monkeypatch.setitem(run.CHECKS, "step", lambda bench: "seen")
    first, late = (check_device(CPU, ["step"], minutes)[0] for minutes in (1, -1))
    assert (first.outcome, first.text) == ("works", "seen")
    assert (late.outcome, late.text) == ("skipped", "there was no time left for it")


@pytest.mark.long
def test_a_device_with_little_memory_decodes_in_another_way():
    """On a device that the CPU calculates, of 2 GiB, of which the check leaves a little."""
    with Accelerator(2**31) as accelerator:
        (verdict,) = check_device(accelerator.device, ["decoding-fallback"])
    assert verdict.outcome == "works", verdict
    assert verdict.text.startswith("decoded in tiles"), verdict
