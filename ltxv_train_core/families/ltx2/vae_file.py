"""LTX-2.x's video VAE in a file: a checkpoint with all parts, or the VAE alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, cut, shown
from ...models.sources.tensor_match import require_match
from ...storage.safetensors_header import Header, content_of
from ..ltxv.detect import VAE, Contents, vae_in_file
from ..ltxv.key_names import VAE_STATISTICS_UNUSED, comfy_vae_names
from ..ltxv.single_file import VaeFile
from ..model import Part
from ..video_vaes import DIFFUSION_DECODER, family_of_vae
from .detect import PREFIXES
from .formats import NAME
from .vae_description import vae_config

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKLLTX2Video

    from ..ltxv.vae import LTXVideoVae

_SIGNS = ("encoder.conv_in.conv.weight", "per_channel_statistics.mean-of-means")


def vae_prefix(header: Header) -> str | None:
    """Of the names of a video VAE's tensors; None where the file has none."""
    for prefix in ("vae.", ""):
        if all(f"{prefix}{sign}" in header.tensors for sign in _SIGNS):
            return prefix
    return None


def open_video_vae(header: Header, option: str) -> Part | None:
    """The video VAE in a file; None where it has none. The miniature's is of the first family's layout.

    Raises:
        ModelError: it is another model's, or what the file says of it can't be used.
    """
    prefix = vae_prefix(header)
    if prefix is None:
        return None
    if family_of_vae(header.below(prefix)) is not None:
        return VideoVaeFile(header, prefix, option)
    found = vae_in_file(header)
    return None if found is None else VaeFile(Contents(header, VAE, vae=found))


class VideoVaeFile:
    """The video VAE in a file."""

    def __init__(self, header: Header, prefix: str, option: str):
        """
        Raises:
            ModelError: it is another model's, or what the file says of it can't be used.
        """
        self.header, self.prefix = header, prefix
        family = family_of_vae(header.below(prefix))
        if family not in (None, NAME):
            raise ModelError(
                f"{option} {str(header.path)!r}: is a VAE of {family}, and the model is one of {NAME}"
            )
        self.decoder_problem: str | None = None
        if f"{prefix}{DIFFUSION_DECODER}" in header.tensors:
            self.decoder_problem = (
                f"{shown(str(header.path))}: its decoder is LTX-2.5's diffusion decoder, which isn't read; "
                "to decode, choose as vae_source the VAE file with the convolutional decoder, which has the same latents"
            )
        try:
            self.config = vae_config(header.config.get("vae", {}))
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            reason = cut(str(error) if isinstance(error, ModelError) else repr(error), 300)
            raise ModelError(f"{header.path}: its VAE can't be read: {reason}") from error

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        """Of the encoder, whatever decodes. Padding of another kind makes other latents of the same weights."""
        content = content_of(self.header.samples(f"{self.prefix}encoder."))
        padding = self.config["encoder_spatial_padding_mode"]
        return content if padding == "zeros" else f"{content}-{padding}"

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes."""
        self._built()

    def load(self, dtype: torch.dtype) -> LTXVideoVae:
        """Its latent statistics stay in float32."""
        from ...models.sources.meta_loading import fill
        from ..ltxv.vae import LTXVideoVae
        from .encoder_alone import EncoderAlone

        vae, names = self._built()
        fill(vae, self.header, names, dtype, keep=lambda name: name.startswith("latents_"))
        problem = self.decoder_problem
        return EncoderAlone(vae, problem) if problem else LTXVideoVae(vae)

    def _built(self) -> tuple[AutoencoderKLLTX2Video, dict[str, str]]:
        """The module without weights, and the file's names of its tensors."""
        import torch

        from ...models.sources.meta_loading import on_meta

        vae = on_meta(lambda: new_vae(self.config))
        own = comfy_vae_names(vae.state_dict(), self.config)
        unused = {self.prefix + name for name in VAE_STATISTICS_UNUSED}
        if self.decoder_problem:
            vae.decoder = torch.nn.Identity()
            own = {name: theirs for name, theirs in own.items() if not name.startswith("decoder.")}
            unused |= {n for n in self.header.tensors if n.startswith(f"{self.prefix}decoder.")}
        names = {name: self.prefix + theirs for name, theirs in own.items()}
        require_match(self.header, self.prefix, names, vae, unused, PREFIXES)
        return vae, names


def new_vae(config: Mapping[str, Any]) -> AutoencoderKLLTX2Video:
    """diffusers' autoencoder with random weights."""
    from diffusers import AutoencoderKLLTX2Video

    vae: AutoencoderKLLTX2Video = AutoencoderKLLTX2Video.from_config(dict(config))
    return vae
