"""A model with random weights, and what a training step of it gives on a device."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainingConfig, build
from ..events import Reporter, StopSignal
from ..families.base import Denoiser, StreamInput, Text
from ..families.model import Model, ModelFacts
from ..families.names import PROMPT, VIDEO
from ..families.open import MINIATURE, open_model
from ..models.device import free_memory, peak_bytes
from ..models.precision import autocast
from ..training.trainable import Trainable, load_trainable

LAYER_COUNT = 4
_TEXT_WIDTH, _TEXT_TOKENS, _SEED = 256, 32, 0


@dataclass(frozen=True)
class Sizes:
    """Of the model, and of a clip's latents: frames, rows, columns."""

    heads: int
    head_width: int
    clip: tuple[int, int, int]


ON_ACCELERATOR = Sizes(32, 64, (7, 16, 16))
"""Blocks of the 2B model, with a clip of 1,792 tokens."""
ON_CPU = Sizes(2, 64, (2, 4, 4))
"""A second or less for each step."""


@dataclass(frozen=True)
class Step:
    """What a training step gave.

    Attributes:
        gradients: of the LoRA, one after another, float32 on the CPU.
        seconds: of the last of some steps.
        peak_bytes: what the device's tensors took at most, weights included.
    """

    gradients: Tensor
    seconds: float
    peak_bytes: float

    def likeness(self, other: "Step") -> float:
        """1 for equal gradients, 0 for those that have nothing to do with each other."""
        return float(torch.cosine_similarity(self.gradients, other.gradients, dim=0))


@dataclass(frozen=True)
class Bench:
    """A device, and sizes that suit it."""

    device: torch.device
    sizes: Sizes
    report: Reporter
    stop: StopSignal

    @property
    def is_accelerator(self) -> bool:
        return self.device.type != "cpu"

    @cached_property
    def plain(self) -> Step:
        """A step in bfloat16 without anything that saves memory."""
        return self.step()

    def on_cpu(self) -> "Bench":
        return replace(self, device=torch.device("cpu"))

    def step(self, steps: int = 2, checkpointing: bool = False, **acceleration: Any) -> Step:
        """Trains a LoRA for some steps that are all the same, and gives what the last one gave.

        Args:
            acceleration: options of the section.
        """
        try:
            trainable = self._load(checkpointing, acceleration)
            mode = acceleration.get("mixed_precision_mode", "bf16")
            found = [self._run(trainable, mode) for _ in range(steps)]
            return found[-1]
        finally:
            trainable = None  # type: ignore[assignment]
            free_memory()

    def _load(self, checkpointing: bool, acceleration: Mapping[str, Any]) -> Trainable:
        options = {"compile_with_inductor": False, **acceleration}
        values = {
            "data": {"preprocessed_data_root": "random"},
            "lora": {"rank": 16, "alpha": 16},
            "optimization": {"enable_gradient_checkpointing": checkpointing, "steps": 1000},
            "acceleration": options,
        }
        config = build(TrainingConfig, values)
        trained = load_trainable(
            config, _random_model(self.sizes), self.device, self.report, self.stop
        )
        generator = torch.Generator().manual_seed(_SEED)
        for parameter in trained.parameters:
            noise = torch.randn(parameter.shape, generator=generator) / 50
            parameter.data.copy_(noise)
        return trained

    def _run(self, trainable: Trainable, mode: str) -> Step:
        denoiser, device = trainable.denoiser, self.device
        generator = torch.Generator().manual_seed(_SEED)
        shape, stream = self.sizes.clip, denoiser.streams[VIDEO]
        latents = torch.randn(1, stream.channels, *shape, generator=generator)
        tokens = stream.to_tokens(latents)
        levels = torch.full(tokens.shape[:2], 0.5)
        positions = stream.positions(shape, torch.tensor([25.0]))
        words = torch.randn(_TEXT_TOKENS, _TEXT_WIDTH, generator=generator)
        text = Text.padded([{PROMPT: words}]).to(device, denoiser.dtype)
        seen = {VIDEO: StreamInput(tokens, levels, positions).to(device)}
        peak_bytes(device)
        began = time.perf_counter()
        with autocast(mode, device):
            velocity = denoiser.denoise(seen, text)[VIDEO]
        (velocity.float() - tokens.to(device)).square().mean().backward()
        gradients = [p.grad for p in trainable.parameters if p.grad is not None]
        flat = torch.cat([gradient.float().flatten() for gradient in gradients]).cpu()
        seconds = time.perf_counter() - began  # the copy to the CPU has waited for the device
        for parameter in trainable.parameters:
            parameter.grad = None
        return Step(flat, seconds, peak_bytes(device))


class _RandomTransformer:
    """The transformer of a `Model` that nobody has trained."""

    identity, content, module_names = "random", None, None

    def __init__(self, sizes: Sizes):
        self._like = open_model(MINIATURE)
        width = sizes.heads * sizes.head_width
        self._config = {
            "num_layers": LAYER_COUNT,
            "num_attention_heads": sizes.heads,
            "attention_head_dim": sizes.head_width,
            "cross_attention_dim": width,
            "caption_channels": _TEXT_WIDTH,
        }

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(False, _TEXT_WIDTH, "random", "random", self._config)

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> Any:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_SEED)
            # Past the method of diffusers, which warns of layers that this model has none of.
            return nn.Module.to(self._like.family.layers.new_transformer(self._config), dtype)

    def denoiser(self, transformer: Any) -> Denoiser:
        return self._like.transformer.denoiser(transformer)


def _random_model(sizes: Sizes) -> Model:
    return replace(open_model(MINIATURE), transformer=_RandomTransformer(sizes))
