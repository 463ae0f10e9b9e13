"""Models in the layouts of diffusers and transformers: a folder for each part, here or on the Hub.

A folder of the Hub is downloaded when its part is loaded, so that training without samples never
asks for the text encoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ModelError, cut
from ...events import Reporter, StopSignal, ignore
from ...memory_errors import is_out_of_memory
from ...models.sources.content import content_of_folder
from ...models.sources.hub_download import (
    ENCODER_FOLDERS,
    TOP,
    download_folders,
    encoder_folders,
    is_downloaded,
    require_reachable,
)
from ...models.sources.library_loading import ONE_AT_A_TIME
from ...models.sources.part_config import LARGEST_CONFIG_BYTES, part_config
from ...models.sources.part_weights import require_weights
from ...storage.atomic import sha256_file, sha256_json
from ...storage.reading import read_text
from ...storage.safetensors_header import read_header
from ..model import Model, ModelFacts, Part
from ..names import TEXT_ENCODER, TRANSFORMER, VAE
from ..tensor_shapes import known_shapes
from .checkpoint_export import TRANSFORMER_ARCHITECTURE
from .family import LTXV
from .layers import LAYERS
from .tokenizer import find_t5_tokenizer, load_tokenizer, require_t5_tokenizer
from .versions import TEXT_ENCODER_NEEDED, TRANSFORMER_2B

if TYPE_CHECKING:
    import torch
    from diffusers import LTXVideoTransformer3DModel

    from .denoiser import LTXVideoDenoiser
    from .text_encoder import T5TextEncoder
    from .vae import LTXVideoVae

_LATER_VAE = "LTXVideo095DownBlock3D"
# What a part's configuration calls it.
_KINDS = {
    "transformer": ("_class_name", "LTXVideoTransformer3DModel"),
    "vae": ("_class_name", "AutoencoderKLLTXVideo"),
    "text_encoder": ("model_type", "t5"),
}
_CAUSAL_PIPELINES = {
    "LTXPipeline": False,
    "LTXImageToVideoPipeline": False,
    "LTXConditionPipeline": True,
}


class LocalFolder:
    """A model's folder on this machine."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def identity(self) -> str:
        """From names, sizes, configurations, and samples of the weights.

        Hidden files and folders are a downloader's, or the system's.
        """
        is_part = (self.folder / "config.json").is_file()
        patterns = ("*", "*/*") if is_part else ("*/*",)
        paths = sorted(
            path
            for pattern in patterns
            for path in self.folder.glob(pattern)
            if path.is_file() and not _is_hidden(path.relative_to(self.folder))
        )
        described = [
            (p.relative_to(self.folder).as_posix(), p.stat().st_size, *_content(p)) for p in paths
        ]
        return sha256_json(described)[:32]

    def content(self, name: str) -> str | None:
        """Names the weights of a part."""
        return content_of_folder(self.part(name))

    def part(self, name: str) -> Path:
        """The folder of a part; the folder itself where it holds that part alone."""
        alone = (self.folder / "config.json").is_file() and not (self.folder / name).is_dir()
        return self.folder if alone else self.folder / name

    def require(self, name: str) -> None:
        """Raises `ModelError` when a part can't be there."""
        if not (self.part(name) / "config.json").is_file():
            raise ModelError(f"{self.part(name)}: expected a folder with config.json and weights")
        require_part(self.part(name), name)


class HubFolder:
    """A model's repository on the Hub."""

    def __init__(self, repository: str, report: Reporter = ignore, stop: StopSignal | None = None):
        self.repository, self.report, self.stop = repository, report, stop

    @property
    def identity(self) -> str:
        """From the name: what was downloaded once is kept."""
        return sha256_json(["hub", self.repository])[:32]

    def content(self, name: str) -> None:
        """Isn't known: nothing is downloaded to find out."""

    def part(self, name: str) -> Path:
        return download_folders(self.repository, (name,), self.report, self.stop) / name

    def require(self, name: str) -> None:
        cached = is_downloaded(self.repository, (name,))
        require_reachable(self.repository, cached)
        if cached:
            require_part(self.part(name), name)


def diffusers_model(
    name: str, place: LocalFolder | HubFolder, causal_positions: bool | None = None
) -> Model:
    """A model in the diffusers layout.

    Args:
        causal_positions: None where the folder's pipeline says it.

    Raises:
        ModelError: when a local folder isn't in that layout.
    """
    if causal_positions is None and isinstance(place, LocalFolder):
        causal_positions = _positions(place.folder)
    parts: dict[str, Part] = {VAE: VaeFolder(place), TEXT_ENCODER: EncoderFolder(place)}
    return Model(name, LTXV, TransformerFolder(place, causal_positions), parts)


class PartFolder:
    """A part of a model's folder."""

    name: ClassVar[str]

    def __init__(self, place: LocalFolder | HubFolder):
        self.place = place

    @property
    def identity(self) -> str:
        return self.place.identity

    @property
    def content(self) -> str | None:
        return self.place.content(self.name)

    def require(self) -> None:
        """Raises `ModelError` where it is missing or of another model."""
        self.place.require(self.name)


class TransformerFolder(PartFolder):
    """The transformer of a model's folder."""

    name, module_names = TRANSFORMER, None

    def __init__(self, place: LocalFolder | HubFolder, causal_positions: bool | None):
        super().__init__(place)
        self._causal = causal_positions

    @property
    def causal_positions(self) -> bool:
        """What its sampler does; asks the Hub where neither version nor folder says it."""
        if self._causal is None:
            self._causal = _positions(self.place.part(TRANSFORMER).parent)
        return self._causal

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(
            is_fp8=False,
            text_width=_number(self.place, TRANSFORMER, "caption_channels"),
            text_encoder=TEXT_ENCODER_NEEDED,
            architecture=TRANSFORMER_ARCHITECTURE,
            transformer_config=self._config,
        )

    @property
    def _config(self) -> dict[str, Any] | None:
        place = self.place
        if isinstance(place, HubFolder) and not is_downloaded(place.repository, (TRANSFORMER,)):
            return None
        try:
            return part_config(place.part(TRANSFORMER))
        except ModelError:
            return None  # reported where it is loaded

    def load(self, dtype: torch.dtype) -> LTXVideoTransformer3DModel:
        from diffusers import LTXVideoTransformer3DModel

        folder = self.place.part(TRANSFORMER)
        loaded: LTXVideoTransformer3DModel = _load(
            LTXVideoTransformer3DModel, folder, TRANSFORMER, dtype
        )
        return loaded

    def denoiser(self, transformer: LTXVideoTransformer3DModel) -> LTXVideoDenoiser:
        from .denoiser import LTXVideoDenoiser

        return LTXVideoDenoiser(transformer, self.causal_positions)


class VaeFolder(PartFolder):
    """The VAE of a model's folder, or a folder that is one."""

    name = "vae"

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        from diffusers import AutoencoderKLLTXVideo

        from .vae import LTXVideoVae

        return LTXVideoVae(_load(AutoencoderKLLTXVideo, self.place.part("vae"), "vae", dtype))


class EncoderFolder(PartFolder):
    """The text encoder of a model's folder, or a folder or repository that is one."""

    name = "text_encoder"

    @property
    def width(self) -> int | None:
        """Of its embeddings; None where it isn't on this machine yet."""
        return _number(self.place, "text_encoder", "d_model")

    def require(self) -> None:
        if isinstance(self.place, LocalFolder):
            super().require()
            require_t5_tokenizer(self.place.part("text_encoder"))
        else:
            name = self.place.repository
            cached = is_downloaded(name, ENCODER_FOLDERS) or is_downloaded(name, TOP)
            require_reachable(name, cached)
            if cached:
                require_part(self._folder(), "text_encoder")

    def load(self, dtype: torch.dtype) -> T5TextEncoder:
        from transformers import T5EncoderModel

        from .text_encoder import T5TextEncoder

        folder = self._folder()
        tokenizer = load_tokenizer(find_t5_tokenizer(folder))
        return T5TextEncoder(_load(T5EncoderModel, folder, "text_encoder", dtype), tokenizer)

    def _folder(self) -> Path:
        if isinstance(self.place, LocalFolder):
            return self.place.part("text_encoder")
        place = self.place
        folders = encoder_folders(place.repository)
        snapshot = download_folders(place.repository, folders, place.report, place.stop)
        return snapshot if folders == TOP else snapshot / folders[0]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _content(path: Path) -> tuple[str, ...]:
    """What is in a file: of weights samples, of other large files nothing."""
    if path.suffix == ".json":
        return (sha256_file(path),)
    if path.suffix != ".safetensors":
        return ()
    try:
        return (read_header(path).identity(),)
    except ModelError:
        return ()  # reported where it is loaded


def _number(place: LocalFolder | HubFolder, part: str, name: str) -> int | None:
    """A number of a part's configuration; None where it isn't on this machine yet."""
    if isinstance(place, HubFolder):
        return None
    try:
        value = part_config(place.part(part)).get(name)
    except ModelError:
        return None  # reported where it is loaded
    return value if type(value) is int else None


def require_part(folder: Path, part: str) -> None:
    """Raises `ModelError` for a folder of another model, which libraries would fill at random."""
    key, wanted = _KINDS[part]
    found = part_config(folder).get(key, wanted)
    if found != wanted:
        raise ModelError(
            f"{folder}: expected the {part} of an LTX-Video ({wanted}), found {cut(str(found))}"
        )
    require_weights(folder, part, partial(_build, part), partial(_shapes, part))


def _build(part: str, config: dict[str, Any]) -> Any:
    """The module of a part's configuration."""
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
    from transformers import T5Config, T5EncoderModel

    if part == "text_encoder":
        return T5EncoderModel(T5Config.from_dict(config))
    kind = LTXVideoTransformer3DModel if part == "transformer" else AutoencoderKLLTXVideo
    return kind.from_config(config)


def _shapes(part: str, config: dict[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Those of a part's tensors, where they are known without building it."""
    return known_shapes(LAYERS.shapes, TRANSFORMER_2B | config) if part == TRANSFORMER else None


def _load(kind: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    require_part(folder, part)
    load: Callable[..., Any] = partial(kind.from_pretrained, folder, local_files_only=True)
    try:
        with ONE_AT_A_TIME:
            return load(torch_dtype=dtype)
    except Exception as error:  # libraries raise what their code happens to meet
        if is_out_of_memory(error):
            raise
        reason = cut(f"{type(error).__name__}: {error}", 200)
        raise ModelError(f"{folder}: can't be loaded ({reason})") from error


def _positions(folder: Path) -> bool:
    """Whether a folder's model is sampled with causal positions.

    Its pipeline says so; where that is the one that works for every version, the VAE tells those
    from 0.9.5 on.
    """
    text = _text(folder / "model_index.json")
    found = re.search(r'"_class_name"\s*:\s*"(\w+)"', text)
    if not found or found.group(1) not in _CAUSAL_PIPELINES:
        raise ModelError(
            f"{folder}: expected a model_index.json of {' or '.join(_CAUSAL_PIPELINES)}, found "
            f"{cut(found.group(1)) if found else 'none'}"
        )
    is_later = _LATER_VAE in _text(folder / "vae" / "config.json")
    return _CAUSAL_PIPELINES[found.group(1)] or is_later


def _text(path: Path) -> str:
    """What is in a small file; nothing where it can't be read."""
    try:
        return read_text(path, LARGEST_CONFIG_BYTES)
    except (OSError, UnicodeDecodeError):
        return ""
