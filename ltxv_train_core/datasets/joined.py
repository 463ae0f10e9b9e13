"""Several data sets as one: what a run with `data.more_data_sets` is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..config.data_set_lines import DataSetLine, data_set_names
from ..errors import DataError
from ..geometry import ReferenceScale
from ..storage.atomic import sha256_json
from .batch_order import Stage
from .dataset import LoadedExample, TrainingDataset
from .index import CachedFile

if TYPE_CHECKING:
    from torch import Tensor

    from ..families.base import Embedding


@dataclass(frozen=True)
class Part:
    """One of the data sets, with what the run makes of it."""

    dataset: TrainingDataset
    line: DataSetLine

    @property
    def facts(self) -> list[object]:
        """What the run's result depends on."""
        line = self.line
        return [
            self.dataset.fingerprint(),
            line.repeats,
            line.weight,
            line.caption_dropout,
            *line.stages,
        ]


class JoinedDataset(TrainingDataset):
    """The clips of several data sets, one data set after the other."""

    def __init__(
        self, parts: Sequence[Part], stage_steps: Sequence[int] = (), balanced: bool = False
    ):
        """
        Args:
            parts: of one family, with references of one scale.
            stage_steps, balanced: as in the configuration.

        Raises:
            DataError: the parts don't go together.
        """
        require_alike([part.dataset for part in parts])
        self.parts, self.stage_steps, self.balanced = tuple(parts), tuple(stage_steps), balanced
        first = parts[0].dataset
        self.files, self.root, self.option = first.files, first.root, first.option
        self.reference_dir, self.mask_dir = first.reference_dir, first.mask_dir
        self.streams, self.sound_roles = first.streams, first.sound_roles
        self.caption_dropout_p = first.caption_dropout_p
        self.held_out = self.prior = self.preserved = None
        self.items = tuple(item for part in parts for item in part.dataset.items)
        self.index = replace(first.index, items=self.items)
        self.reference_sizes = [size for part in parts for size in part.dataset.reference_sizes]
        self.members = tuple(part.dataset for part in parts)
        self._places = [
            (number, index)
            for number, part in enumerate(parts)
            for index in range(len(part.dataset))
        ]

    def holding_out(self, numbers: Sequence[int]) -> JoinedDataset:
        """See `TrainingDataset`. Raises `DataError` where nothing is left of one of the data sets."""
        rest = self._only(sorted(set(range(len(self))) - set(numbers)))
        for part in rest.parts:
            if not part.dataset.items:
                raise DataError(
                    f"data.held_out_clips {len(numbers)}: leaves no clip of {part.dataset.root} to train on; hold fewer "
                    "out, or add videos"
                )
        rest.held_out = self._only(numbers)
        return rest

    def _only(self, numbers: Sequence[int]) -> JoinedDataset:
        wanted: list[list[int]] = [[] for _ in self.parts]
        for number in numbers:
            part, index = self._places[number]
            wanted[part].append(index)
        parts = [
            replace(part, dataset=part.dataset._only(indexes))
            for part, indexes in zip(self.parts, wanted, strict=True)
        ]
        return JoinedDataset(parts, self.stage_steps, self.balanced)

    def some(self, count: int) -> Sequence[int]:
        """Of each data set in turn, as long as it has clips."""
        own = Counter[int]()
        ranks = []
        for part, _ in self._places:
            ranks.append((own[part], part))
            own[part] += 1
        return sorted(range(len(self)), key=ranks.__getitem__)[:count]

    def stages(self, samples_per_step: int) -> tuple[Stage, ...]:
        """See `TrainingDataset`."""
        counts = [len(part.dataset) for part in self.parts]
        found = []
        for number, steps in enumerate([*self.stage_steps, None], 1):
            active = [part.line.is_in(number) for part in self.parts]
            most = max(clips for clips, is_in in zip(counts, active, strict=True) if is_in)
            repeats = tuple(
                (
                    clips,
                    part.line.repeats * (most / clips if self.balanced else 1) if is_in else 0.0,
                )
                for clips, is_in, part in zip(counts, active, self.parts, strict=True)
            )
            found.append(Stage(repeats, steps and steps * samples_per_step))
        return tuple(found)

    def _own_fingerprint(self) -> str:
        parts = [part.facts for part in self.parts]
        return sha256_json([parts, list(self.stage_steps), self.balanced])

    def _dropout(self, index: int) -> tuple[float, CachedFile | None]:
        part, own = self._places[index]
        return self.parts[part].dataset._dropout(own)

    def _read(self, index: int, caption: CachedFile) -> LoadedExample:
        number, own = self._places[index]
        part = self.parts[number]
        example = part.dataset._read(own, caption)
        return replace(example, weight=part.line.weight, data_set=number)

    def latents(self, index: int) -> Tensor:
        """See `TrainingDataset`."""
        part, own = self._places[index]
        return self.parts[part].dataset.latents(own)

    def empty_text(self) -> Embedding | None:
        """That of the first data set that has one."""
        texts = (part.dataset.empty_text() for part in self.parts)
        return next((text for text in texts if text is not None), None)

    @property
    def reference_scale(self) -> ReferenceScale:
        """See `TrainingDataset`."""
        return self.parts[0].dataset.reference_scale

    @property
    def notices(self) -> list[str]:
        """See `TrainingDataset`."""
        return [line for part in self.parts for line in part.dataset.notices]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the data sets, no two the same."""
        return data_set_names([part.line for part in self.parts])

    def name_of(self, index: int) -> str:
        """See `TrainingDataset`."""
        part, own = self._places[index]
        return self.parts[part].dataset.name_of(own) or self.names[part]

    def names_in(self, stage: int) -> tuple[str, ...]:
        """See `TrainingDataset`."""
        pairs = zip(self.names, self.parts, strict=True)
        return tuple(name for name, part in pairs if part.line.is_in(stage))


def require_alike(datasets: Sequence[TrainingDataset]) -> None:
    """Raises `DataError` for data sets that one run can't train on, and names them."""
    first = datasets[0]
    for other in datasets[1:]:
        if other.index.family != first.index.family:
            raise DataError(
                f"{other.option}: {other.root} is for {other.index.family}, and {first.root} for {first.index.family}; "
                "preprocess all data sets of a run for one model"
            )
        mine, its = first.reference_scale, other.reference_scale
        if first.referenced and mine != its:
            raise DataError(
                f"{other.option}: the references of {other.root} are {its.spatial} times smaller than its clips and "
                f"{its.temporal} times shorter, and those of {first.root} {mine.spatial} and {mine.temporal} times; "
                "preprocess both with the same reference_downscale_factor"
            )
