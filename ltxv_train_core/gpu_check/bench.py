"""A model with random weights, and what a training step of it gives on a device."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..config import TrainingConfig, build
from ..events import Reporter, StopSignal, ignore
from ..families.base import Denoiser, StreamInput, Text
from ..families.model import Model
from ..families.open import open_model
from ..geometry import VideoSize
from ..models.device import free_memory, peak_bytes
from ..models.precision import autocast
from ..training.trainable import Trainable, load_trainable
from .random_model import LTX_VIDEO, Kind, Sizes, random_model, text_widths

_TEXT_TOKENS, _SEED = 32, 0
_FPS = 25.0
_RATE = torch.tensor([_FPS])

ON_ACCELERATOR = Sizes(32, 64, VideoSize(512, 512, 49))
"""Blocks of the 2B model, with a clip of 1,792 tokens."""
ON_CPU = Sizes(2, 64, VideoSize(128, 128, 9))
"""A second or less for each step."""


class Broken(Exception):
    """What was checked does not work on this device."""


class Skipped(Exception):
    """It can't be checked here, and need not work."""


@dataclass(frozen=True)
class Step:
    """What a training step gave.

    Attributes:
        gradients: of what is trained, one after another, float32 on the CPU.
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
    kind: Kind = LTX_VIDEO

    @classmethod
    def of(cls, device: torch.device, stop: StopSignal) -> "Bench":
        """With sizes for the kind of device."""
        return cls(device, ON_CPU if device.type == "cpu" else ON_ACCELERATOR, ignore, stop)

    @property
    def is_accelerator(self) -> bool:
        return self.device.type != "cpu"

    @cached_property
    def plain(self) -> Step:
        """A step in bfloat16 without anything that saves memory."""
        return self.step()

    @property
    def _model(self) -> Model:
        return random_model(self.kind.miniature, self.kind.config(self.sizes))

    def on_cpu(self) -> "Bench":
        return replace(self, device=torch.device("cpu"))

    def step(
        self,
        steps: int = 2,
        checkpointing: bool = False,
        training_mode: str = "lora",
        on_host: bool = False,
        **acceleration: Any,
    ) -> Step:
        """Trains for some steps that are all the same, and gives what the last one gave.

        Args:
            on_host: as `optimization.activations_on_host`.
            acceleration: options of the section.
        """
        try:
            trainable = self._load(checkpointing, training_mode, on_host, acceleration)
            mode = acceleration.get("mixed_precision_mode", "bf16")
            found = [self._run(trainable, mode) for _ in range(steps)]
            return found[-1]
        finally:
            trainable = None  # type: ignore[assignment]
            free_memory()

    def _load(
        self,
        checkpointing: bool,
        training_mode: str,
        on_host: bool,
        acceleration: Mapping[str, Any],
    ) -> Trainable:
        options = {"compile_with_inductor": False, **acceleration}
        values = {
            "data": {"preprocessed_data_root": "random"},
            "model": {"training_mode": training_mode},
            "lora": {"rank": 16, "alpha": 16},
            "optimization": {
                "enable_gradient_checkpointing": checkpointing,
                "activations_on_host": on_host,
                "steps": 1000,
            },
            "acceleration": options,
        }
        config = build(TrainingConfig, values)
        model = self._model
        trained = load_trainable(config, model, self.device, self.report, self.stop)
        if training_mode == "full":
            return trained
        generator = torch.Generator().manual_seed(_SEED)
        for parameter in trained.parameters:
            noise = torch.randn(parameter.shape, generator=generator) / 50
            parameter.data.copy_(noise)
        return trained

    def _run(self, trainable: Trainable, mode: str) -> Step:
        denoiser, device = trainable.denoiser, self.device
        generator = torch.Generator().manual_seed(_SEED)
        seen = {name: each.to(device) for name, each in self._clip(denoiser, generator).items()}
        words = {
            name: torch.randn(_TEXT_TOKENS, width, generator=generator)
            for name, width in text_widths(self._model).items()
        }
        text = Text.padded([words]).to(device, denoiser.dtype)
        peak_bytes(device)
        began = time.perf_counter()
        with autocast(mode, device):
            velocities = denoiser.denoise(seen, text)
        errors = [velocities[name].float() - each.tokens for name, each in seen.items()]
        torch.stack([error.square().mean() for error in errors]).sum().backward()
        gradients = [p.grad for p in trainable.parameters if p.grad is not None]
        flat = torch.cat([gradient.float().flatten() for gradient in gradients]).cpu()
        seconds = time.perf_counter() - began  # the copy to the CPU has waited for the device
        for parameter in trainable.parameters:
            parameter.grad = None
        return Step(flat, seconds, peak_bytes(device))

    def _clip(self, denoiser: Denoiser, generator: torch.Generator) -> dict[str, StreamInput]:
        """Noised latents of each stream."""
        family, found = open_model(self.kind.miniature).family, {}
        for name, shape in family.latent_shapes(self.sizes.clip, _FPS).items():
            stream = denoiser.streams[name]
            latents = torch.randn(1, stream.channels, *shape, generator=generator)
            tokens, positions = stream.to_tokens(latents), stream.positions(shape, _RATE)
            found[name] = StreamInput(tokens, torch.full(tokens.shape[:2], 0.5), positions)
        return found
