"""LTX-2.x as one file: checkpoints with all parts, and transformers alone as ComfyUI keeps them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from ...errors import ModelError, shown
from ...models.sources.tensor_match import require_match
from ...storage.safetensors_header import Header, content_of, read_header
from .. import transformer_file
from ..model import MissingPart, Model, ModelFacts, Part
from ..names import AUDIO_VAE, CONNECTORS, TEXT_PROJECTION, VAE
from .audio_vae_file import AudioVaeFile, has_audio_vae
from .connector_names import comfy_connector_name, is_connector
from .detect import PREFIXES, Contents, read_contents
from .family import ARCHITECTURE, LTX2
from .layers import CONNECTOR_PREFIXES, LAYERS
from .missing_parts import NEEDED, missing_parts
from .projection_file import find_projection
from .sampling import sampling_of
from .vae_file import open_video_vae

if TYPE_CHECKING:
    import torch
    from diffusers import LTX2VideoTransformer3DModel
    from torch import Tensor

    from .connectors import Connectors
    from .denoiser import LTX2Denoiser


def single_file_model(name: str, path: Path) -> Model:
    """A transformer in a file, with what else lies in it.

    Raises:
        ModelError: the file has no transformer of LTX-2.x, or one that isn't read.
    """
    contents = read_contents(read_header(path))
    if contents is None or contents.quantization:
        found = contents or "none"
        raise ModelError(
            f"model_source {shown(name)}: expected an LTX-2 transformer, found {found}"
        )
    source = f"model_source {shown(name)}"
    connectors: Part = (
        ConnectorsFile(contents)
        if contents.connectors
        else MissingPart(
            f"{source}: holds no connectors (video_embeddings_connector), which captions pass before "
            "the transformer reads them; take a file as it was published"
        )
    )
    header = contents.header
    parts = missing_parts(source, NEEDED[contents.generation], connectors)
    parts[CONNECTORS] = connectors
    if (vae := open_video_vae(header, "model_source")) is not None:
        parts[VAE] = vae
    if has_audio_vae(header):
        parts[AUDIO_VAE] = AudioVaeFile(header)
    if (projection := find_projection(header)) is not None:
        parts[TEXT_PROJECTION] = projection
    return Model(name, LTX2, TransformerFile(name, contents), parts)


class TransformerFile(transformer_file.TransformerFile):
    """The transformer in a file."""

    layers, elsewhere = LAYERS, PREFIXES

    def __init__(self, name: str, contents: Contents):
        super().__init__(name, contents.header, contents.prefix, contents.config)
        self.contents = contents

    def besides(self) -> set[str]:
        return {name for name in self.header.tensors if is_connector(name, self.prefix)}

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(
            is_fp8=self.is_fp8,
            text_width=None,
            text_encoder=NEEDED[self.contents.generation],
            architecture=ARCHITECTURE,
            transformer_config=self.config,
            generation=f"LTX-{self.contents.generation}",
            sampling=sampling_of(self.header.path.name, self.header.config),
        )

    def denoiser(self, transformer: LTX2VideoTransformer3DModel) -> LTX2Denoiser:
        from .denoiser import LTX2Denoiser

        return LTX2Denoiser(transformer, self._connectors)

    def _connectors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As the file has them, by its names without prefix, and what it says of them."""
        names = [name for name in self.header.tensors if is_connector(name, self.prefix)]
        described = self.header.config["transformer"].items()
        with safe_open(self.header.path, "pt") as file:
            tensors = {name.removeprefix(self.prefix): file.get_tensor(name) for name in names}
        return tensors, {name: value for name, value in described if "connector_" in name}


class ConnectorsFile:
    """The connectors in a file."""

    def __init__(self, contents: Contents):
        self.header: Header = contents.header
        self.prefix, self.options = contents.prefix, contents.connectors

    @property
    def identity(self) -> str:
        return self.header.identity()

    @cached_property
    def content(self) -> str:
        return content_of(
            sample
            for prefix in CONNECTOR_PREFIXES
            for sample in self.header.samples(self.prefix + prefix)
        )

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes."""
        self._built()

    def load(self, dtype: torch.dtype) -> Connectors:
        from ...models.sources.meta_loading import fill

        connectors, names = self._built()
        loaded: Connectors = fill(connectors, self.header, names, dtype).eval()
        return loaded

    def _built(self) -> tuple[Connectors, dict[str, str]]:
        """The module without weights, and the file's names of its tensors."""
        from ...models.sources.meta_loading import on_meta
        from .connectors import Connectors

        connectors = on_meta(
            lambda: Connectors(self.options["video_connector"], self.options["audio_connector"])
        )
        names = {name: self.prefix + comfy_connector_name(name) for name in connectors.state_dict()}
        others = {name for name in self.header.tensors if not is_connector(name, self.prefix)}
        require_match(self.header, self.prefix, names, connectors, others)
        return connectors, names
