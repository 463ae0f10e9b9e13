"""Where models of LTX-2.x come from: the miniature, a file, a diffusers folder."""

from pathlib import Path
from typing import cast

from ...errors import LTXVTrainError, ModelError, shown
from ...events import Reporter, StopSignal, ignore
from ...models.sources.allowed import readable_path
from ...permissions import no_such_path
from ...storage.safetensors_header import read_header
from ..family import PublishedVersion
from ..ltxv.miniature_model import MiniatureVae
from ..model import MissingPart, Model, Part, TextEncoderPart
from ..names import CONNECTORS, TEXT_PROJECTION
from .audio_vae_file import AudioVaeFile, has_audio_vae
from .comfyui_parts import comfyui_file, comfyui_tensors
from .detect import transformer_prefix
from .diffusers_folder import (
    AudioVaeFolder,
    ConnectorsFolder,
    VaeFolder,
    folder_model,
    is_folder,
)
from .family import LTX2
from .gemma_file import GemmaFiles
from .miniature.shipped import MINIATURE
from .miniature_model import MiniatureAudioVae, MiniatureTextEncoderPart, miniature_model
from .projection_file import ProjectionFiles, find_projection
from .single_file import single_file_model
from .text_encoder_part import TextEncoder
from .vae_file import open_video_vae

__all__ = [
    "FAMILY",
    "comfyui_file",
    "comfyui_tensors",
    "open_audio_vae",
    "open_place",
    "open_text_encoder",
    "open_text_projection",
    "open_vae",
    "recognises",
]

FAMILY = LTX2

_NO_MODEL = MissingPart("there is no model whose connectors captions go through")


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
    source: str,
    model: Model | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> TextEncoderPart:
    """A Gemma in a file or a folder, with the model's projection, or that of its own file, and connectors.

    Raises:
        ModelError: there is none, or it is another kind of file.
    """
    if source == MINIATURE:
        return MiniatureTextEncoderPart()
    found = GemmaFiles.open(_place("text_encoder_source", source))
    if model is None:
        return TextEncoder(found, find_projection(*found.headers), _NO_MODEL, None)
    chosen = model.chosen.get(TEXT_PROJECTION)
    own = find_projection(*found.headers) or model.parts.get(TEXT_PROJECTION)
    projection = cast("ProjectionFiles | None", chosen or own)
    return TextEncoder(found, projection, model.part(CONNECTORS), model.facts.generation)


def open_text_projection(source: str) -> Part:
    """The text projection in a file, or in a folder in the diffusers layout.

    Raises:
        ModelError: it holds none.
    """
    place = _place("text_projection_source", source)
    if place.is_dir():
        found = ConnectorsFolder(place).projection
    else:
        found = find_projection(read_header(place))
    if found is None:
        raise ModelError(
            f"text_projection_source {str(place)!r}: holds no text projection (text_embedding_projection); take the "
            "checkpoint as it was published, or ComfyUI's file with the text projection"
        )
    return found


def open_vae(source: str, report: Reporter = ignore, stop: StopSignal | None = None) -> Part:
    """A video VAE in a file or a folder. Raises `ModelError` when there is none, or another kind of file."""
    if source == MINIATURE:
        return MiniatureVae()
    place = _place("vae_source", source)
    if place.is_dir():
        return VaeFolder(place)
    found = open_video_vae(read_header(place), "vae_source")
    if found is None:
        raise ModelError(f"vae_source {str(place)!r}: holds no video VAE of {FAMILY.name}")
    return found


def open_audio_vae(source: str) -> Part:
    """An audio VAE with its vocoder in a file or a folder. Raises `ModelError` when there is none."""
    if source == MINIATURE:
        return MiniatureAudioVae()
    place = _place("audio_vae_source", source)
    if place.is_dir():
        return AudioVaeFolder(place)
    header = read_header(place)
    if not has_audio_vae(header):
        raise ModelError(
            f"audio_vae_source {str(place)!r}: holds no audio VAE with a vocoder (audio_vae, vocoder) of {FAMILY.name}"
        )
    return AudioVaeFile(header)


def _place(option: str, source: str) -> Path:
    path = readable_path(source)
    if not path.exists():
        raise ModelError(
            f"{option} {no_such_path(path, 'file or folder')}. Of {FAMILY.name} files and folders on this machine "
            f"are read, and {MINIATURE}"
        )
    return path
