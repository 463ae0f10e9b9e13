"""What a step needs is told before the first one, and what would make it fit."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import LoRAConfig, OptimizationConfig
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.families.ltxv.activation_bytes import ACTIVATION_BYTES
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.recompute import use_recomputing_blocks
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.activations import GIB
from ltxv_train_core.optim import build_optimizer
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
    if lean:
        use_recomputing_blocks(transformer)
    if mode == "lora":
        transformer.to(torch.bfloat16 if precision == "half" else torch.float32)
        add_lora(transformer, LoRAConfig(rank=16, alpha=16), 0)
    trained = sum(p.numel() for p in transformer.parameters() if p.requires_grad)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    copies = 2 * trained if precision == "half" and not checkpointing else 0
    return kept_bytes(transformer, TOKENS, autocast=precision == "half") - copies


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


def needed_gib(notices: list[str]) -> tuple[float, str]:
    line = next(line for line in notices if line.startswith("a step needs"))
    return float(re.search(r"about ([\d.]+) GiB", line).group(1)), line


def test_a_run_tells_what_it_needs_and_which_options_would_save_it(training_config, monkeypatch):
    _, line = needed_gib(run(training_config(optimization={"steps": 1}))[2])
    assert "free on cpu" in line
    assert "saves" not in line
    monkeypatch.setattr(memory_fit, "free_bytes", lambda device: 0)
    monkeypatch.setattr(memory_fit, "GIB", GIB // 2**10)  # a miniature needs mebibytes
    monkeypatch.setattr(memory_fit, "WORTH_TELLING_BYTES", 0)
    options = {"steps": 1, "batch_size": 8, "optimizer_type": "adamw"}
    needed, line = needed_gib(run(training_config(seed=1, optimization=options))[2])
    saved = dict(re.findall(r"([a-z_.]+(?: true| 1| int8-quanto)?) ([\d.]+) GiB", line))
    assert {"optimization.enable_gradient_checkpointing true", "optimization.batch_size 1"} < {
        *saved
    }
    options |= {"enable_gradient_checkpointing": True}
    less, line = needed_gib(run(training_config(seed=2, optimization=options))[2])
    assert "checkpointing" not in line
    expected = needed - float(saved["optimization.enable_gradient_checkpointing true"])
    assert less == pytest.approx(expected, abs=0.2)


def test_savings_count_the_base_as_it_is_held(training_config, monkeypatch):
    """Of one block in float32: 1.05 million weights of linear layers in 4 bytes, or in 1."""
    monkeypatch.setattr(memory_fit, "free_bytes", lambda device: 0)
    monkeypatch.setattr(memory_fit, "GIB", GIB // 2**10)
    lines = {}
    for kind in (None, "int8-quanto"):
        options = {"quantization": kind, "blocks_to_offload": 1}
        config = training_config(acceleration=options, optimization={"steps": 1})
        _, lines[kind] = needed_gib(run(config)[2])
    each = {k: float(re.search(r"([\d.]+) GiB for each", v).group(1)) for k, v in lines.items()}
    assert each == {None: pytest.approx(4.0, abs=0.1), "int8-quanto": pytest.approx(1.0, abs=0.1)}
    saved = re.search(r"acceleration.quantization int8-quanto ([\d.]+) GiB", lines[None])
    assert float(saved.group(1)) == pytest.approx(4 * 3.0, abs=0.1)
    assert "acceleration.quantization" not in lines["int8-quanto"]


STATE_BYTES = {"adamw": 8, "adamw_schedulefree": 8, "prodigy": 16, "adamw8bit": 2, "adafactor": 0}


@pytest.mark.parametrize("kind", STATE_BYTES)
def test_a_trained_weight_costs_its_gradient_and_what_its_optimizer_keeps(
    training_config, stripes_data, kind
):
    def needed(rank, **sections):
        transformer = small_transformer()
        parameters = add_lora(transformer, LoRAConfig(rank=rank, alpha=1), 0)
        dataset = TrainingDataset(stripes_data)
        config = training_config(**sections)
        denoiser = LTXVideoDenoiser(transformer, True)
        return memory_fit.step_bytes(config, denoiser, dataset), sum(p.numel() for p in parameters)

    options = {"optimizer_type": kind, "scheduler_type": "constant"}
    options |= {"learning_rate": 1.0} if kind == "prodigy" else {}
    for mode, copies in (("no", 0), ("bf16", 2), ("fp16", 2)):
        sections = {"optimization": options, "acceleration": {"mixed_precision_mode": mode}}
        (small, few), (large, many) = needed(4, **sections), needed(16, **sections)
        assert (large - small) / (many - few) == 4 + STATE_BYTES[kind] + copies
    weight = torch.nn.Parameter(torch.ones(512, 512))
    weight.grad = torch.ones_like(weight)
    optimizer = build_optimizer(OptimizationConfig(**options), [weight])
    optimizer.step()
    values = [v for v in optimizer.state[weight].values() if isinstance(v, torch.Tensor)]
    kept_by_it = sum(value.nbytes for value in values) / weight.numel()
    assert kept_by_it == pytest.approx(STATE_BYTES[kind], abs=0.1)


@pytest.mark.parametrize(
    ("mode", "precision", "whole", "recomputed"),
    [
        ("lora", "half", 1021.5, 113.6),
        ("lora", "float32", 2010.3, 218.8),
        ("full", "half", 1514.5, 206.3),
        ("full", "float32", 2783.4, 276.4),
    ],
)
def test_bytes_of_the_2b_model_for_each_token_and_channel(mode, precision, whole, recomputed):
    """28 blocks of width 2048: block * 28 + shared, or recomputed * 28 + one block + shared."""
    table = ACTIVATION_BYTES[mode, precision]
    assert table.bytes(1024, 2048, 28) == pytest.approx(whole * 1024 * 2048, abs=1)
    assert table.bytes(1024, 2048, 28, 28) == pytest.approx(recomputed * 1024 * 2048, abs=1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    tokens=st.integers(1, 50_000),
    width=st.sampled_from([512, 2048, 4096]),
    layers=st.integers(2, 48),
    key=st.sampled_from(sorted(ACTIVATION_BYTES)),
)
def test_the_estimate_grows_with_tokens_width_and_layers_and_falls_with_recomputing(
    tokens, width, layers, key
):
    estimate = ACTIVATION_BYTES[key].bytes
    one = estimate(tokens, width, layers)
    assert estimate(2 * tokens, width, layers) == pytest.approx(2 * one, abs=1)
    assert estimate(tokens, 2 * width, layers) == pytest.approx(2 * one, abs=1)
    assert estimate(tokens, width, layers + 1) > one
    kept_blocks = [estimate(tokens, width, layers, count) for count in range(1, layers + 1)]
    assert kept_blocks == sorted(kept_blocks, reverse=True)
    assert kept_blocks[-1] < one


def test_the_largest_clip_decides_with_its_reference_and_times_the_batch(training_config, prepared):
    """Of 64x64x9 and 96x64x9 the wide one has 2 * 2 * 3 tokens, and its reference as many."""
    transformer = small_transformer()
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    denoiser = LTXVideoDenoiser(transformer, True)

    def needed(batch_size, recomputed=False, blocks=0, **options):
        config = training_config(
            prepared,
            optimization={"batch_size": batch_size, "enable_gradient_checkpointing": recomputed},
            acceleration={"blocks_to_offload": blocks},
        )
        return memory_fit.step_bytes(config, denoiser, TrainingDataset(prepared, **options))

    weights = sum(p.numel() for p in transformer.parameters() if p.requires_grad) * (4 + 8)
    estimate = ACTIVATION_BYTES["lora", "float32"].bytes
    with_reference = {"reference_dir": "reference_latents"}
    assert needed(1) == weights + estimate(12, 64, 2)
    assert needed(3) == weights + estimate(36, 64, 2)
    assert needed(3, **with_reference) == weights + estimate(72, 64, 2)
    assert needed(1, recomputed=True) == weights + estimate(12, 64, 2, 2)
    assert needed(1, blocks=1) == weights + estimate(12, 64, 2, 1)
