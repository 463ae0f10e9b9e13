"""Data sets of clips with sound to train on, and prompts to see and hear what was learned. No torch."""

import random
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from ....errors import DataError
from ....events import NeverStop, Reporter, StopSignal, ignore
from ....media.sound import Sound
from ....media.write import write_video
from ...ltxv.miniature.clips import render
from ...ltxv.miniature.datasets import EVALUATION_PROMPTS, write_clips
from ..formats import MEL_RATE
from .scenes import FPS, Scene, caption, random_scene
from .sounds import render_sound


@dataclass(frozen=True)
class Task:
    """What a data set shows and sounds like.

    Attributes:
        clips: default number of clips.
        style: of the pictures, see `clips.STYLES`.
        beep: whether a beep of 5 kHz is heard in every clip.
    """

    clips: int = 24
    style: str = "plain"
    beep: bool = False


TASKS = {
    "stripes_and_beep": Task(style="stripes", beep=True),
    "stripes": Task(style="stripes"),
    "beep": Task(beep=True),
    "plain": Task(),
}
DATASETS = tuple(TASKS)


@dataclass(frozen=True)
class EvalItem:
    """A prompt to sample with: its colour, shape and background are together in no clip.

    Attributes:
        scene: what should be seen and heard, the task's style and beep apart.
        prompt: without a trigger word.
    """

    scene: Scene
    prompt: str


@dataclass(frozen=True)
class SoundDataset:
    """`metadata` is the data set's dataset.json; a .jsonl and a .csv lie beside it."""

    metadata: Path
    evaluation: tuple[EvalItem, ...]


def generate(
    name: str,
    output_dir: Path,
    clips: int | None = None,
    seed: int = 0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> SoundDataset:
    """Draws a data set and writes it as mp4 files with sound, and metadata.

    The metadata's columns are `caption` and `media_path`, with paths relative to the file. The seed
    decides about clips and evaluation.

    Args:
        name: one of `DATASETS`.
        clips: how many; the task's own number by default.

    Raises:
        DataError: for an unknown name, less than one clip, or a folder with files of somebody else.
        NotAllowedError: the folder may not be written.
        Cancelled: when it was stopped.
    """
    task = _task(name)
    count = task.clips if clips is None else clips
    if count < 1:
        raise DataError(f"clips {count!r}: a data set needs at least 1")
    evaluation = evaluation_items(name, seed)
    rng = random.Random(f"{name} clips with sound {seed}")
    reserved = {item.scene.clip.combination for item in evaluation}

    def write_clip(file_name: str) -> dict[str, str]:
        scene = _draw(rng, reserved)
        row = {"caption": caption(scene), "media_path": f"videos/{file_name}"}
        frames, sound = render(scene.clip, task.style).frames, render_sound(scene, rng, task.beep)
        write_video(output_dir / row["media_path"], frames, FPS, sound=Sound(sound, MEL_RATE))
        return row

    metadata = write_clips(output_dir, count, write_clip, report, stop or NeverStop())
    return SoundDataset(metadata, evaluation)


def evaluation_items(
    name: str, seed: int = 0, count: int = EVALUATION_PROMPTS, held_out: bool | None = None
) -> tuple[EvalItem, ...]:
    """What `generate` with the same name and seed leaves out of its clips.

    Args:
        held_out: True for combinations that are in no pretraining clip.

    Raises:
        DataError: for an unknown name.
    """
    _task(name)
    rng = random.Random(f"{name} evaluation with sound {seed}")
    scenes: dict[tuple[str, str, str], Scene] = {}
    while len(scenes) < count:
        scene = _draw(rng, scenes, held_out)
        scenes[scene.clip.combination] = scene
    return tuple(EvalItem(scene, caption(scene)) for scene in scenes.values())


def _task(name: str) -> Task:
    if name not in TASKS:
        raise DataError(f"data set {name!r}: expected one of {', '.join(DATASETS)}")
    return TASKS[name]


def _draw(
    rng: random.Random, reserved: Container[tuple[str, str, str]], held_out: bool | None = None
) -> Scene:
    """A random scene whose combination isn't reserved."""
    while True:
        scene = random_scene(rng, held_out)
        if scene.clip.combination not in reserved:
            return scene
