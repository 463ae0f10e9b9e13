"""LTX-2.x's audio VAE with its vocoder in a file: a checkpoint with all parts, or both alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, cut
from ...models.sources.tensor_match import require_match
from ...storage.safetensors_header import Header, content_of
from .audio_description import audio_vae_config, vocoder_config

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKLLTX2Audio
    from torch import nn

    from .audio_vae import LTX2AudioVae

_VAE, _VOCODER = "audio_vae.", "vocoder."
_SIGNS = ("audio_vae.encoder.conv_in.conv.weight", "vocoder.")
_STATISTICS = {
    "latents_mean": "per_channel_statistics.mean-of-means",
    "latents_std": "per_channel_statistics.std-of-means",
}
_LAYERS = {
    "conv_in": "conv_pre",
    "conv_out": "conv_post",
    "upsamplers": "ups",
    "resnets": "resblocks",
    "act_out": "act_post",
}


def has_audio_vae(header: Header) -> bool:
    """Whether a file holds an audio VAE with a vocoder."""
    return _SIGNS[0] in header.tensors and any(n.startswith(_VOCODER) for n in header.tensors)


class AudioVaeFile:
    """Audio VAE and vocoder in a file."""

    def __init__(self, header: Header):
        """Raises `ModelError` when what the file says of them can't be used."""
        self.header = header
        try:
            self.config = audio_vae_config(header.config.get("audio_vae", {}))
            self.vocoder_config = vocoder_config(header.config.get("vocoder", {}))
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            reason = cut(str(error) if isinstance(error, ModelError) else repr(error), 300)
            raise ModelError(f"{header.path}: its audio VAE can't be read: {reason}") from error

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        """Of the VAE alone: another vocoder makes no other latents."""
        return content_of(self.header.samples(_VAE))

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes."""
        self._vae()
        self._vocoder()

    def load(self, dtype: torch.dtype) -> LTX2AudioVae:
        """Latent statistics and vocoder stay in float32."""
        import torch

        from ...models.sources.meta_loading import fill
        from .audio_vae import LTX2AudioVae

        vae, names = self._vae()
        fill(vae, self.header, names, dtype, keep=lambda name: name.startswith("latents_"))
        vocoder, names = self._vocoder()
        fill(vocoder, self.header, names, torch.float32)
        return LTX2AudioVae(vae, finished(vocoder), self.vocoder_config["output_sampling_rate"])

    def _vae(self) -> tuple[AutoencoderKLLTX2Audio, dict[str, str]]:
        from ...models.sources.meta_loading import on_meta

        vae = on_meta(lambda: new_audio_vae(self.config))
        names = {name: _VAE + _STATISTICS.get(name, name) for name in vae.state_dict()}
        require_match(self.header, _VAE, names, vae)
        return vae, names

    def _vocoder(self) -> tuple[nn.Module, dict[str, str]]:
        from ...models.sources.meta_loading import on_meta

        vocoder = on_meta(lambda: new_vocoder(self.vocoder_config))
        names = {name: _VOCODER + comfy_vocoder_name(name) for name in vocoder.state_dict()}
        require_match(self.header, _VOCODER, names, vocoder)
        return vocoder, names


def new_audio_vae(config: Mapping[str, Any]) -> AutoencoderKLLTX2Audio:
    """diffusers' autoencoder with random weights, and statistics of the size that files have."""
    from diffusers import AutoencoderKLLTX2Audio

    from .audio_vae import with_audio_statistics

    return with_audio_statistics(AutoencoderKLLTX2Audio.from_config(dict(config)))


def new_vocoder(config: Mapping[str, Any]) -> nn.Module:
    """diffusers' vocoder with random weights."""
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE

    kind = LTX2VocoderWithBWE if any(name.startswith("bwe_") for name in config) else LTX2Vocoder
    vocoder: nn.Module = kind.from_config(dict(config))
    return vocoder


def finished(vocoder: nn.Module) -> nn.Module:
    """With the filter of its resampler, which no file has."""
    from diffusers.pipelines.ltx2.vocoder import UpSample1d

    old = getattr(vocoder, "resampler", None)
    if old is not None:
        vocoder.resampler = UpSample1d(ratio=old.ratio, window_type="hann", persistent=False)
    return vocoder


def comfy_vocoder_name(name: str) -> str:
    """A vocoder tensor's name in published files, from diffusers' name, without prefix."""
    named = ".".join(_LAYERS.get(part, part) for part in name.split("."))
    return named.replace("downsample.filter", "downsample.lowpass.filter")
