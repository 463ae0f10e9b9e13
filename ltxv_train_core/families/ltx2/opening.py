"""Where models of LTX-2.x come from: the miniature, a file, a diffusers folder."""

from pathlib import Path

from ...errors import LTXVTrainError, ModelError, shown
from ...events import Reporter, StopSignal, ignore
from ...storage.safetensors_header import read_header
from ..family import PublishedVersion
from ..model import Model, Part, TextEncoderPart
from .comfyui_parts import comfyui_file, comfyui_tensors
from .detect import transformer_prefix
from .diffusers_folder import folder_model, is_folder
from .family import LTX2
from .miniature.shipped import MINIATURE
from .miniature_model import MiniatureTextEncoderPart, miniature_model
from .single_file import single_file_model

__all__ = [
    "FAMILY",
    "comfyui_file",
    "comfyui_tensors",
    "open_place",
    "open_text_encoder",
    "open_vae",
    "recognises",
]

FAMILY = LTX2

_ON_CANVAS = (
    "for LTX-2 connect ComfyUI's own to Preprocess LTXV Dataset and leave this empty; only {miniature} is known "
    "by name"
)


def recognises(place: Path) -> bool:
    """Whether a file holds a transformer of LTX-2.x, or a folder is one of its in the diffusers layout."""
    try:
        if place.is_dir():
            return is_folder(place)
        return place.is_file() and transformer_prefix(read_header(place)) is not None
    except LTXVTrainError:
        return False


def open_place(
    name: str,
    place: Path | PublishedVersion | str,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Model:
    """A model.

    Raises:
        ModelError: it is no LTX-2 model.
    """
    if place == MINIATURE:
        return miniature_model()
    if isinstance(place, Path) and place.is_file():
        return single_file_model(name, place)
    if isinstance(place, Path) and is_folder(place):
        return folder_model(name, place)
    raise ModelError(
        f"model_source {shown(name)}: expected a file (.safetensors) of LTX-2, a folder in the diffusers layout, "
        f"or {MINIATURE}"
    )


def open_text_encoder(
    source: str, report: Reporter = ignore, stop: StopSignal | None = None
) -> TextEncoderPart:
    """The miniature's. Raises `ModelError` for any other one."""
    if source == MINIATURE:
        return MiniatureTextEncoderPart()
    raise ModelError(
        f"text_encoder_source {shown(source)}: {_ON_CANVAS.format(miniature=MINIATURE)}"
    )


def open_vae(source: str, report: Reporter = ignore, stop: StopSignal | None = None) -> Part:
    """Raises `ModelError`: it is given on the canvas."""
    raise ModelError(f"vae_source {shown(source)}: {_ON_CANVAS.format(miniature=MINIATURE)}")
