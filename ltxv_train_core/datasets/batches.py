"""The batches that training takes from a data set, without end, at a position that can be saved."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from .batch_order import NumberedClip, batch_order
from .dataset import Batch, TrainingDataset, collate

# One is read while one waits; more only holds memory.
BATCHES_AHEAD_PER_WORKER = 2
CAPTION_DRAWS = 1
"""Tells their random numbers from those of the order."""


def batches(
    dataset: TrainingDataset,
    batch_size: int,
    seed: int,
    workers: int = 0,
    rank: int = 0,
    processes: int = 1,
    samples_per_step: int = 1,
) -> "Batches | BatchesWithPrior":
    """Batches of a data set without end: data, batch size and seed alone decide about their order. The
    caption of a sample depends on its number and the seed alone. With a prior data set each has one of it.

    Args:
        workers: threads that read ahead; 0 reads when asked. They are threads on every platform:
            items are small and reading them leaves Python's lock alone, and a process could not
            import this package under the name that ComfyUI gives it.
        rank, processes: of `processes` that train together each takes every so-many-th batch of the
            one order, from the batch of its rank on.
        samples_per_step: of one optimizer step in all processes: a stage ends with a step.
    """
    shared = batch_size, seed, workers, rank, processes, samples_per_step
    own = Batches(dataset, *shared)
    if dataset.prior is None:
        return own
    return BatchesWithPrior(own, Batches(dataset.prior, *shared))


class Batches(Iterator[Batch]):
    """An endless iterator whose position can be saved and restored. Made by `batches`."""

    def __init__(
        self,
        dataset: TrainingDataset,
        batch_size: int,
        seed: int,
        workers: int,
        rank: int,
        processes: int,
        samples_per_step: int,
    ):
        self._dataset = dataset
        self._stages = dataset.stages(samples_per_step)
        self._rank, self._processes = rank, processes
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, "ltxv-data") if workers else None
        self._ahead: deque[Future[Batch]] = deque()
        self._rewind(0)

    def __next__(self) -> Batch:
        if self._threads is None:
            batch = self._read(next(self._order))
        else:
            while len(self._ahead) < self._workers * BATCHES_AHEAD_PER_WORKER:
                self._ahead.append(self._threads.submit(self._read, next(self._order)))
            batch = self._ahead.popleft().result()
        self._samples += self.samples_at_once
        return batch

    @property
    def samples_at_once(self) -> int:
        """Of one batch of every process."""
        return self._batch_size * self._processes

    def state_dict(self) -> dict[str, Any]:
        """The position: samples handed out by all processes together. What was read ahead doesn't
        count."""
        return {"samples": self._samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a saved position; the next batch is the one that was next then."""
        self._rewind(state["samples"])

    def close(self) -> None:
        """Ends the reading threads."""
        self._drop_ahead()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _rewind(self, samples: int) -> None:
        self._drop_ahead()
        order = batch_order(self._dataset.sizes, self._batch_size, self._seed, self._stages)
        first = samples // self._batch_size + self._rank
        self._order = islice(order, first, None, self._processes)
        self._samples = samples

    def _drop_ahead(self) -> None:
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _read(self, clips: list[NumberedClip]) -> Batch:
        examples = [
            self._dataset.draw(index, np.random.default_rng([self._seed, number, CAPTION_DRAWS]))
            for number, index in clips
        ]
        return collate(examples, [clip.number for clip in clips])


class BatchesWithPrior(Iterator[Batch]):
    """Batches of a data set, each with one of its prior data set. Both are as far, so one position tells both."""

    def __init__(self, own: Batches, prior: Batches):
        self._own, self._prior = own, prior

    def __next__(self) -> Batch:
        prior = next(self._prior)
        # Numbers of their own: noise that no sample of the data set has.
        numbers = tuple(-1 - number for number in prior.numbers)
        return replace(next(self._own), prior=replace(prior, numbers=numbers))

    @property
    def samples_at_once(self) -> int:
        """Of one batch of every process, the prior's not counted."""
        return self._own.samples_at_once

    def state_dict(self) -> dict[str, Any]:
        """See `Batches`."""
        return self._own.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Batches`."""
        self._own.load_state_dict(state)
        self._prior.load_state_dict(state)

    def close(self) -> None:
        """Ends the reading threads."""
        self._own.close()
        self._prior.close()
