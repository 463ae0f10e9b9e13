"""A base model as one file: ComfyUI's checkpoints and diffusion models, and VAEs alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import ModelError, shown
from ...formats.rotated import ROTATED, is_rotated
from ...formats.tensors import FP8
from ...models.device import holds_float8
from ...models.sources.meta_loading import fill, on_meta, require_match
from ...storage.safetensors_header import content_of
from .checkpoint_export import CAUSAL_POSITIONS
from .detect import (
    CHECKPOINT,
    PREFIXES,
    TRANSFORMER,
    VAE,
    Contents,
    TransformerPart,
    VaePart,
    read_contents,
    require_kind,
)
from .key_names import VAE_STATISTICS_UNUSED, comfy_name, comfy_vae_names
from .miniature_model import MiniatureVae, vae_content_in_comfyui
from .t5_file import T5File
from .text_encoder import T5TextEncoder
from .vae import LTXVideoVae

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel


class VaeFile:
    """The VAE in a file."""

    def __init__(self, contents: Contents):
        assert contents.vae is not None
        self.header = contents.header
        self.part: VaePart = contents.vae

    @classmethod
    def open(cls, path: Path) -> "VaeFile":
        """Raises `ModelError` when the file has no VAE."""
        contents = read_contents(path)
        require_kind(contents, "vae_source", VAE, CHECKPOINT)
        return cls(contents)

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        """Padding of another kind makes other latents of the same weights."""
        content = content_of(self.header.samples(self.part.prefix))
        if self.part.layout == "other" and content == vae_content_in_comfyui():
            content = MiniatureVae().content
        padding = [kind for kind in self.part.padding if kind != "zeros"]
        return "-".join([content, *padding])

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes."""
        self._built()

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        """Its latent statistics stay in float32."""
        vae, names = self._built()
        fill(vae, self.header, names, dtype, keep=lambda name: name.startswith("latents_"))
        for module, padding in zip((vae.encoder, vae.decoder), self.part.padding, strict=True):
            for convolution in module.modules():
                if isinstance(convolution, torch.nn.Conv3d):
                    convolution.padding_mode = padding
        return LTXVideoVae(vae)

    def _built(self) -> "tuple[AutoencoderKLLTXVideo, dict[str, str]]":
        """The module without weights, and the file's names of its tensors."""
        from diffusers import AutoencoderKLLTXVideo

        vae = on_meta(lambda: AutoencoderKLLTXVideo(**self.part.config))
        prefix = self.part.prefix
        own = comfy_vae_names(vae.state_dict(), self.part.config)
        names = {name: prefix + theirs for name, theirs in own.items()}
        unused = {prefix + name for name in VAE_STATISTICS_UNUSED}
        require_match(self.header, prefix, names, vae, unused, PREFIXES)
        return vae, names


class SingleFileModel:
    """A transformer in a file, with what else lies in it.

    Attributes:
        contents: what was found in the file's head.
    """

    def __init__(self, name: str, path: Path):
        """Raises `ModelError` when the file has no transformer of LTX-Video."""
        self.name = name
        self.contents = read_contents(path)
        require_kind(self.contents, "model_source", CHECKPOINT, TRANSFORMER)

    @property
    def identity(self) -> str:
        return self.contents.header.identity()

    @property
    def causal_positions(self) -> bool:
        return self._part.causal_positions

    @property
    def says_its_positions(self) -> bool:
        return CAUSAL_POSITIONS in self.contents.header.config.get("transformer", {})

    @property
    def is_fp8(self) -> bool:
        """Whether some of the transformer is stored in 8 bit floating point, and stays so here."""
        tensors = self.contents.header.below(self._part.prefix).values()
        return holds_float8() and any(info.dtype in FP8 for info in tensors)

    @property
    def text_width(self) -> int:
        width: int = self._part.config["caption_channels"]
        return width

    @property
    def transformer_config(self) -> dict[str, Any]:
        return self._part.config

    @property
    def vae(self) -> VaeFile | None:
        return VaeFile(self.contents) if self.contents.vae else None

    @property
    def text_encoder(self) -> T5File | None:
        return T5File(self.contents) if self.contents.text_encoder_prefix is not None else None

    def require_transformer(self) -> None:
        self._built()

    def require_vae(self) -> None:
        self._vae().require()

    def require_text_encoder(self) -> None:
        self._text_encoder().require()

    def load_transformer(self, dtype: torch.dtype) -> "LTXVideoTransformer3DModel":
        """Linear layers that are stored in fp8 stay so."""
        transformer, names = self._built()
        return fill(transformer, self.contents.header, names, dtype).eval()

    def load_vae(self, dtype: torch.dtype = torch.float32) -> LTXVideoVae:
        return self._vae().load(dtype)

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> T5TextEncoder:
        return self._text_encoder().load(dtype)

    @property
    def _part(self) -> TransformerPart:
        assert self.contents.transformer is not None
        return self.contents.transformer

    def _built(self) -> "tuple[LTXVideoTransformer3DModel, dict[str, str]]":
        """The module without weights, and the file's names of its tensors."""
        from diffusers import LTXVideoTransformer3DModel

        prefix, header = self._part.prefix, self.contents.header
        module = on_meta(lambda: LTXVideoTransformer3DModel(**self._part.config))
        theirs = comfy_name if f"{prefix}patchify_proj.weight" in header.tensors else str
        names = {name: prefix + theirs(name) for name in module.state_dict()}
        require_match(header, prefix, names, module, elsewhere=PREFIXES)
        if is_rotated(header):
            raise ModelError(f"model_source {shown(self.name)}: {ROTATED}")
        return module, names

    def _vae(self) -> VaeFile:
        if (vae := self.vae) is None:
            raise ModelError(
                f"model_source {shown(self.name)}: holds no VAE; give one in vae_source (a VAE file, a "
                "checkpoint, a folder in the diffusers layout or a Hugging Face repository)"
            )
        return vae

    def _text_encoder(self) -> T5File:
        if (encoder := self.text_encoder) is None:
            raise ModelError(
                f"model_source {shown(self.name)}: holds no text encoder; give one in "
                "text_encoder_source (ComfyUI's T5-XXL file, a folder, or a Hugging Face "
                "repository such as Lightricks/LTX-Video)"
            )
        return encoder
