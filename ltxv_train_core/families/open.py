"""Where the base model comes from: the miniature, a file, a diffusers folder, the Hugging Face Hub."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import LTXVTrainError, ModelError, shown
from ..events import Reporter, StopSignal, ignore
from ..models.sources.allowed import REPOSITORY, readable
from ..models.sources.hub_download import download_file, is_cached, require_reachable
from ..permissions import policy
from .ltxv.diffusers_folder import (
    EncoderFolder,
    HubFolder,
    LocalFolder,
    VaeFolder,
    diffusers_model,
)
from .ltxv.family import LTXV
from .ltxv.miniature_model import MINIATURE, MiniatureEncoder, miniature_model
from .ltxv.single_file import VaeFile, single_file_model
from .ltxv.t5_file import T5File
from .ltxv.versions import MAIN_REPOSITORY, VERSIONS, Version
from .model import Model, Part, TextEncoderPart
from .names import TEXT_ENCODER, VAE

__all__ = [
    "MINIATURE",
    "Model",
    "locate_model",
    "must_be_downloaded",
    "open_model",
    "open_text_encoder",
    "open_vae",
    "transformer_config",
]

_OF_REPOSITORY = {v.repository: v for v in VERSIONS.values() if v.file is None}


def open_model(
    model_source: str,
    text_encoder_source: str | None = None,
    vae_source: str | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Model:
    """Finds a base model; loads nothing but its description.

    A version that is published as a single file is downloaded here, a repository's folders when
    they are loaded.

    Args:
        model_source: LTXV_MINIATURE, a version name, a file, a folder in the diffusers layout, or
            a Hugging Face repository in that layout.
        text_encoder_source: in place of the model's own: a T5 file, a folder, a repository.
        vae_source: in place of the model's own: a VAE file, a folder, a repository.
        report, stop: of downloads, also of those when a part is loaded.

    Raises:
        ModelError: if there is no such model, or it isn't an LTX-Video model.
        NotAllowedError: a file may not be read, or nothing may be downloaded from a repository.
        Cancelled: when a download was stopped.
    """
    place = locate_model(model_source)
    if place == MINIATURE:
        model = miniature_model()
    elif isinstance(place, Version):
        model = _open_version(model_source, place, report, stop)
    elif isinstance(place, str):
        known = _OF_REPOSITORY.get(place)
        causal = known.causal_positions if known else None
        model = diffusers_model(model_source, HubFolder(place, report, stop), causal)
    elif place.is_dir():
        model = diffusers_model(model_source, LocalFolder(place))
    else:
        model = single_file_model(model_source, place)
    chosen: dict[str, Part] = {}
    if text_encoder_source is not None:
        chosen[TEXT_ENCODER] = open_text_encoder(text_encoder_source, report, stop)
    if vae_source is not None:
        chosen[VAE] = open_vae(vae_source, report, stop)
    return replace(model, chosen=chosen)


def locate_model(model_source: str) -> Path | Version | str:
    """Where a base model is: a file or folder, a version, a repository, or LTXV_MINIATURE.

    Raises:
        ModelError: if it can be none of them. Nothing is downloaded to find out.
        NotAllowedError: it may not be read, or not be downloaded.
    """
    if model_source == MINIATURE:
        return MINIATURE
    path = readable(model_source)
    if model_source in VERSIONS and not path.exists():
        return VERSIONS[model_source]
    if path.exists():
        return path
    if not REPOSITORY.fullmatch(model_source):
        raise ModelError(
            f"model_source {shown(model_source)}: expected {MINIATURE}, one of {', '.join(VERSIONS)}, a "
            "checkpoint or transformer file (.safetensors), a folder in the diffusers layout "
            "(transformer, vae, text_encoder, tokenizer, model_index.json) or a Hugging Face "
            'repository "owner/name" in that layout'
        )
    policy().require_download(model_source)
    return model_source


def open_text_encoder(
    source: str, report: Reporter = ignore, stop: StopSignal | None = None
) -> TextEncoderPart:
    """Finds a text encoder. Raises `ModelError` when there is none, or another kind of file."""
    if source == MINIATURE:
        return MiniatureEncoder()
    place = _place("text_encoder_source", source, report, stop)
    return T5File.open(place) if isinstance(place, Path) else EncoderFolder(place)


def open_vae(source: str, report: Reporter = ignore, stop: StopSignal | None = None) -> Part:
    """Finds a VAE. Raises `ModelError` when there is none, or another kind of file."""
    place = _place("vae_source", source, report, stop)
    return VaeFile.open(place) if isinstance(place, Path) else VaeFolder(place)


def _place(
    option: str, source: str, report: Reporter, stop: StopSignal | None
) -> Path | LocalFolder | HubFolder:
    path = readable(source)
    if path.exists():
        return LocalFolder(path) if path.is_dir() else path
    if not REPOSITORY.fullmatch(source):
        raise ModelError(
            f"{option} {shown(source)}: expected a file (.safetensors), a folder or a Hugging Face "
            'repository "owner/name"; there is no such file'
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


def module_names(model_source: str) -> tuple[list[str], list[str]]:
    """Linear layers and other modules of a model's transformer, by diffusers' names.

    Nothing is downloaded: where the number of blocks isn't known, it is that of the largest version.
    """
    try:
        config = transformer_config(model_source)
    except LTXVTrainError:
        config = None
    blocks = config.get("num_layers") if config else None
    return LTXV.layers.module_names(blocks if type(blocks) is int and blocks > 0 else None)


def transformer_config(model_source: str) -> Mapping[str, Any] | None:
    """diffusers' configuration of a model's transformer; None for a repository that is no known version
    and isn't on this machine, and for a model whose description can't be read. Nothing is downloaded.

    Raises:
        ModelError: there is no such model.
    """
    place = locate_model(model_source)
    if isinstance(place, Version):
        return place.transformer
    if isinstance(place, str) and place in _OF_REPOSITORY:
        return _OF_REPOSITORY[place].transformer
    return open_model(model_source).facts.transformer_config


def must_be_downloaded(model_source: str) -> bool:
    """Whether nothing can be said of a model before it is downloaded.

    Raises:
        ModelError: when the Hub may not be asked.
    """
    place = locate_model(model_source)
    if not isinstance(place, Version) or place.file is None:
        return False
    cached = is_cached(place.repository, file=place.file)
    require_reachable(place.repository, cached)
    return not cached
