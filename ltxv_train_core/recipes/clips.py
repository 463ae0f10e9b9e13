"""What a recipe needs to know of a data set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..datasets.dataset import TrainingDataset
from ..datasets.held_out import source_of
from ..families.family import Family
from ..families.names import VIDEO
from ..geometry import VideoSize
from ..training.memory_fit import largest_sample


@dataclass(frozen=True)
class Clips:
    """The clips of a data set.

    Attributes:
        count: how many there are.
        size: in pixels and frames, of most of them.
        fps: frames per second, of most of them.
        tokens: of the largest one by stream, its reference included where training takes it.
        data: the data set's fingerprint; empty for clips that are on no disk.
        videos: of each video the number of clips that were cut from it.
        are_sounds: whether none has a picture; then the size is the smallest one, and says how long they are.
    """

    count: int
    size: VideoSize
    fps: float
    tokens: Mapping[str, int]
    data: str = ""
    videos: tuple[int, ...] = ()
    are_sounds: bool = False

    @property
    def text(self) -> str:
        """How many, and how large or long."""
        if self.are_sounds:
            seconds = self.size.frames / self.fps
            return f"{self.count} sounds without pictures, most of them of {seconds:.1f} seconds"
        return f"{self.count} clips, most of them {self.size}"

    @classmethod
    def of(cls, dataset: TrainingDataset) -> "Clips":
        """Those of a data set, opened as it will be trained on."""
        videos = [item for item in dataset.items if VIDEO in item.streams]
        items = videos or dataset.items
        (size, fps), _ = Counter((item.size, item.fps) for item in items).most_common(1)[0]
        return cls(
            count=len(dataset),
            size=VideoSize.parse(size),
            fps=fps,
            tokens=largest_sample(dataset),
            data=dataset.fingerprint(),
            videos=tuple(Counter(source_of(item.name) for item in dataset.items).values()),
            are_sounds=not videos,
        )

    @classmethod
    def alike(
        cls, count: int, size: VideoSize, fps: float, family: Family, with_references: bool = False
    ) -> "Clips":
        """So many clips of one size, each with a reference of that size or without."""
        videos = 2 if with_references else 1
        tokens = {name: videos * s.tokens(size, fps) for name, s in family.streams.items()}
        return cls(count, size, fps, tokens, videos=(1,) * count)
