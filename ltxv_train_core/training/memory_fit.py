"""Whether a step fits into the memory that is free, and what would make it fit."""

import math
from collections.abc import Iterator

import torch

from ..config import TrainingConfig
from ..datasets.dataset import TrainingDataset
from ..events import Notice, Reporter
from ..families.base import Denoiser
from ..families.names import VIDEO
from ..families.registry import family_named
from ..geometry import VideoSize
from ..lora.initialize import adapted_layers
from ..models.device import free_bytes
from ..models.memory.checkpointing import recompute_blocks
from ..models.memory.frozen_linear import is_in_eight_bits
from ..models.memory.offload import spread_blocks
from ..models.memory.quantize import frozen_bytes
from ..units import byte_size
from .memory_estimate import (
    TrainingBytes,
    adapter_bytes,
    bytes_beside_weights,
    saved_bytes,
    with_adapter,
)
from .trainable import Trainable

WORTH_TELLING_BYTES = 2**30 // 20
SHARE_OF_FREE = 0.9
"""Of the free memory; the rest is for attention's and the allocator's working memory."""


def tell_fit(
    config: TrainingConfig,
    trainable: Trainable,
    dataset: TrainingDataset,
    device: torch.device,
) -> Notice:
    """What a step needs beside the weights, and what is free; options that save, if it is too much.

    An estimate: attention's and the allocator's working memory come on top.

    Args:
        trainable: on its device.
    """
    free, denoiser = free_bytes(device), trainable.denoiser
    config = as_compiled(config, trainable.is_compiled)
    needed = step_bytes(config, denoiser, dataset, free)
    kind = " with compiled blocks" if trainable.is_compiled else ""
    line = (
        f"a step{kind} needs about {byte_size(needed)} of memory beside the weights, {byte_size(free)} are "
        f"free on {device}"
    )
    if needed <= free:
        return Notice(line)
    savings = ", ".join(_savings(config, denoiser, dataset))
    advice = f"it may fail or become very slow. What saves memory: {savings}; smaller clips"
    return Notice(f"{line}: {advice}", lasting=True)


def keep_to_budget(
    config: TrainingConfig,
    trainable: Trainable,
    dataset: TrainingDataset,
    device: torch.device,
    report: Reporter,
) -> None:
    """Lets as many blocks be computed again as `optimization.checkpointing_budget` takes, where it is set."""
    if config.optimization.checkpointing_budget is None:
        return
    denoiser, transformer = trainable.denoiser, trainable.denoiser.transformer
    config = as_compiled(config, trainable.is_compiled)
    blocks = len(transformer.transformer_blocks)
    offloaded = spread_blocks(blocks, config.acceleration.blocks_to_offload)
    count = _of_a_step(config, denoiser, dataset, free_bytes(device)).recomputed
    recompute_blocks(transformer, count - len(offloaded), offloaded, trainable.checkpoint)
    report(
        Notice(
            f"optimization.checkpointing_budget: the activations of {count} of {blocks} blocks are computed "
            "again in the backward pass"
        )
    )


def as_compiled(config: TrainingConfig, compiled: bool) -> TrainingConfig:
    """The configuration of a run whose blocks are compiled, or not: its device may not be able to."""
    mode = "max-autotune" if compiled else config.acceleration.compilation_mode
    options = {"compile_with_inductor": compiled, "compilation_mode": mode}
    acceleration = config.acceleration.model_copy(update=options)
    return config.model_copy(update={"acceleration": acceleration})


def step_bytes(
    config: TrainingConfig, denoiser: Denoiser, dataset: TrainingDataset, free: float = math.inf
) -> int:
    """For the largest clips: what is kept for the backward pass, gradients, optimizer state.

    Args:
        free: bytes that were so before.
    """
    return _of_a_step(config, denoiser, dataset, free).total


def _of_a_step(
    config: TrainingConfig, denoiser: Denoiser, dataset: TrainingDataset, free: float
) -> TrainingBytes:
    transformer = denoiser.transformer
    trained = [p.numel() for p in transformer.parameters() if p.requires_grad]
    saved = saved_bytes(
        config,
        family_named(dataset.index.family),
        transformer.config,
        largest_sample(dataset),
    )
    blocks = len(transformer.transformer_blocks)
    adapted = [(e.out_features, e.in_features) for e in adapted_layers(transformer).values()]
    added = adapter_bytes(config, adapted, largest_sample(dataset))
    saved = with_adapter(saved, added, blocks)
    return bytes_beside_weights(
        config, sum(trained), max(trained), blocks, saved, SHARE_OF_FREE * free
    )


def largest_sample(dataset: TrainingDataset) -> dict[str, int]:
    """Tokens by stream of the clip that has most, those of its reference included."""
    formats = family_named(dataset.index.family).streams

    def tokens(size: str, fps: float, reference: str, streams: tuple[str, ...]) -> dict[str, int]:
        """Of a video's reference, which may be smaller, by its size; of another stream's by the clip's."""
        whole, smaller = VideoSize.parse(size), VideoSize.parse(reference or size)
        found = {name: formats[name].tokens(whole, fps) for name in streams}
        for name in found.keys() & dataset.referenced:
            found[name] += formats[name].tokens(smaller if name == VIDEO else whole, fps)
        return found

    pairs = zip(dataset.items, dataset.reference_sizes, strict=True)
    kinds = {
        (item.size, item.fps, reference, tuple(dataset.streams_of(item)))
        for item, reference in pairs
    }
    return max((tokens(*kind) for kind in kinds), key=lambda each: sum(each.values()))


def _savings(config: TrainingConfig, denoiser: Denoiser, dataset: TrainingDataset) -> Iterator[str]:
    """Options with what each of them alone would save, in the order in which to try them."""
    needed = step_bytes(config, denoiser, dataset)
    for name, value in (
        ("enable_gradient_checkpointing", True),
        ("batch_size", 1),
        ("optimizer_type", "adamw8bit"),
    ):
        changed = config.model_copy(
            update={"optimization": config.optimization.model_copy(update={name: value})}
        )
        saved = needed - step_bytes(changed, denoiser, dataset)
        if saved > WORTH_TELLING_BYTES:
            yield f"optimization.{name} {str(value).lower()} {byte_size(saved)}"
    if config.model.training_mode != "lora":
        return
    blocks = denoiser.transformer.transformer_blocks
    size = frozen_bytes(blocks)
    if config.acceleration.quantization is None and not is_in_eight_bits(blocks):
        in_eight_bits = sum(p.numel() for p in blocks.parameters() if not p.requires_grad)
        yield f"acceleration.quantization int8-quanto {byte_size(size - in_eight_bits)}"
    yield f"acceleration.blocks_to_offload {byte_size(size / len(blocks))} for each block"
