"""Data sets of clips with sound to train on, and prompts to see and hear what was learned. No torch."""

import random
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....errors import DataError
from ....events import NeverStop, Reporter, StopSignal, ignore
from ....media.sound import Sound
from ....media.write import write_video
from ...ltxv.miniature.clips import render
from ...ltxv.miniature.datasets import EVALUATION_PROMPTS, mirror, write_clips
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
        mirrored: whether every clip comes with a reference: the white silhouette and the sound, mirrored. Captions
            then name neither colour nor motion nor sound, which come from the reference alone.
    """

    clips: int = 24
    style: str = "plain"
    beep: bool = False
    mirrored: bool = False


TASKS = {
    "stripes_and_beep": Task(style="stripes", beep=True),
    "stripes": Task(style="stripes"),
    "beep": Task(beep=True),
    "plain": Task(),
    "mirror_with_sound": Task(clips=48, mirrored=True),
}
DATASETS = tuple(TASKS)


@dataclass(frozen=True, eq=False)
class EvalItem:
    """A prompt to sample with: its colour, shape and background are together in no clip.

    Attributes:
        scene: what should be seen and heard, the task's style and beep apart.
        prompt: without a trigger word.
        reference, reference_sound: frames uint8 [F, H, W, 3] and samples [2, S] for an IC-LoRA, or None.
    """

    scene: Scene
    prompt: str
    reference: NDArray[np.uint8] | None = None
    reference_sound: NDArray[np.float32] | None = None


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

    The metadata's columns are `caption`, `media_path` and, with references, `reference_path` and
    `reference_audio`, with paths relative to the file. The seed decides about clips and evaluation.

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
        row = {"caption": _caption(task, scene), "media_path": f"videos/{file_name}"}
        frames, sound = render(scene.clip, task.style).frames, render_sound(scene, rng, task.beep)
        write_video(output_dir / row["media_path"], frames, FPS, sound=Sound(sound, MEL_RATE))
        if task.mirrored:
            row["reference_path"] = row["reference_audio"] = f"references/{file_name}"
            frames, sound = _reference(scene, rng)
            path = output_dir / row["reference_path"]
            write_video(path, frames, FPS, sound=Sound(sound, MEL_RATE))
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
    task = _task(name)
    rng = random.Random(f"{name} evaluation with sound {seed}")
    scenes: dict[tuple[str, str, str], Scene] = {}
    while len(scenes) < count:
        scene = _draw(rng, scenes, held_out)
        scenes[scene.clip.combination] = scene
    return tuple(
        EvalItem(scene, _caption(task, scene), *(_reference(scene, rng) if task.mirrored else ()))
        for scene in scenes.values()
    )


def _caption(task: Task, scene: Scene) -> str:
    named = not task.mirrored
    return caption(scene, with_motion=named, with_color=named, with_sound=named)


def _reference(scene: Scene, rng: random.Random) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The silhouette and the sound of a scene whose left and right are exchanged."""
    mirrored = replace(scene, clip=mirror(scene.clip))
    return render(mirrored.clip, "silhouette").frames, render_sound(mirrored, rng)


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
