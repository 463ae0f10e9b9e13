"""What the second miniature's clips show and sound like: shapes that hum. No torch.

The picture is that of the first miniature's clips. The pitch is the colour; a shape that moves up
or down has a rising or falling sound, one that moves left or right is heard to do so.
"""

import random
from dataclasses import dataclass

from ...ltxv.miniature import clips
from ...ltxv.miniature.clips import ClipSpec

SIZE = clips.SIZE
FPS = 12.0
SECONDS = SIZE.frames / FPS

TIMBRES = ("hum", "buzz")
LEVELS = ("loud", "soft")
REGISTERS = {
    "red": "low",
    "green": "low",
    "blue": "middle",
    "yellow": "middle",
    "white": "high",
    "purple": "high",
}
_HELD_OUT = 6


@dataclass(frozen=True)
class Scene:
    """A clip that is seen and heard."""

    clip: ClipSpec
    timbre: str
    level: str


def is_held_out(clip: ClipSpec) -> bool:
    """Whether the combination of colour, shape and background is in no pretraining clip: one in six."""
    color = list(clips.COLORS).index(clip.color)
    shape = clips.SHAPES.index(clip.shape)
    background = list(clips.BACKGROUNDS).index(clip.background)
    return (color + shape + 2 * background) % _HELD_OUT == 0


def random_scene(rng: random.Random, held_out: bool | None = None) -> Scene:
    """
    Args:
        held_out: True draws held-out combinations alone, False all others; None draws any.
    """
    while True:
        clip = clips.random_spec(rng)
        if held_out is None or is_held_out(clip) == held_out:
            return Scene(clip, rng.choice(TIMBRES), rng.choice(LEVELS))


def caption(
    scene: Scene, with_motion: bool = True, with_color: bool = True, with_sound: bool = True
) -> str:
    clip = scene.clip
    color = f" {clip.color}" if with_color else ""
    motion = f" moves {clip.motion}" if with_motion else ""
    sound = f", a {scene.level} {REGISTERS[clip.color]} {scene.timbre}" if with_sound else ""
    return f"a{color} {clip.shape}{motion} on a {clip.background} background{sound}"
