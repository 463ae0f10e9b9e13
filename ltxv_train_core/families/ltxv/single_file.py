"""A base model as one file: ComfyUI's checkpoints and diffusion models, and VAEs alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError, shown
from ...models.sources.tensor_match import require_match
from ...storage.safetensors_header import content_of
from .. import transformer_file
from ..model import MissingPart, Model, ModelFacts, Part
from ..names import TEXT_ENCODER
from ..names import VAE as VAE_PART
from ..stated_sampling import stated_sampling
from ..video_vaes import family_of_vae
from .checkpoint_export import CAUSAL_POSITIONS, TRANSFORMER_ARCHITECTURE
from .detect import (
    CHECKPOINT,
    PREFIXES,
    TRANSFORMER,
    VAE,
    Contents,
    TransformerInFile,
    VaeInFile,
    read_contents,
    require_kind,
)
from .family import LTXV
from .key_names import VAE_STATISTICS_UNUSED, comfy_vae_names
from .layers import LAYERS
from .miniature.shipped import VAE_CONTENT_IN_COMFYUI
from .miniature_model import MiniatureVae
from .t5_file import T5File
from .versions import TEXT_ENCODER_NEEDED
from .video_format import NAME

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

    from .denoiser import LTXVideoDenoiser
    from .vae import LTXVideoVae

_NO_VAE = (
    "holds no VAE; give one in vae_source (a VAE file, a checkpoint, a folder in the diffusers layout "
    "or a Hugging Face repository)"
)
_NO_TEXT_ENCODER = (
    "holds no text encoder; give one in text_encoder_source (ComfyUI's T5-XXL file, a folder, or a "
    "Hugging Face repository such as Lightricks/LTX-Video)"
)
_UNSAID_POSITIONS = (
    "has no metadata that say how frames are positioned: ComfyUI samples it with positions that aren't "
    "causal, and so it is trained"
)


class VaeFile:
    """The VAE in a file."""

    def __init__(self, contents: Contents):
        assert contents.vae is not None
        self.header = contents.header
        self.part: VaeInFile = contents.vae

    @classmethod
    def open(cls, path: Path) -> VaeFile:
        """Raises `ModelError` when the file has no VAE."""
        contents = read_contents(path)
        require_kind(contents, "vae_source", VAE, CHECKPOINT)
        assert contents.vae is not None
        family = family_of_vae(contents.header.below(contents.vae.prefix))
        if family not in (None, NAME):
            raise ModelError(
                f"vae_source {str(path)!r}: is a VAE of {family}, and the model is one of {NAME}"
            )
        return cls(contents)

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        """Padding of another kind makes other latents of the same weights."""
        content = content_of(self.header.samples(self.part.prefix))
        if self.part.layout == "other" and content == VAE_CONTENT_IN_COMFYUI:
            content = MiniatureVae().content
        padding = [kind for kind in self.part.padding if kind != "zeros"]
        return "-".join([content, *padding])

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes."""
        self._built()

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        """Its latent statistics stay in float32."""
        import torch

        from ...models.sources.meta_loading import fill
        from .vae import LTXVideoVae

        vae, names = self._built()
        fill(vae, self.header, names, dtype, keep=lambda name: name.startswith("latents_"))
        for module, padding in zip((vae.encoder, vae.decoder), self.part.padding, strict=True):
            for convolution in module.modules():
                if isinstance(convolution, torch.nn.Conv3d):
                    convolution.padding_mode = padding
        return LTXVideoVae(vae)

    def _built(self) -> tuple[AutoencoderKLLTXVideo, dict[str, str]]:
        """The module without weights, and the file's names of its tensors."""
        from diffusers import AutoencoderKLLTXVideo

        from ...models.sources.meta_loading import on_meta

        vae = on_meta(lambda: AutoencoderKLLTXVideo(**self.part.config))
        prefix = self.part.prefix
        own = comfy_vae_names(vae.state_dict(), self.part.config)
        names = {name: prefix + theirs for name, theirs in own.items()}
        unused = {prefix + name for name in VAE_STATISTICS_UNUSED}
        require_match(self.header, prefix, names, vae, unused, PREFIXES)
        return vae, names


def single_file_model(name: str, path: Path) -> Model:
    """A transformer in a file, with what else lies in it.

    Raises:
        ModelError: the file has no transformer of LTX-Video.
    """
    contents = read_contents(path)
    require_kind(contents, "model_source", CHECKPOINT, TRANSFORMER)
    source = f"model_source {shown(name)}"
    vae: Part = VaeFile(contents) if contents.vae else MissingPart(f"{source}: {_NO_VAE}")
    has_text_encoder = contents.text_encoder_prefix is not None
    text: Part = (
        T5File(contents) if has_text_encoder else MissingPart(f"{source}: {_NO_TEXT_ENCODER}")
    )
    return Model(name, LTXV, TransformerFile(name, contents), {VAE_PART: vae, TEXT_ENCODER: text})


class TransformerFile(transformer_file.TransformerFile):
    """The transformer in a file."""

    layers, elsewhere = LAYERS, PREFIXES

    def __init__(self, name: str, contents: Contents):
        assert contents.transformer is not None
        part: TransformerInFile = contents.transformer
        super().__init__(name, contents.header, part.prefix, part.config)
        self.causal_positions = part.causal_positions

    @property
    def facts(self) -> ModelFacts:
        says_its_positions = CAUSAL_POSITIONS in self.header.config.get("transformer", {})
        return ModelFacts(
            is_fp8=self.is_fp8,
            text_width=self.config["caption_channels"],
            text_encoder=TEXT_ENCODER_NEEDED,
            architecture=TRANSFORMER_ARCHITECTURE,
            transformer_config=self.config,
            sampling=stated_sampling(self.header.config),
            notes=() if says_its_positions else (f"{self.header.path.name} {_UNSAID_POSITIONS}",),
        )

    def denoiser(self, transformer: LTXVideoTransformer3DModel) -> LTXVideoDenoiser:
        from .denoiser import LTXVideoDenoiser

        return LTXVideoDenoiser(transformer, self.causal_positions)
