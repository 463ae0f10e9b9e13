"""What a step needs is told before the first one, and what would make it fit."""

import re

import pytest
import torch

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.ltxv.activation_bytes import ACTIVATION_BYTES
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.training import memory_fit
from tests.helpers.activation_bytes import kept_bytes, small_transformer
from tests.helpers.short_run import run

TOKENS, WIDTH = 256, 512


def kept(
    layers: int,
    mode: str = "lora",
    precision: str = "half",
    checkpointing: bool = False,
    lean: bool = True,
) -> int:
    transformer = small_transformer(layers, WIDTH, head=64)
    if mode == "lora":
        transformer.to(torch.bfloat16 if precision == "half" else torch.float32)
        add_lora(transformer, LoRAConfig(rank=16, alpha=16), 0)
    trained = sum(p.numel() for p in transformer.parameters() if p.requires_grad)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    copies = 2 * trained if precision == "half" and not checkpointing else 0
    return kept_bytes(transformer, TOKENS, autocast=precision == "half", lean=lean) - copies


@pytest.mark.parametrize("precision", ["half", "float32"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_what_a_step_keeps_is_what_autograd_keeps(mode, precision):
    def estimate(layers: int, recomputed: int = 0) -> int:
        return ACTIVATION_BYTES[mode, precision].bytes(TOKENS, WIDTH, layers, recomputed)

    whole, half = (kept(layers, mode, precision, checkpointing=False) for layers in (4, 2))
    assert (whole - half) / (estimate(4) - estimate(2)) == pytest.approx(1, abs=0.15)
    assert whole / estimate(4) == pytest.approx(1, abs=0.15)
    whole, half = (kept(layers, mode, precision, checkpointing=True) for layers in (4, 2))
    assert (whole - half) / (estimate(4, 4) - estimate(2, 2)) == pytest.approx(1, abs=0.15)


def test_a_block_keeps_little_more_than_half_of_what_diffusers_own_keeps():
    ours, theirs = (kept(4, lean=lean) - kept(2, lean=lean) for lean in (True, False))
    assert ours < 0.6 * theirs


def needed_mib(notices: list[str]) -> tuple[float, str]:
    line = next(line for line in notices if line.startswith("a step needs"))
    return float(re.search(r"about ([\d.]+) MiB", line).group(1)), line


def test_a_run_tells_what_it_needs_and_which_options_would_save_it(training_config, monkeypatch):
    _, line = needed_mib(run(training_config(optimization={"steps": 1}))[2])
    assert "free on cpu" in line
    assert "saves" not in line
    monkeypatch.setattr(memory_fit, "free_bytes", lambda device: 0)
    monkeypatch.setattr(memory_fit, "WORTH_TELLING_BYTES", 0)
    options = {"steps": 1, "batch_size": 8, "optimizer_type": "adamw"}
    needed, line = needed_mib(run(training_config(seed=1, optimization=options))[2])
    saved = dict(re.findall(r"([a-z_.]+(?: true| 1| int8-quanto)?) ([\d.]+) MiB", line))
    assert {"optimization.enable_gradient_checkpointing true", "optimization.batch_size 1"} < {
        *saved
    }
    options |= {"enable_gradient_checkpointing": True}
    less, line = needed_mib(run(training_config(seed=2, optimization=options))[2])
    assert "checkpointing" not in line
    expected = needed - float(saved["optimization.enable_gradient_checkpointing true"])
    assert less == pytest.approx(expected, abs=0.2)


def test_savings_count_the_base_as_it_is_held(training_config, monkeypatch):
    """Of one block in float32: 1.05 million weights of linear layers in 4 bytes, or in 1."""
    monkeypatch.setattr(memory_fit, "free_bytes", lambda device: 0)
    lines = {}
    for kind in (None, "int8-quanto"):
        options = {"quantization": kind, "blocks_to_offload": 1}
        config = training_config(acceleration=options, optimization={"steps": 1})
        _, lines[kind] = needed_mib(run(config)[2])
    each = {k: float(re.search(r"([\d.]+) MiB for each", v).group(1)) for k, v in lines.items()}
    assert each == {None: pytest.approx(4.0, abs=0.1), "int8-quanto": pytest.approx(1.0, abs=0.1)}
    saved = re.search(r"acceleration.quantization int8-quanto ([\d.]+) MiB", lines[None])
    assert float(saved.group(1)) == pytest.approx(4 * 3.0, abs=0.1)
    assert "acceleration.quantization" not in lines["int8-quanto"]
