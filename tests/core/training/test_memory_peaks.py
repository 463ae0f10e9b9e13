"""The estimate of a step against the bytes of all tensors that are alive in one."""

import pytest
import torch

from ltxv_train_core.config import LoRAConfig, TrainingConfig, build
from ltxv_train_core.events import ignore
from ltxv_train_core.families.base import Denoiser, StreamInput, Text
from ltxv_train_core.families.ltx2.denoiser import LTX2Denoiser
from ltxv_train_core.families.ltx2.formats import TEXT_TOKENS
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.names import AUDIO, AUDIO_TEXT, PROMPT, VIDEO, VIDEO_TEXT
from ltxv_train_core.families.open import describe_model
from ltxv_train_core.families.registry import EARLIEST, LTX2
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory import recompute
from ltxv_train_core.models.memory.checkpointing import recompute_blocks
from ltxv_train_core.models.precision import autocast, base_dtype
from ltxv_train_core.optim.stepper import OptimizerStepper
from ltxv_train_core.training.memory_estimate import (
    bytes_beside_weights,
    saved_bytes,
    training_bytes,
)
from ltxv_train_core.training.transformer_sizes import transformer_sizes
from ltxv_train_core.units import GIB
from tests.helpers.activation_bytes import small_transformer
from tests.helpers.live_bytes import LiveBytes
from tests.helpers.ltx2 import transformer_of

CPU = torch.device("cpu")
WORDS = 60


def peak(
    config: TrainingConfig, layers: int, width: int, tokens: int, again: int
) -> tuple[int, int]:
    """Of the second step, beside the weights: estimated, and counted."""
    mode, precision = config.model.training_mode, config.acceleration.mixed_precision_mode
    transformer = small_transformer(layers, width, head=64)
    if mode == "lora":
        transformer.to(base_dtype(precision))
        add_lora(transformer, LoRAConfig(rank=width // 32, alpha=16), 0)
    elif config.optimization.trained_weights == "bf16":
        transformer.to(torch.bfloat16)
    trained = [p for p in transformer.parameters() if p.requires_grad]
    saved = saved_bytes(config, EARLIEST, transformer.config, {VIDEO: tokens})
    numbers = [p.numel() for p in trained]
    estimated = bytes_beside_weights(config, sum(numbers), max(numbers), layers, saved)
    assert estimated.recomputed == again
    denoiser = LTXVideoDenoiser(transformer, True)
    if config.optimization.enable_gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    else:
        recompute_blocks(transformer, again)
    text = {PROMPT: torch.randn(1, WORDS, 40, dtype=transformer.dtype)}
    return estimated.total, counted(config, denoiser, {VIDEO: tokens}, text)


def counted(
    config: TrainingConfig,
    denoiser: Denoiser,
    tokens: dict[str, int],
    text: dict[str, torch.Tensor],
) -> int:
    """Bytes that are alive at the peak of the second step, beside the weights and the text."""
    precision = config.acceleration.mixed_precision_mode
    seen = {
        name: StreamInput(
            torch.randn(1, count, 128),
            torch.full((1, count), 0.5),
            torch.rand(1, 3 if name == VIDEO else 1, count),
        )
        for name, count in tokens.items()
    }
    words = next(iter(text.values())).shape[1]
    whole = Text(text, torch.ones(1, words, dtype=torch.bool), False)
    weights = [*denoiser.transformer.parameters()]
    trained = [p for p in weights if p.requires_grad]
    with LiveBytes([*weights, *text.values()]) as memory:
        stepper = OptimizerStepper(config, trained, CPU, ignore)
        for number in (1, 2):
            memory.begin()
            for _ in range(config.optimization.gradient_accumulation_steps):
                with autocast(precision, CPU):
                    predicted = denoiser.denoise(seen, whole)
                loss = sum(each.float().square().mean() for each in predicted.values())
                del predicted
                stepper.backward(loss)
            stepper.step(number, loss.item(), stepper.clip().item())
    return memory.peak - sum(each.nbytes for each in (*weights, *text.values()))


@pytest.mark.parametrize(
    ("mode", "precision", "tokens", "again", "options"),
    [
        ("lora", "bf16", 512, 0, {}),
        ("lora", "bf16", 512, 4, {}),
        ("lora", "bf16", 512, 2, {"checkpointing_budget": 0.026}),
        ("lora", "no", 512, 0, {"ema_decay": 0.9}),
        ("lora", "no", 512, 4, {}),
        ("full", "no", 128, 0, {}),
        ("full", "bf16", 128, 0, {"ema_decay": 0.9}),
        ("full", "bf16", 128, 0, {"ema_decay": 0.9, "ema_on_host": True}),
        ("full", "bf16", 512, 0, {}),
        ("full", "bf16", 128, 4, {}),
        ("full", "bf16", 512, 0, {"gradient_accumulation_steps": 2}),
        ("full", "bf16", 128, 4, {"release_gradients": True}),
        ("full", "bf16", 128, 0, {"trained_weights": "bf16"}),
        ("full", "bf16", 128, 4, {"trained_weights": "bf16", "release_gradients": True}),
    ],
)
@pytest.mark.long
def test_a_step_takes_what_is_estimated(monkeypatch, mode, precision, tokens, again, options):
    """Within a tenth. As other devices compute: all tokens of a cheap operation at once."""
    monkeypatch.setattr(recompute, "NUMBERS_AT_ONCE", 2**60)
    if again and "checkpointing_budget" not in options:
        options = {**options, "enable_gradient_checkpointing": True}
    sections = {
        "model": {"training_mode": mode},
        "optimization": {"batch_size": 1, **options},
        "acceleration": {"mixed_precision_mode": precision, "compile_with_inductor": False},
        "data": {"preprocessed_data_root": "d"},
    }
    estimated, counted = peak(build(TrainingConfig, sections), 4, 512, tokens, again)
    if options.get("ema_on_host"):
        counted -= 4 * 19_210_880  # which is on the same CPU here
    assert estimated == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize(
    ("tokens", "again"),
    [
        ({VIDEO: 512, AUDIO: 128}, 0),
        ({VIDEO: 512, AUDIO: 128}, 16),
        ({VIDEO: 512}, 0),
        ({AUDIO: 512}, 0),
        ({AUDIO: 512}, 16),
    ],
)
@pytest.mark.long
def test_a_step_of_ltx2_takes_what_is_estimated(monkeypatch, tokens, again):
    """Video with sound, video, sound; within a tenth. The fewer blocks, the more counts what is left out."""
    monkeypatch.setattr(recompute, "NUMBERS_AT_ONCE", 2**60)
    sections = {
        "optimization": {"batch_size": 1, "enable_gradient_checkpointing": bool(again)},
        "acceleration": {"mixed_precision_mode": "bf16", "compile_with_inductor": False},
        "data": {"preprocessed_data_root": "d"},
    }
    config = build(TrainingConfig, sections)
    width, layers = 512, 16
    sizes = {"attention_head_dim": 128, "cross_attention_dim": width}
    sizes |= {"audio_attention_head_dim": 64, "audio_cross_attention_dim": width // 2}
    transformer = transformer_of("2.3", **sizes, num_layers=layers).train().to(torch.bfloat16)
    layers_of = ("all",) if VIDEO in tokens else (AUDIO,)
    add_lora(transformer, LoRAConfig(rank=16, alpha=16, target_modules=layers_of), 0)
    numbers = [p.numel() for p in transformer.parameters() if p.requires_grad]
    saved = saved_bytes(config, LTX2, transformer.config, tokens)
    estimated = bytes_beside_weights(config, sum(numbers), max(numbers), layers, saved)
    assert estimated.recomputed == again
    if again:
        transformer.enable_gradient_checkpointing()
    text = {
        name: torch.randn(1, TEXT_TOKENS, each).bfloat16()
        for name, each in ((VIDEO_TEXT, width), (AUDIO_TEXT, width // 2))
    }
    found = counted(config, LTX2Denoiser(transformer, connectors=dict), tokens, text)
    assert estimated.total == pytest.approx(found, rel=0.1)


def test_full_training_of_2b_takes_11_gib_without_activations():
    """By count; and in float32 what it took before."""
    sizes = transformer_sizes(describe_model("LTXV_2B_0.9.6_DEV"))

    def without_activations(**options):
        sections = {
            "model": {"training_mode": "full"},
            "optimization": {"batch_size": 1, **options},
            "data": {"preprocessed_data_root": "d"},
        }
        found = training_bytes(build(TrainingConfig, sections), sizes, {VIDEO: 1})
        return found.total / GIB

    lean = {"trained_weights": "bf16", "release_gradients": True}
    assert without_activations() == pytest.approx(16 * 1.9234e9 / GIB, rel=0.01)
    assert without_activations(**lean) < 11
    host = {"ema_decay": 0.99, "ema_on_host": True}
    assert without_activations(**lean, **host) == without_activations(**lean)
    assert without_activations(ema_decay=0.99) == pytest.approx(20 * 1.9234e9 / GIB, rel=0.01)
