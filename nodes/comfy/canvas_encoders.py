"""The VAEs and the CLIP that are on the canvas, as encoders of a data set.

Both work in the job's thread; what they return there are ordinary tensors.
"""

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...ltxv_train_core.errors import ModelError
from ...ltxv_train_core.families.names import AUDIO, CONNECTORS, PROMPT
from ...ltxv_train_core.families.registry import family_with
from ...ltxv_train_core.families.video_format import VIDEO_CHANNELS
from ...ltxv_train_core.families.video_vaes import family_of_vae
from ...ltxv_train_core.models.text_bounds import (
    require_few_characters,
    require_few_tokens,
)
from ...ltxv_train_core.preprocessing.encoders import FEATURES, EncoderSource

if TYPE_CHECKING:
    from comfy.sd import CLIP, VAE

SAMPLED_BYTES = 256
_WITH_SOUND = family_with(AUDIO)

_OF_AUDIO_VAE = "latents_per_second"
"""What ComfyUI's audio VAE of LTX-2 knows of itself, and no other VAE."""


class CanvasVae:
    """ComfyUI's VAE: its latents are the mean, normalised per channel, as the core's are."""

    def __init__(self, vae: "VAE"):
        self._vae = vae

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1] to latents [B, 128, f, h, w], float32 on the CPU."""
        videos = (frames.movedim(1, -1) + 1) / 2
        # One at a time: ComfyUI's VAE takes a batch of videos for images with one more dimension, and crops it in time.
        latents: Tensor = torch.cat([self._vae.encode(video) for video in videos]).float().cpu()
        if latents.ndim != 5 or latents.shape[1] != VIDEO_CHANNELS:
            raise ModelError(
                f"the VAE on the canvas gives latents of shape {list(latents.shape)}: connect the "
                f"VAE of the model, which has {VIDEO_CHANNELS} channels"
            )
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, 128, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32 on the CPU."""
        frames: Tensor = self._vae.decode(latents).float().cpu()
        return frames.movedim(-1, 1) * 2 - 1


class CanvasAudioVae:
    """ComfyUI's audio VAE of LTX-2: its latents are the mean, normalised per channel and bin."""

    def __init__(self, vae: "VAE"):
        self._vae = vae

    @torch.no_grad()
    def encode(self, waveform: Tensor) -> Tensor:
        """Sound [B, 2, S] at 16 kHz to latents [B, 8, T, 16], float32 on the CPU.

        ComfyUI's VAE takes sound at a rate of its own, brings it to 16 kHz itself, and cuts it on both sides to
        whole blocks, which would move it: so its end is mirrored to the end of a block, and the latents that
        stand for that are left out.
        """
        import torchaudio

        rate, vae = _WITH_SOUND.streams[AUDIO].sound_rate, self._vae
        assert rate is not None
        own = torchaudio.functional.resample(waveform, rate, vae.audio_sample_rate)
        blocks = _mirrored(own, vae.spacial_compression_encode())
        latents: Tensor = vae.encode(blocks.movedim(1, -1)).float().cpu()
        seconds = waveform.shape[-1] / rate
        nearest = round(seconds * vae.first_stage_model.latents_per_second)
        return latents[:, :, : max(1, nearest)]


def _mirrored(sound: Tensor, block: int) -> Tensor:
    """Sound [B, 2, S] with its mirror image behind it, up to a whole number of blocks of samples."""
    samples = sound.shape[-1]
    length = -(-samples // block) * block
    copies = -(-length // samples)
    return torch.cat([sound, sound.flip(-1)] * copies, dim=-1)[..., :length]


class CanvasClip:
    """ComfyUI's CLIP of type ltxv. Captions are plain text: brackets change no weights."""

    def __init__(self, clip: "CLIP"):
        self._clip = clip

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """Named tensors [L, D] per prompt on the CPU, padding cut off.

        Raises:
            DataError: a prompt is too long.
        """
        return [{PROMPT: self._without_padding(self._encode(prompt))} for prompt in prompts]

    def _encode(self, prompt: str) -> dict[str, Any]:
        require_few_characters(prompt)
        literal = prompt.replace("(", "\\(").replace(")", "\\)")
        tokens = self._clip.tokenize(literal)
        # Those of each tokenizer are lists of batches, padded to less than is allowed.
        counts = (len(batch) for batches in tokens.values() for batch in batches)
        require_few_tokens(prompt, max(counts, default=0))
        encoded: dict[str, Any] = self._clip.encode_from_tokens(tokens, return_dict=True)
        return encoded

    @staticmethod
    def _without_padding(encoded: dict[str, Any]) -> Tensor:
        mask = encoded.get("attention_mask")
        if mask is None:
            raise ModelError(
                "the CLIP on the canvas gives no attention mask: load the T5 text encoder with "
                "type ltxv (CLIPLoader), or leave the socket free"
            )
        embedding: Tensor = encoded["cond"][0]
        return embedding[mask[0].bool().to(embedding.device)].float().cpu()


class CanvasFeatures(CanvasClip):
    """ComfyUI's CLIP of LTX-2: features that the model's connectors finish, padding cut off by itself."""

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        return [{FEATURES: self._encode(prompt)["cond"][0].float().cpu()} for prompt in prompts]


def vae_source(vae: "VAE") -> EncoderSource[CanvasVae]:
    """A VAE socket's value. Raises `ModelError` for an audio VAE."""
    weights = _weights(vae, "first_stage_model", "VAE")
    if hasattr(weights, _OF_AUDIO_VAE):
        raise ModelError("the VAE on the canvas is an audio VAE: connect it to audio_vae")
    identity = _identity(weights, vae.vae_dtype, vae.patcher)
    family = family_of_vae(weights.state_dict().keys())
    return EncoderSource(identity, partial(CanvasVae, vae), family=family)


def audio_vae_source(vae: "VAE") -> EncoderSource[CanvasAudioVae]:
    """An audio VAE socket's value. Raises `ModelError` for a VAE of another kind."""
    weights = _weights(vae, "first_stage_model", "audio VAE")
    if not hasattr(weights, _OF_AUDIO_VAE):
        raise ModelError(
            f"the audio VAE on the canvas is a {type(weights).__name__}: connect Load LTXV Audio VAE"
        )
    identity = _identity(weights, vae.vae_dtype, vae.patcher)
    return EncoderSource(identity, partial(CanvasAudioVae, vae), family=_WITH_SOUND.name)


def clip_source(clip: "CLIP") -> EncoderSource[CanvasClip]:
    """A CLIP socket's value."""
    weights = _weights(clip, "cond_stage_model", "CLIP")
    identity = _identity(weights, clip.layer_idx, clip.patcher)
    generation = _generation(weights)
    if generation is None:
        return EncoderSource(identity, partial(CanvasClip, clip))
    return EncoderSource(
        identity,
        partial(CanvasFeatures, clip),
        family=_WITH_SOUND.name,
        generation=generation,
        finished_by=CONNECTORS,
    )


def _generation(weights: nn.Module) -> str | None:
    """Of LTX-2, by the projection behind the text encoder and by which encoder it is; None: of another
    family."""
    projection = getattr(weights, "text_projection_type", None)
    if projection is None:
        return None
    if projection == "single_linear":
        return "LTX-2.0"
    return "LTX-2.5" if weights.text_encoder_key == "gemma4" else "LTX-2.3"


def _weights(value: object, attribute: str, kind: str) -> nn.Module:
    weights = getattr(value, attribute, None)
    if not isinstance(weights, nn.Module):
        raise ModelError(
            f"the {kind} on the canvas is a {type(value).__name__} without weights of its own: "
            f"connect the {kind} of a stock loader, or leave the socket free"
        )
    return weights


def _identity(weights: nn.Module, option: object, patcher: object) -> str:
    """Names weights by their names, shapes and some bytes of each, and by what patches them.

    A file's name says nothing of what was loaded, and reading everything would take seconds.
    """
    digest = hashlib.sha256(repr(option).encode())
    for name, tensor in sorted(weights.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_some_bytes(tensor))
    _add(digest, getattr(patcher, "patches", {}))
    return f"canvas {digest.hexdigest()[:32]}"


def _add(digest: "hashlib._Hash", value: object) -> None:
    """Patches are nested tuples, lists and objects of numbers, texts and tensors."""
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode() + _some_bytes(value))
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            _add(digest, part)
    elif isinstance(value, str | int | float | bool | None):
        digest.update(repr(value).encode())
    else:
        digest.update(type(value).__name__.encode())
        _add(digest, getattr(value, "weights", None))


def _some_bytes(tensor: Tensor) -> bytes:
    if tensor.is_meta or tensor.numel() == 0:
        return b""
    content = tensor.detach().reshape(-1).view(torch.uint8)
    step = max(1, len(content) // SAMPLED_BYTES) | 1  # odd: meets every byte of a number
    return content[::step].cpu().numpy().tobytes()
