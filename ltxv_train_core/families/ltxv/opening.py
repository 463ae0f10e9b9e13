"""Where models of LTX-Video 0.9.x come from: the miniature, a file, a diffusers folder, the Hub."""

from dataclasses import replace
from pathlib import Path

from ...errors import LTXVTrainError, ModelError, shown
from ...events import Reporter, StopSignal, ignore
from ...models.sources.allowed import REPOSITORY, readable_path
from ...models.sources.hub_download import download_file
from ...permissions import no_such_path, policy
from ..family import PublishedVersion
from ..model import Model, Part, TextEncoderPart
from ..names import TEXT_ENCODER
from .comfyui_parts import comfyui_file, comfyui_tensors
from .detect import CHECKPOINT, TRANSFORMER, read_contents
from .diffusers_folder import (
    EncoderFolder,
    HubFolder,
    LocalFolder,
    VaeFolder,
    diffusers_model,
)
from .family import LTXV
from .miniature.shipped import MINIATURE
from .miniature_model import MiniatureEncoder, miniature_model
from .single_file import VaeFile, single_file_model
from .t5_file import T5File
from .versions import MAIN_REPOSITORY, VERSIONS, Version

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

FAMILY = LTXV

_OF_REPOSITORY = {v.repository: v for v in VERSIONS.values() if v.file is None}


def recognises(place: Path) -> bool:
    """Whether a file holds a transformer of LTX-Video, or a folder is one of its in the diffusers layout."""
    try:
        if place.is_dir():
            diffusers_model(place.name, LocalFolder(place))
            return True
        return read_contents(place).kind in (CHECKPOINT, TRANSFORMER)
    except LTXVTrainError:
        return False


def open_place(
    name: str,
    place: Path | PublishedVersion | str,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Model:
    """A model. A version that is published as a single file is downloaded here, a repository's folders
    when they are loaded.

    Raises:
        ModelError: it is no LTX-Video model.
        Cancelled: when a download was stopped.
    """
    if isinstance(place, Version):
        return _open_version(name, place, report, stop)
    if place == MINIATURE:
        return miniature_model()
    if isinstance(place, str):
        known = _OF_REPOSITORY.get(place)
        causal = known.causal_positions if known else None
        return diffusers_model(name, HubFolder(place, report, stop), causal)
    assert isinstance(place, Path)
    if place.is_dir():
        return diffusers_model(name, LocalFolder(place))
    return single_file_model(name, place)


def open_text_encoder(
    source: str,
    model: Model | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> TextEncoderPart:
    """A T5 file, a folder, a repository. Raises `ModelError` when there is none, or another kind of file."""
    if source == MINIATURE:
        return MiniatureEncoder()
    place = _place("text_encoder_source", source, report, stop)
    return T5File.open(place) if isinstance(place, Path) else EncoderFolder(place)


def open_vae(source: str, report: Reporter = ignore, stop: StopSignal | None = None) -> Part:
    """A VAE file, a folder, a repository. Raises `ModelError` when there is none, or another kind of file."""
    place = _place("vae_source", source, report, stop)
    return VaeFile.open(place) if isinstance(place, Path) else VaeFolder(place)


def open_audio_vae(source: str) -> Part:
    """Raises `ModelError`: there is none."""
    raise ModelError(
        f"audio_vae_source {shown(source)}: {FAMILY.name} has no sound; leave it empty"
    )


def open_text_projection(source: str) -> Part:
    """Raises `ModelError`: there is none."""
    raise ModelError(
        f"text_projection_source {shown(source)}: {FAMILY.name} reads its text encoder as it is; leave it empty"
    )


def _place(
    option: str, source: str, report: Reporter, stop: StopSignal | None
) -> Path | LocalFolder | HubFolder:
    path = readable_path(source)
    if path.exists():
        return LocalFolder(path) if path.is_dir() else path
    if not REPOSITORY.fullmatch(source):
        raise ModelError(
            f"{option} {no_such_path(path)}. Expected: a file (.safetensors), a folder or a Hugging Face "
            'repository "owner/name"'
        )
    policy().require_download(source)
    return HubFolder(source, report, stop)


def _open_version(name: str, version: Version, report: Reporter, stop: StopSignal | None) -> Model:
    if version.file is None:
        folder = HubFolder(version.repository, report, stop)
        return diffusers_model(name, folder, version.causal_positions)
    path = download_file(version.repository, version.file, report, stop)
    model = single_file_model(name, path)
    text = EncoderFolder(HubFolder(MAIN_REPOSITORY, report, stop))
    return replace(model, parts={**model.parts, TEXT_ENCODER: text})
