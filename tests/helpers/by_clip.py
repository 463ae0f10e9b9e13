"""Steps whose noise depends on each clip alone, so that a clip is the same in every batch."""

from collections.abc import Callable

import torch

from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.strategies.base import StepInputs, StreamStep

Prepare = Callable[[Batch, torch.Generator], StepInputs]


def prepare_by_clip(prepare: Prepare, batch: Batch, seed: Callable[[str], int]) -> StepInputs:
    """Prepares each clip of a batch by itself, with the seed of its name."""
    rows = [
        prepare(_row(batch, number), torch.Generator().manual_seed(seed(name)))
        for number, name in enumerate(batch.names)
    ]
    return StepInputs({n: _joined([row.streams[n] for row in rows]) for n in rows[0].streams})


def _row(batch: Batch, number: int) -> Batch:
    own = slice(number, number + 1)
    streams = {
        name: {role: tensor[own] for role, tensor in tensors.items()}
        for name, tensors in batch.streams.items()
    }
    text = Text({n: t[own] for n, t in batch.text.tensors.items()}, batch.text.mask[own])
    return Batch(streams, batch.fps[own], text, batch.names[own])


def _joined(rows: list[StreamStep]) -> StreamStep:
    seen = [(row.seen.tokens, row.seen.levels, row.seen.positions) for row in rows]
    return StreamStep(
        StreamInput(*(torch.cat(parts) for parts in zip(*seen, strict=True))),
        torch.cat([row.velocity for row in rows]),
        torch.cat([row.counted for row in rows]),
    )
