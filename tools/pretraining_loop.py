"""Pretrains a miniature for a fixed number of steps: what both of them have in common.

Everything is drawn from one seed and the learning rate follows the step, so that a training which
was interrupted and continued gives the same weights as one that wasn't.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltxv_train_core.storage.tensors import write_safetensors

LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
CONSTANT_SHARE = 0.3
FINAL_SHARE = 0.02
EMA_DECAY = 0.998
REPORT_STEPS = 100


@dataclass(frozen=True)
class Settings:
    """
    Attributes:
        output: gets the averaged weights.
        state_file: what a training continues from; removed at the end.
        snapshot_seconds: between two writes of the averaged weights and of the state.
    """

    output: Path
    state_file: Path
    steps: int
    clip_count: int
    batch_size: int
    seed: int
    snapshot_seconds: float

    def data_file(self) -> Path:
        """Where the encoded clips lie until the training ends."""
        return self.state_file.with_suffix(f".clips-{self.clip_count}-{self.seed}.pt")

    def as_drawn(self) -> tuple[int, int, int]:
        """What decides about the numbers that are drawn."""
        return self.clip_count, self.batch_size, self.seed


@dataclass
class Draws:
    """What the steps draw random numbers from."""

    numbers: torch.Generator
    words: random.Random

    @classmethod
    def seeded(cls, seed: int) -> "Draws":
        return cls(torch.Generator().manual_seed(seed), random.Random(seed))

    def state(self) -> dict[str, Any]:
        return {"numbers": self.numbers.get_state(), "words": self.words.getstate()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.numbers.set_state(state["numbers"])
        self.words.setstate(state["words"])


class Average:
    """Exponential moving average of parameters, quick to follow in the beginning."""

    def __init__(self, parameters: list[nn.Parameter]):
        self._parameters = parameters
        self._values = [p.detach().clone() for p in parameters]
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = min(EMA_DECAY, self._updates / (self._updates + 9))
        torch._foreach_lerp_(self._values, self._parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the parameters with their average; the second call puts them back."""
        for value, parameter in zip(self._values, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "updates": self._updates}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        self._updates = state["updates"]
        for value, stored in zip(self._values, state["values"], strict=True):
            value.copy_(stored)


@dataclass
class Training:
    """One training: its parameters, and what changes with every step."""

    settings: Settings
    parameters: list[nn.Parameter]
    draws: Draws
    step: int = 0
    optimizer: torch.optim.Optimizer = field(init=False)
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = optimizer_for(self.parameters)
        self.average = Average(self.parameters)
        if self.settings.state_file.exists():
            self._restore(torch.load(self.settings.state_file, weights_only=False))

    def run(
        self, losses: Callable[[Draws], Mapping[str, Tensor]], save: Callable[[Path], None]
    ) -> None:
        """Takes the steps that are left, printing the losses, and writes the averaged weights.

        Args:
            losses: draws a batch and returns the parts of its loss, by name.
            save: writes the weights as they are into a folder.
        """
        settings = self.settings
        started = saved = time.monotonic()
        history: list[dict[str, float]] = []
        while self.step < settings.steps:
            history.append(self._take_step(losses))
            if self.step % REPORT_STEPS == 0:
                _report(self.step, history[-REPORT_STEPS:], time.monotonic() - started)
            if time.monotonic() - saved > settings.snapshot_seconds:
                self._save_averaged(save)
                self._save_state()
                saved = time.monotonic()
        self._save_averaged(save)
        for path in (settings.state_file, settings.data_file()):
            path.unlink(missing_ok=True)

    def _take_step(self, losses: Callable[[Draws], Mapping[str, Tensor]]) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.settings.steps)
        parts = losses(self.draws)
        self.optimizer.zero_grad()
        sum(parts.values(), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.average.update()
        self.step += 1
        return {name: part.item() for name, part in parts.items()}

    def _save_averaged(self, save: Callable[[Path], None]) -> None:
        self.average.swap()
        save(self.settings.output)
        self.average.swap()

    def _save_state(self) -> None:
        state = {
            "step": self.step,
            "steps": self.settings.steps,
            "drawn": self.settings.as_drawn(),
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "draws": self.draws.state(),
        }
        _save(state, self.settings.state_file)

    @torch.no_grad()
    def _restore(self, state: Mapping[str, Any]) -> None:
        self._require_same(state)
        self.step = state["step"]
        for parameter, stored in zip(self.parameters, state["parameters"], strict=True):
            parameter.copy_(stored)
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.restore(state["average"])
        self.draws.restore(state["draws"])
        print(f"continues from step {self.step}", flush=True)

    def _require_same(self, state: Mapping[str, Any]) -> None:
        """Raises `ValueError` where the state is of another training than this one.

        The number of steps may be another as long as the learning rate was the same for both.
        """
        settings = self.settings
        constant = CONSTANT_SHARE * min(settings.steps, state["steps"])
        same_rates = settings.steps == state["steps"] or state["step"] <= constant
        if settings.as_drawn() != state["drawn"] or not same_rates:
            raise ValueError(
                f"{settings.state_file}: step {state['step']} of {state['steps']} with clips, batch and "
                f"seed {state['drawn']}; this training has {settings.steps} steps and "
                f"{settings.as_drawn()}. Give the same numbers, or delete the file"
            )


def learning_rate(step: int, steps: int) -> float:
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    progress = max(0.0, step / steps - CONSTANT_SHARE) / (1 - CONSTANT_SHARE)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return LEARNING_RATE * warmup * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)


def optimizer_for(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": 0.01},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)


def save_part(module: nn.Module, path: Path) -> None:
    """Writes a module's weights in bfloat16."""
    state = {k: v.bfloat16() for k, v in module.state_dict().items() if "embed_tokens" not in k}
    write_safetensors(path, state, {"format": "pt"})


def _report(step: int, history: list[dict[str, float]], seconds: float) -> None:
    means = {name: sum(row[name] for row in history) / len(history) for name in history[0]}
    losses = " ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    print(f"step {step} {losses} {seconds:.0f} s", flush=True)


def drawn_once(settings: Settings, draw: Callable[[], Any]) -> Any:
    """Encoded clips: drawn, or read where an interrupted training left them."""
    path = settings.data_file()
    if not path.exists():
        _save(draw(), path)
    return torch.load(path, weights_only=False)


def _save(value: Any, path: Path) -> None:
    """Writes the file at once, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    torch.save(value, unfinished)
    unfinished.replace(path)
