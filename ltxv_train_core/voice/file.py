"""`voice.json` and `voice.png` in a run's folder: what was found of its sound, and the picture of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from pydantic import Field, TypeAdapter

from ..media.texts import no_graph, png_texts
from ..runs.folder import RunFolder
from ..runs.own_files import is_own_file, read_own
from ..runs.state import MOST_STEPS
from ..storage.atomic import atomic_path, write_json
from .judge import Result

VOICE_FILE, PICTURE_FILE = "voice.json", "voice.png"
LARGEST_PICTURE_BYTES = 2**24
_LARGEST_BYTES = 2**18
_LONGEST = 1000

Text = Annotated[str, Field(max_length=_LONGEST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Step = Annotated[int, Field(ge=0, le=MOST_STEPS)]


@dataclass(frozen=True)
class NearestClip:
    """A sample's nearest clip, by name, and its distance in dB."""

    sample: int
    clip: Text
    distance_db: Finite


@dataclass(frozen=True)
class Voice:
    """What was found of a run's sound.

    Attributes:
        text: in one sentence.
        step, before_step: of the samples that were compared; before is None where only one step has some.
        clips: how many sounds of the data set were heard.
        distance, before, own, share, nearer: see `judge.Judgement`.
    """

    result: Result
    text: Text
    step: Step
    before_step: Step | None
    clips: Annotated[int, Field(ge=1)]
    distance: Finite
    before: Finite | None
    own: Finite
    share: Finite | None
    nearer: Annotated[int, Field(ge=0)]
    nearest: tuple[NearestClip, ...]


_VOICE = TypeAdapter(Voice)


def write_voice(run: RunFolder, voice: Voice, picture: Image.Image) -> None:
    """Puts both files in the place of those there are; the sentence comes last."""
    with atomic_path(picture_file(run)) as temporary:
        texts = png_texts(no_graph("it shows what was heard of a run"))
        picture.save(temporary, "PNG", pnginfo=texts)
    write_json(run.folder / VOICE_FILE, asdict(voice))


def read_voice(run: RunFolder) -> Voice | None:
    """What was found last; None where nothing was, or it can't be read."""
    try:
        return _VOICE.validate_json(read_own(run.folder / VOICE_FILE, _LARGEST_BYTES))
    except (OSError, ValueError):
        return None


def picture_file(run: RunFolder) -> Path:
    """Where the picture is, if there is one."""
    return run.folder / PICTURE_FILE


def has_picture(run: RunFolder) -> bool:
    """Whether there is one that may be shown."""
    return is_own_file(picture_file(run))
