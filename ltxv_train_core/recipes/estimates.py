"""What training takes on each card, before anything is downloaded."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..config import ModelConfig, TrainingConfig
from ..errors import ConfigurationError
from ..families.open import describe_model
from ..geometry import VideoSize
from ..training.memory_estimate import (
    TrainingBytes,
    activation_bytes_on_host,
    average_bytes_on_host,
    offloaded_bytes,
    training_bytes,
)
from ..training.stored_bytes import StoredBytes, stored_bytes
from ..training.transformer_sizes import transformer_sizes
from ..units import GIB, byte_size
from .clips import Clips
from .names import Effort, Goal
from .proposal import Proposal
from .propose import propose
from .request import RecipeRequest

_HEAD = (
    "card",
    "memory",
    "base",
    "trained",
    "gradients",
    "activations",
    "host",
    "disk",
    "settings",
)


@dataclass(frozen=True)
class RunBytes:
    """What a run takes, in bytes.

    Attributes:
        device: by part.
        host: frozen weights, an average and inputs of blocks that lie in memory of the host. The program itself takes 1 to 2 GiB beside.
        disk: what it writes.
    """

    device: TrainingBytes
    host: int
    disk: StoredBytes

    @classmethod
    def of(cls, config: TrainingConfig, clips: Clips) -> "RunBytes":
        """Those of a configuration.

        Raises:
            ConfigurationError: a target module of the LoRA matches no layer.
            ModelError: the sizes of its model aren't known before a download.
        """
        sizes = transformer_sizes(describe_model(config.model.model_source))
        device = training_bytes(config, sizes, clips.tokens)
        host = (
            offloaded_bytes(config, sizes)
            + average_bytes_on_host(config, sizes)
            + activation_bytes_on_host(config, sizes, clips.tokens)
        )
        return cls(device, host, stored_bytes(config, sizes))

    @property
    def text(self) -> str:
        """By part, in lines."""
        activations = "  activations"
        if self.device.compiled:
            activations += " (compiled)"
        parts = {
            "device memory": self.device.total,
            "  base": self.device.base,
            "  trained weights": self.device.trained,
            "  gradients": self.device.gradients,
            activations: self.device.activations,
            "host memory": self.host,
            "a LoRA or model file": self.disk.file,
            "a checkpoint": self.disk.checkpoint,
            "all that it keeps": self.disk.total,
        }
        return "\n".join(f"{name:22}{byte_size(size):>10}" for name, size in parts.items())

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        device = asdict(self.device) | {"total": self.device.total}
        return {"device": device, "host": self.host, "disk": asdict(self.disk)}


@dataclass(frozen=True)
class CardEstimate:
    """The fastest settings that fit a card, and what they take.

    Attributes:
        proposal: None where none fit.
        problem: why.
    """

    card_gb: int
    proposal: Proposal | None
    needs: RunBytes | None
    problem: str = ""

    @property
    def settings(self) -> str:
        """What decides about memory, as far as it isn't the fastest."""
        if self.proposal is None:
            return "does not fit"
        config = self.proposal.configuration
        optimization, acceleration = config.optimization, config.acceleration
        found = [
            f"batch {optimization.batch_size}" if optimization.batch_size > 1 else "",
            "checkpointing" if optimization.enable_gradient_checkpointing else "",
            optimization.optimizer_type if optimization.optimizer_type != "adamw" else "",
            acceleration.quantization or "",
            "activations in host memory" if optimization.activations_on_host else "",
            f"{acceleration.blocks_to_offload} blocks in host memory"
            if acceleration.blocks_to_offload
            else "",
        ]
        return ", ".join(filter(None, found)) or "nothing saved"

    def row(self) -> tuple[str, ...]:
        """Of the table, see `table`."""
        if self.needs is None:
            return (f"{self.card_gb} GB", *[""] * (len(_HEAD) - 2), self.settings)
        device = self.needs.device
        sizes = (
            device.total,
            device.base,
            device.trained,
            device.gradients,
            device.activations,
            self.needs.host,
            self.needs.disk.total,
        )
        return (f"{self.card_gb} GB", *map(byte_size, sizes), self.settings)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        needs = {} if self.needs is None else self.needs.as_json()
        return {
            "card_gb": self.card_gb,
            "settings": self.settings,
            "problem": self.problem,
            **needs,
        }


def card_estimates(
    model_source: str,
    goal: Goal,
    size: VideoSize,
    fps: float,
    cards_gb: Sequence[int],
    clips: int = 25,
    effort: Effort = "normal",
) -> list[CardEstimate]:
    """What a recipe proposes for each card, for clips of one size that needn't be there.

    Raises:
        ConfigurationError: the model doesn't take clips of this size.
        ModelError: there is no such model, or its sizes aren't known before a download.
    """
    family = describe_model(model_source).family
    if problem := family.grid.problem(size):
        raise ConfigurationError([f"--size: {problem}"])
    request = RecipeRequest(
        goal=goal,
        card_bytes=GIB,
        data_root="path/to/dataset",
        model=ModelConfig(model_source=model_source),
        effort=effort,
        clips=Clips.alike(clips, size, fps, family, goal == "ic-lora"),
    )
    return [_estimate(replace(request, card_bytes=card * GIB), card) for card in cards_gb]


def table(estimates: Sequence[CardEstimate]) -> str:
    """In Markdown."""
    rows = [_HEAD, *(each.row() for each in estimates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "| " + " | ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _estimate(request: RecipeRequest, card: int) -> CardEstimate:
    try:
        proposal = propose(request)
    except ConfigurationError as error:
        return CardEstimate(card, None, None, str(error))
    assert request.clips is not None
    return CardEstimate(card, proposal, RunBytes.of(proposal.configuration, request.clips))
