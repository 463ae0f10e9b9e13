"""What samples are given besides their prompts: first frames, whole videos and sounds, references."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..config import SAMPLE_MEDIA, ValidationConfig
from ..diffusion.sampler import ConditioningLatents
from ..families.model import AudioVae, Model, Vae
from ..families.names import AUDIO, VIDEO
from ..geometry import SAME_SIZE, Grid, LatentSize, ReferenceScale, VideoSize
from ..media.sound import read_sound_file
from ..media.tensors import frames_to_tensor
from ..media.video import read_frames
from ..models.device import free_memory
from ..models.precision import vae_dtype
from ..storage.paths import as_path

Media = dict[str, dict[str, Any]]
"""Of one prompt: `references` and `given` of `SampleRequest`, by stream."""


def encode_media(
    config: ValidationConfig,
    source: Model,
    device: torch.device,
    scale: ReferenceScale = SAME_SIZE,
) -> list[Media]:
    """What each prompt is given, encoded. A VAE is loaded where it is needed, and goes again.

    Args:
        scale: how much smaller than the samples reference videos are.

    Raises:
        DataError: a file can't be read.
    """
    media: list[Media] = [{"references": {}, "given": {}} for _ in config.prompts]
    if not any(getattr(config, name) for name in SAMPLE_MEDIA):
        return media
    shapes = source.family.latent_shapes(config.size, config.frame_rate)
    if config.reference_videos or config.images or config.videos:
        vae = source.load_vae(vae_dtype(device)).to(device)
        _add_references(media, config, vae, scale, source.family.grid)
        _add_videos(media, config, vae, shapes[VIDEO])
        del vae
        free_memory()
    if config.audios or config.reference_audios:
        audio_vae = source.load_audio_vae().to(device)
        rate = source.family.streams[AUDIO].sound_rate
        assert rate is not None
        _add_sounds(media, config, audio_vae, rate, shapes[AUDIO])
        del audio_vae
        free_memory()
    return media


def _add_references(
    media: Sequence[Media], config: ValidationConfig, vae: Vae, scale: ReferenceScale, grid: Grid
) -> None:
    whole = config.size
    latent = scale.latent(grid.latent(whole))
    assert latent is not None, "preflight has looked"
    size = grid.pixels(LatentSize(*latent))
    for one, path in _each(media, config.reference_videos):
        one["references"][VIDEO] = _encode(
            vae, path, replace(size, frames=whole.frames), scale.temporal
        )


def _add_videos(
    media: Sequence[Media], config: ValidationConfig, vae: Vae, shape: tuple[int, ...]
) -> None:
    whole = config.size
    image = VideoSize(whole.width, whole.height, 1)
    for one, path in _each(media, config.images):
        first = _encode(vae, path, image)
        one["given"][VIDEO] = ConditioningLatents.beginning(first, shape)
    for one, path in _each(media, config.videos):
        one["given"][VIDEO] = ConditioningLatents.beginning(_encode(vae, path, whole), shape)


def _add_sounds(
    media: Sequence[Media],
    config: ValidationConfig,
    vae: AudioVae,
    rate: int,
    shape: tuple[int, ...],
) -> None:
    seconds = config.size.frames / config.frame_rate

    def encoded(path: str) -> Tensor:
        sound = read_sound_file(as_path(path), rate, seconds)
        return vae.encode(torch.from_numpy(sound.samples)[None])[0]

    for one, path in _each(media, config.audios):
        one["given"][AUDIO] = ConditioningLatents.beginning(encoded(path), shape)
    for one, path in _each(media, config.reference_audios):
        one["references"][AUDIO] = encoded(path)


def _each(media: Sequence[Media], paths: Sequence[str] | None) -> Iterable[tuple[Media, str]]:
    """Each prompt's with its file, where there are files."""
    return zip(media, paths or (), strict=False)


def _encode(vae: Vae, path: str, size: VideoSize, every: int = 1) -> Tensor:
    """The normalised latents [C, f, h, w] of a media file brought to a size, of every so-many-th of its frames."""
    return vae.encode(frames_to_tensor(read_frames(as_path(path), size)[::every]))[0]
