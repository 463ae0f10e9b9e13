"""Where the base model comes from: the miniature, a diffusers folder, the Hugging Face Hub."""

import re
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from transformers import AutoTokenizer, T5EncoderModel

from ..errors import ModelError
from ..files import sha256_file, sha256_json
from ..miniature import weights as miniature
from .text_encoder import TextEncoder
from .video_codec import VideoCodec

MINIATURE = "LTXV_MINIATURE"

REPOSITORIES = {
    "LTXV_2B_0.9.0": "Lightricks/LTX-Video",
    "LTXV_2B_0.9.1": "a-r-r-o-w/LTX-Video-0.9.1-diffusers",
    "LTXV_2B_0.9.5": "Lightricks/LTX-Video-0.9.5",
    "LTXV_13B_097_DEV": "Lightricks/LTX-Video-0.9.7-dev",
    "LTXV_13B_097_DISTILLED": "Lightricks/LTX-Video-0.9.7-distilled",
}

_CAUSAL_PIPELINES = {"LTXPipeline": False, "LTXConditionPipeline": True}


class ModelSource(Protocol):
    """A base model whose parts are loaded one at a time.

    Attributes:
        name: as the user gave it.
        identity: changes when the weights change; part of every fingerprint.
        causal_positions: whether its sampler shifts the frames after the first
            (`causal_temporal_positioning`).
    """

    name: str
    causal_positions: bool

    @property
    def identity(self) -> str: ...

    def load_transformer(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel: ...

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec: ...

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder: ...


def open_model(model_source: str) -> ModelSource:
    """Finds a base model; loads nothing but its description.

    Args:
        model_source: LTXV_MINIATURE, a version name, a folder in the diffusers layout, or a
            Hugging Face repository in that layout (downloaded once into its cache).

    Raises:
        ModelError: if there is no such model, or it isn't an LTX-Video model.
    """
    place = locate_model(model_source)
    if place == MINIATURE:
        return MiniatureModel()
    folder = place if isinstance(place, Path) else _download(model_source, place)
    return DiffusersModel(model_source, folder)


def locate_model(model_source: str) -> Path | str:
    """Where a base model is: a folder, a repository to download, or LTXV_MINIATURE.

    Raises:
        ModelError: if it can be none of them. Nothing is downloaded to find out.
    """
    folder = Path(model_source).expanduser()
    if model_source == MINIATURE or folder.is_dir():
        return MINIATURE if model_source == MINIATURE else folder
    repository = REPOSITORIES.get(model_source, model_source)
    if folder.exists() or not re.fullmatch(r"[\w.\-]+/[\w.\-]+", repository):
        raise ModelError(
            f"model_source {model_source!r}: expected {MINIATURE}, one of "
            f"{', '.join(REPOSITORIES)}, a folder in the diffusers layout (transformer, vae, "
            "text_encoder, tokenizer, model_index.json) or a Hugging Face repository "
            '"owner/name" in that layout'
        )
    return repository


class MiniatureModel:
    """The small model that comes with this package."""

    name = MINIATURE
    causal_positions = True

    @property
    def identity(self) -> str:
        return miniature.identity()

    def load_transformer(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel:
        return miniature.load_transformer(dtype)

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec:
        return VideoCodec(miniature.load_vae(dtype))

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        return TextEncoder(miniature.load_text_encoder(dtype), miniature.load_tokenizer())


class DiffusersModel:
    """A model in the diffusers layout."""

    def __init__(self, name: str, folder: Path):
        """Raises `ModelError` when the folder isn't in that layout."""
        self.name = name
        self.folder = folder
        self.causal_positions = _CAUSAL_PIPELINES[self._pipeline()]

    @property
    def identity(self) -> str:
        """From names, sizes and configurations: the weights themselves are not read."""
        files = sorted(p for p in self.folder.glob("*/*") if p.is_file())
        described = [
            (p.relative_to(self.folder).as_posix(), p.stat().st_size)
            + ((sha256_file(p),) if p.suffix == ".json" else ())
            for p in files
        ]
        return sha256_json(described)[:32]

    def load_transformer(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel:
        return self._load(LTXVideoTransformer3DModel, "transformer", torch_dtype=dtype)

    def load_video_codec(self, dtype: torch.dtype = torch.float32) -> VideoCodec:
        return VideoCodec(self._load(AutoencoderKLLTXVideo, "vae", torch_dtype=dtype))

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        return TextEncoder(
            self._load(T5EncoderModel, "text_encoder", torch_dtype=dtype),
            self._load(AutoTokenizer, "tokenizer"),
        )

    def _load(self, kind: Any, part: str, **options: Any) -> Any:
        load = partial(kind.from_pretrained, self.folder / part, local_files_only=True)
        try:
            return load(**options)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{self.folder / part}: can't be loaded ({error})") from error

    def _pipeline(self) -> str:
        index = self.folder / "model_index.json"
        text = index.read_text(encoding="utf-8") if index.is_file() else ""
        found = re.search(r'"_class_name"\s*:\s*"(\w+)"', text)
        if not found or found.group(1) not in _CAUSAL_PIPELINES:
            raise ModelError(
                f"{self.folder}: expected a model_index.json of "
                f"{' or '.join(_CAUSAL_PIPELINES)}, found {found.group(1) if found else 'none'}"
            )
        return found.group(1)


def _download(model_source: str, repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    parts = ["transformer/*", "vae/*", "text_encoder/*", "tokenizer/*", "model_index.json"]
    try:
        return Path(snapshot_download(repository, allow_patterns=parts))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"model_source {model_source!r}: {repository} can't be downloaded from the Hugging "
            f"Face Hub ({error}). Check the name and the connection, or give a local folder."
        ) from error
