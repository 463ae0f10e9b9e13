"""The small model with sound that comes with this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...storage.safetensors_header import read_header
from ..ltxv.miniature_model import MiniatureVae
from ..model import Model, ModelFacts, Part
from ..names import AUDIO_VAE, TEXT_ENCODER, VAE
from .connector_names import comfy_connector_name, is_connector
from .family import ARCHITECTURE, LTX2
from .miniature import shipped

if TYPE_CHECKING:
    import torch
    from diffusers import LTX2VideoTransformer3DModel
    from torch import Tensor

    from .audio_vae import LTX2AudioVae
    from .denoiser import LTX2Denoiser
    from .miniature.text_encoder import MiniatureTextEncoder


def miniature_model() -> Model:
    """The small model that comes with this package; its video VAE is that of the first one."""
    parts: dict[str, Part] = {
        VAE: MiniatureVae(),
        AUDIO_VAE: MiniatureAudioVae(),
        TEXT_ENCODER: MiniatureTextEncoderPart(),
    }
    return Model(shipped.MINIATURE, LTX2, MiniatureTransformer(), parts)


class _MiniaturePart:
    """A part whose files ship."""

    loads: str

    @property
    def identity(self) -> str:
        return shipped.identity()

    @property
    def content(self) -> str:
        return shipped.CONTENT[self.loads]

    def require(self) -> None:
        pass


class MiniatureTransformer(_MiniaturePart):
    """The transformer of the small model."""

    loads = "load_transformer"
    facts = ModelFacts(
        is_fp8=False,
        text_width=None,
        text_encoder="the miniature's own",
        architecture=ARCHITECTURE,
        transformer_config=shipped.TRANSFORMER_CONFIG,
    )

    @property
    def module_names(self) -> tuple[list[str], list[str]]:
        header = read_header(shipped.FOLDER / shipped.TRANSFORMER_FILE)
        return LTX2.layers.modules_in(header.tensors)

    def load(self, dtype: torch.dtype) -> LTX2VideoTransformer3DModel:
        from .miniature.weights import load_transformer

        return load_transformer(dtype)

    def denoiser(self, transformer: LTX2VideoTransformer3DModel) -> LTX2Denoiser:
        from .denoiser import LTX2Denoiser

        return LTX2Denoiser(transformer, _connectors)


class MiniatureAudioVae(_MiniaturePart):
    """The audio VAE of the small model."""

    loads = "load_audio_vae"

    def load(self, dtype: torch.dtype) -> LTX2AudioVae:
        from .audio_vae import LTX2AudioVae
        from .griffin_lim import GriffinLim
        from .miniature.weights import load_audio_vae

        return LTX2AudioVae(load_audio_vae(dtype), GriffinLim(), GriffinLim.sample_rate)


class MiniatureTextEncoderPart(_MiniaturePart):
    """The text encoder of the small model with its connectors."""

    loads = "load_text_encoder"
    width = None

    def load(self, dtype: torch.dtype) -> MiniatureTextEncoder:
        from .miniature.text_encoder import MiniatureTextEncoder
        from .miniature.weights import load_connectors, load_text_encoder, load_tokenizer

        return MiniatureTextEncoder(
            load_text_encoder(dtype), load_connectors(dtype), load_tokenizer()
        )


def _connectors() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """By ComfyUI's names, and what a file says of them."""
    from .miniature.weights import load_connectors

    state = load_connectors().state_dict()
    named = {comfy_connector_name(name): tensor for name, tensor in state.items()}
    tensors = {name: tensor for name, tensor in named.items() if is_connector(name, "")}
    return tensors, shipped.CONNECTORS_IN_COMFYUI
