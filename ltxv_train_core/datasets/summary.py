"""What a preprocessed data set holds, and what it takes to train on it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

from ..families.family import Family, ModelSize
from ..families.names import REFERENCE, VIDEO
from ..families.registry import family_named
from ..geometry import VideoSize
from ..media.info import TRAITS, MediaInfo
from ..units import byte_size, duration
from .cache import Cache
from .index import WINDOW_MARK, Example, Index

Verified: TypeAlias = tuple[str, float]
"""A clip that was decoded again, and its PSNR in dB."""


@dataclass(frozen=True)
class DatasetSummary:
    """Attributes:
    clips: number of items by size, of sounds alone by their length; a clip gives several where it has several windows.
    frames: of the videos and images.
    files: the clips that the items are of.
    caption_tokens: least, median and most tokens of a caption.
    sample_tokens: tokens of a sample by size, references included.
    model_sizes: of the family that it is for; none where it is for the miniature.
    """

    clips: dict[str, int]
    files: int
    frames: int
    caption_tokens: tuple[int, int, int]
    sample_tokens: dict[str, int]
    disk_bytes: int
    with_references: bool
    model_sizes: tuple[ModelSize, ...]

    @property
    def amount(self) -> str:
        """How many clips there are, in words."""
        items = sum(self.clips.values())
        clips = _counted(self.files, "clip")
        return clips if items == self.files else f"{_counted(items, 'window')} of {clips}"

    @property
    def lines(self) -> list[str]:
        """In words."""
        frames = f", {self.frames} frames" if self.frames else ""
        lines = [f"{self.amount}{frames}, {byte_size(self.disk_bytes)} on disk"]
        unit = "clip" if sum(self.clips.values()) == self.files else "window"
        for size, count in self.clips.items():
            reference = " with its reference" if self.with_references else ""
            amount = _counted(count, unit)
            lines.append(f"- {size}: {amount}, {self.sample_tokens[size]} tokens{reference}")
        low, middle, high = self.caption_tokens
        lines.append(f"captions: {low} to {high} tokens, half of them up to {middle}")
        tokens = max(self.sample_tokens.values())
        for model in self.model_sizes:
            whole, checkpointed = (
                byte_size(model.training_bytes(tokens, checkpointing))
                for checkpointing in (False, True)
            )
            lines.append(
                f"training memory of a {model.name} model, estimated for a LoRA with batch size 1: "
                f"{whole}, {checkpointed} with gradient checkpointing"
            )
        return lines


def summarize(index: Index, cache: Cache) -> DatasetSummary:
    """Looks at an index and the heads of its files."""
    sizes = Counter(map(_shown_size, index.items))
    clips = dict(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))
    family = family_named(index.family)
    references = any(REFERENCE in files for item in index.items for files in item.streams.values())
    tokens: dict[str, int] = {}
    for item in index.items:
        size = _shown_size(item)
        tokens[size] = max(tokens.get(size, 0), _tokens(item, family))
    embeddings = {caption.embedding for item in index.items for caption in item.captions}
    lengths = sorted(cache.first_dimension(one, family.text[0]) for one in embeddings)
    names = {item.name for item in index.items}
    return DatasetSummary(
        clips=clips,
        files=sum(name.rpartition(WINDOW_MARK)[0] not in names for name in names),
        frames=sum(VideoSize.parse(i.size).frames for i in index.items if VIDEO in i.streams),
        caption_tokens=(lengths[0], int(median(lengths)), lengths[-1]),
        sample_tokens={size: tokens[size] for size in clips},
        disk_bytes=cache.size_bytes(index.files),
        with_references=references,
        model_sizes=() if index.model.get("name") == family.miniature else family.sizes,
    )


def _shown_size(item: Example) -> str:
    if VIDEO in item.streams:
        return item.size
    return f"{VideoSize.parse(item.size).frames / item.fps:.2f} s of sound alone"


def common_size(index: Index) -> tuple[VideoSize, float]:
    """The size that most clips have, sounds alone left out, and the frames per second that most of those have."""
    items = [item for item in index.items if VIDEO in item.streams] or index.items
    size = Counter(item.size for item in items).most_common(1)[0][0]
    rates = Counter(item.fps for item in items if item.size == size)
    return VideoSize.parse(size), rates.most_common(1)[0][0]


def _tokens(item: Example, family: Family) -> int:
    """How many tokens a transformer sees of an example, its references included."""
    size = VideoSize.parse(item.size)
    return sum(
        family.streams[name].tokens(size, item.fps) * (1 + (REFERENCE in files))
        for name, files in item.streams.items()
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def count_traits(infos: Iterable[MediaInfo]) -> dict[str, int]:
    """How many files, or windows of them, were brought to how they are shown, and by what."""
    traits = Counter(trait for info in infos for trait in info.traits)
    return {TRAITS[trait]: traits[trait] for trait in TRAITS if traits[trait]}


@dataclass(frozen=True)
class PreprocessSummary:
    """What a pass has done.

    Attributes:
        root: the folder that was written.
        index: the data set's own index in it; training reads it by this path, whatever else is
            preprocessed into the folder later.
        written, reused: counts of the clips' files.
        reread: those of the written ones that an earlier version had made, from another reading.
        shown: what was done to show files right, and to how many.
        silent: clips without sound, where sound is trained.
        missing_sound: what becomes of them.
        stills: videos of which one frame is trained.
        skipped: (name, reason) of clips that were skipped.
        other_indexes: names of the indexes of other data sets in the folder.
        orphans: cached files that no index of the folder names, relative to the root.
        orphans_removed: whether they were deleted.
        verified: (name, PSNR in dB) of clips that were decoded again.
        sheet: a contact sheet of the clips.
        verification: the clips that were decoded again, beside the originals.
    """

    root: Path
    index: Path
    written: int
    reused: int
    reread: int
    shown: dict[str, int]
    silent: int
    missing_sound: str
    stills: int
    skipped: tuple[tuple[str, str], ...]
    seconds: float
    dataset: DatasetSummary
    other_indexes: tuple[str, ...]
    orphans: tuple[str, ...]
    orphans_removed: bool
    verified: tuple[Verified, ...]
    sheet: Path
    verification: Path | None

    @property
    def text(self) -> str:
        """Everything that the user should know, in lines."""
        lines = [
            f"{self.dataset.amount} ready, {len(self.skipped)} skipped; {self.written} files encoded, "
            f"{self.reused} reused, took {duration(self.seconds)}"
        ]
        lines += [f"skipped {name}: {reason}" for name, reason in self.skipped]
        if self.reread:
            lines.append(
                f"{self.reread} of the written files were there, made by an earlier version that did "
                "not read them as they are shown"
            )
        if self.shown:
            done = ", ".join(f"{count} {trait}" for trait, count in self.shown.items())
            lines.append(f"read as they are shown: {done}")
        if self.silent:
            instead = {
                "silence": "silence is trained in its place",
                "video_only": "their video alone is trained",
            }[self.missing_sound]
            lines.append(
                f"{_counted(self.silent, 'clip')} without sound: {instead} (missing_sound)"
            )
        if self.stills:
            fills = "fills" if self.stills == 1 else "fill"
            videos = _counted(self.stills, "video")
            lines.append(f"{videos} {fills} no size of several frames: one frame of each")
        lines += self.dataset.lines
        lines += [f"decoded {name}: {db:.1f} dB" for name, db in self.verified]
        if self.other_indexes:
            lines.append(
                f"the folder also holds {_counted(len(self.other_indexes), 'other data set')}, for "
                f"example {self.other_indexes[0]}; where one is no longer needed, delete its index and "
                "preprocess with remove_orphans"
            )
        if self.orphans and self.orphans_removed:
            lines.append(
                f"{len(self.orphans)} files that no index of the folder names were removed"
            )
        elif self.orphans:
            lines.append(
                f"{len(self.orphans)} files are named by no index of the folder, for example "
                f"{self.orphans[0]}; remove_orphans deletes them"
            )
        return "\n".join(lines)
