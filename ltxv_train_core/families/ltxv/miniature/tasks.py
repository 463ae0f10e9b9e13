"""What the demo data sets show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a data set shows.

    Attributes:
        clips: default number of clips.
        style: of the clips to learn.
        motion: of every clip, or None where each has its own.
        motion_in_caption: whether captions (and prompts) name it.
        mirrored: whether every clip comes with a reference: the white silhouette, mirrored.
    """

    clips: int = 24
    style: str = "plain"
    motion: str | None = None
    motion_in_caption: bool = True
    mirrored: bool = False


TASKS = {
    "stripes": Task(style="stripes"),
    "mirror": Task(clips=48, motion_in_caption=False, mirrored=True),
    "up": Task(motion="up", motion_in_caption=False),
    "plain": Task(),
}
DATASETS = tuple(TASKS)
