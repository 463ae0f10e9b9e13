"""LTX-2.x in the diffusers layout: a folder on this machine with one for each part.

A part that the folder lacks is named with where to get it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import LTXVTrainError, ModelError, cut, shown
from ...models.sources.content import content_of_folder
from ...models.sources.library_loading import ONE_AT_A_TIME
from ...models.sources.part_config import part_config
from ...models.sources.part_weights import require_weights, weight_headers
from ...storage.safetensors_header import content_of
from ..ltxv.diffusers_folder import LocalFolder
from ..model import Model, ModelFacts, Part
from ..names import (
    AUDIO_VAE,
    CONNECTORS,
    TEXT_ENCODER,
    TEXT_PROJECTION,
    TRANSFORMER,
    VAE,
    VOCODER,
)
from ..tensor_shapes import known_shapes
from .audio_vae_file import finished, new_audio_vae, new_vocoder
from .connector_names import comfy_connector_name, is_connector
from .description import generation
from .family import ARCHITECTURE, LTX2
from .gemma_file import GemmaFiles
from .layers import LAYERS
from .missing_parts import NEEDED, missing_parts
from .projection_file import ProjectionFiles, find_projection
from .sampling import sampling_of
from .text_encoder_part import TextEncoder
from .vae_file import new_vae

if TYPE_CHECKING:
    import torch
    from diffusers import LTX2VideoTransformer3DModel
    from torch import Tensor, nn

    from ..ltxv.vae import LTXVideoVae
    from .audio_vae import LTX2AudioVae
    from .connectors import Connectors
    from .denoiser import LTX2Denoiser

_KINDS = {
    TRANSFORMER: ("LTX2VideoTransformer3DModel",),
    CONNECTORS: ("LTX2TextConnectors",),
    VAE: ("AutoencoderKLLTX2Video",),
    AUDIO_VAE: ("AutoencoderKLLTX2Audio",),
    VOCODER: ("LTX2Vocoder", "LTX2VocoderWithBWE"),
}
_USUAL = {"cross_attn_mod": False, "ff_bias": True}
"""What diffusers takes for options that are left out."""


def is_folder(folder: Path) -> bool:
    """Whether a folder has a transformer of LTX-2.x in the diffusers layout."""
    try:
        config = part_config(folder / TRANSFORMER)
    except LTXVTrainError:
        return False
    return config.get("_class_name") in _KINDS[TRANSFORMER]


def folder_model(name: str, folder: Path) -> Model:
    """A model in the diffusers layout.

    Raises:
        ModelError: what lies in its place is no text encoder of LTX-2.x.
    """
    connectors = ConnectorsFolder(folder)
    transformer = TransformerFolder(folder, connectors)
    found = transformer.facts
    source = f"model_source {shown(name)}"
    parts: dict[str, Part] = {**missing_parts(source, found.text_encoder, connectors)}
    parts[CONNECTORS] = connectors
    if (folder / VAE).is_dir():
        parts[VAE] = VaeFolder(folder)
    if (folder / AUDIO_VAE).is_dir():
        parts[AUDIO_VAE] = AudioVaeFolder(folder)
    if (projection := connectors.projection) is not None:
        parts[TEXT_PROJECTION] = projection
    if (folder / TEXT_ENCODER).is_dir():
        assert found.generation is not None
        parts[TEXT_ENCODER] = TextEncoder(
            GemmaFiles.open(folder), projection, connectors, found.generation
        )
    return Model(name, LTX2, transformer, parts)


class PartFolder(ABC):
    """A part in a folder of a model, or a folder that is one."""

    name: str

    def __init__(self, folder: Path):
        inside = folder / self.name
        self._whole, self.folder = folder, inside if inside.is_dir() else folder

    @property
    def identity(self) -> str:
        return LocalFolder(self._whole).identity

    @property
    def content(self) -> str | None:
        return content_of_folder(self.folder)

    def require(self) -> None:
        """Raises `ModelError` where weights are missing, of another shape, or of another part."""
        found = part_config(self.folder).get("_class_name")
        if found not in _KINDS[self.name]:
            raise ModelError(
                f"{self.folder}: expected the {self.name} of an LTX-2 ({' or '.join(_KINDS[self.name])}), "
                f"found {cut(str(found))}"
            )
        require_weights(self.folder, self.name, self._module, self._shapes)

    @abstractmethod
    def _module(self, config: Mapping[str, Any]) -> Any:
        """diffusers' module of a configuration."""

    def _shapes(self, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
        """Those of its tensors, where they are known without building it."""
        return None

    def _filled(self, dtype: torch.dtype, keep: Callable[[str], bool] = lambda name: False) -> Any:
        """The module with its weights; those that are kept in float32."""
        from ...models.sources.meta_loading import fill_from, on_meta

        self.require()
        module = on_meta(lambda: self._module(part_config(self.folder)))
        names = {name: name for name in module.state_dict()}
        return fill_from(module, weight_headers(self.folder, self.name), names, dtype, keep)

    def _load(self, dtype: torch.dtype) -> Any:
        from ...models.sources.meta_loading import on_meta

        self.require()
        kind = type(on_meta(lambda: self._module(part_config(self.folder))))
        with ONE_AT_A_TIME:
            return kind.from_pretrained(
                self.folder, torch_dtype=dtype, local_files_only=True
            ).eval()


class VaeFolder(PartFolder):
    """The video VAE."""

    name = VAE

    @property
    def content(self) -> str:
        """Of the encoder alone, as that of a file."""
        headers = weight_headers(self.folder, self.name)
        return content_of({one for each in headers for one in each.samples("encoder.")})

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        """Its latent statistics stay in float32."""
        from ..ltxv.vae import LTXVideoVae

        return LTXVideoVae(self._filled(dtype, lambda name: name.startswith("latents_")))

    def _module(self, config: Mapping[str, Any]) -> Any:
        return new_vae(config)


class AudioVaeFolder(PartFolder):
    """The audio VAE, and the vocoder in the folder beside it."""

    name = AUDIO_VAE

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._vocoder = VocoderFolder(self.folder.parent)

    def require(self) -> None:
        super().require()
        self._vocoder.require()

    def load(self, dtype: torch.dtype) -> LTX2AudioVae:
        from .audio_vae import LTX2AudioVae

        vae = self._filled(dtype, lambda name: name.startswith("latents_"))
        vocoder, rate = self._vocoder.load()
        return LTX2AudioVae(vae, vocoder, rate)

    def _module(self, config: Mapping[str, Any]) -> Any:
        return new_audio_vae(config)


class VocoderFolder(PartFolder):
    """The vocoder."""

    name = VOCODER

    def load(self) -> tuple[nn.Module, int]:
        """It, and samples a second of what it gives; in float32."""
        import torch

        rate: int = part_config(self.folder)["output_sampling_rate"]
        return finished(self._filled(torch.float32)), rate

    def _module(self, config: Mapping[str, Any]) -> Any:
        return new_vocoder(config)


class ConnectorsFolder(PartFolder):
    """The connectors. The projection lies before them in the same files, and is loaded with the text encoder."""

    name = CONNECTORS

    @property
    def projection(self) -> ProjectionFiles | None:
        try:
            return find_projection(*weight_headers(self.folder, self.name))
        except ModelError:
            return None  # reported where the connectors are required

    def load(self, dtype: torch.dtype) -> Connectors:
        from ...models.sources.meta_loading import on_meta
        from .connectors import Connectors

        config = part_config(self.folder)
        loaded = self._load(dtype)
        options = {stream: _options(config, stream) for stream in ("video", "audio")}
        made = on_meta(lambda: Connectors(options["video"], options["audio"]))
        state = loaded.state_dict()
        made.load_state_dict({name: state[name] for name in made.state_dict()}, assign=True)
        connectors: Connectors = made.eval()
        return connectors

    def in_comfyui(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by ComfyUI's names without prefix, and what a file's metadata say of them."""
        import torch

        config = part_config(self.folder)
        named = {
            comfy_connector_name(n): t for n, t in self.load(torch.bfloat16).state_dict().items()
        }
        video, audio = (_options(config, stream) for stream in ("video", "audio"))
        described = {
            "connector_num_attention_heads": video["num_attention_heads"],
            "connector_attention_head_dim": video["attention_head_dim"],
            "audio_connector_num_attention_heads": audio["num_attention_heads"],
            "audio_connector_attention_head_dim": audio["attention_head_dim"],
            "connector_num_layers": video["num_layers"],
            "connector_apply_gated_attention": video["gated_attention"],
        }
        return {n: t for n, t in named.items() if is_connector(n, "")}, described

    def _module(self, config: Mapping[str, Any]) -> Any:
        from diffusers.pipelines.ltx2 import LTX2TextConnectors

        return LTX2TextConnectors.from_config(dict(config))


class TransformerFolder(PartFolder):
    """The transformer."""

    name, module_names = TRANSFORMER, None

    def __init__(self, folder: Path, connectors: ConnectorsFolder):
        super().__init__(folder)
        self._connectors = connectors

    @property
    def facts(self) -> ModelFacts:
        config = part_config(self.folder)
        found = generation(_USUAL | config)
        return ModelFacts(
            is_fp8=False,
            text_width=None,
            text_encoder=NEEDED[found],
            architecture=ARCHITECTURE,
            transformer_config=config,
            generation=f"LTX-{found}",
            sampling=sampling_of(self._whole.name, {}),
        )

    def load(self, dtype: torch.dtype) -> LTX2VideoTransformer3DModel:
        transformer: LTX2VideoTransformer3DModel = self._load(dtype)
        return transformer

    def denoiser(self, transformer: LTX2VideoTransformer3DModel) -> LTX2Denoiser:
        from .denoiser import LTX2Denoiser

        return LTX2Denoiser(transformer, self._connectors.in_comfyui)

    def _module(self, config: Mapping[str, Any]) -> Any:
        return LAYERS.new_transformer(config)

    def _shapes(self, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
        return known_shapes(LAYERS.shapes, config)


def _options(config: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Options of a stream's connector, by the configuration of both."""
    own = ("num_attention_heads", "attention_head_dim", "num_layers", "num_learnable_registers")
    return {
        **{name: config[f"{stream}_connector_{name}"] for name in own},
        "gated_attention": config[f"{stream}_gated_attn"],
        "rope_type": config["rope_type"],
        "rope_double_precision": config["rope_double_precision"],
    }
