"""Decodes sampled latents, with as much of a device's memory as there is."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..events import Notice, Progress, Reporter, ignore
from ..families.model import AudioVae, Model, Vae
from ..media.sound import Sound
from ..media.tensors import tensor_to_frames
from ..memory_errors import is_out_of_memory, lacks_device_memory
from ..models.device import free_memory
from ..models.precision import vae_dtype

TILE_PX, TILE_FRAMES = 256, 64
"""704x480x161 takes 5.1 GiB as a whole and 1.3 GiB in tiles of this width, less with fewer frames at a time."""


class VideoDecoder:
    """Normalised latents to videos, one at a time.

    The VAE is on the device for the moment it decodes in. It keeps its own precision where the transformer's is
    another: in fp16 its activations overflow. Where the device's memory is not enough, it decodes in tiles, and
    then on the CPU.
    """

    def __init__(self, source: Model, device: torch.device, report: Reporter = ignore):
        self._source, self._device, self._report = source, device, report
        self._vae: Vae | None = None
        self._ways: list[tuple[str, Callable[[Vae], Vae]]] = [
            ("as a whole", lambda vae: vae.to(device)),
            ("in tiles", lambda vae: vae.in_tiles(TILE_PX, TILE_FRAMES).to(device)),
            ("in tiles on the CPU", lambda vae: vae.to(torch.device("cpu"))),
        ]

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents [C, f, h, w] to a video, uint8 [F, H, W, 3]."""
        while True:
            way, prepare = self._ways[0]
            try:
                return self._decode(latents, prepare)
            except Exception as error:
                if not is_out_of_memory(error) or not self._ways[1:]:
                    raise
            finally:
                if self._vae is not None:
                    self._vae.to(torch.device("cpu"))
                free_memory()
            del self._ways[0]  # for the videos that follow as well
            after = self._ways[0][0]
            text = (
                f"a sample can't be decoded {way}: the memory is not enough. It is decoded {after}"
            )
            self._report(Notice(text))

    def _decode(self, latents: Tensor, prepare: Callable[[Vae], Vae]) -> np.ndarray:
        self._vae = self._vae or self._source.load_vae(vae_dtype(self._device))
        generator = torch.Generator().manual_seed(0)
        with torch.autocast(self._device.type, enabled=False):
            frames = prepare(self._vae).decode(latents[None], generator)
        video: np.ndarray = tensor_to_frames(frames)[0]
        return video


class SoundDecoder:
    """Normalised latents to sounds of so many seconds, one at a time; in float32."""

    def __init__(self, source: Model, device: torch.device, seconds: float):
        self._source, self._device, self._seconds = source, device, seconds
        self._vae: AudioVae | None = None

    def decode(self, latents: Tensor) -> Sound:
        """Latents [C, ...] to a sound."""
        self._vae = self._vae or self._source.load_audio_vae()
        try:
            return self._decode(self._vae.to(self._device), latents)
        except Exception as error:
            if not lacks_device_memory(error):
                raise
            return self._decode(self._vae.to(torch.device("cpu")), latents)
        finally:
            self._vae.to(torch.device("cpu"))
            free_memory()

    def _decode(self, vae: AudioVae, latents: Tensor) -> Sound:
        count = round(self._seconds * vae.sample_rate)
        with torch.autocast(self._device.type, enabled=False):
            heard = vae.decode(latents[None])[0, :, :count]
        samples = torch.nn.functional.pad(heard, (0, count - heard.shape[-1])).numpy()
        return Sound(samples, vae.sample_rate)


def decode_videos(
    latents: Tensor, source: Model, device: torch.device, report: Reporter = ignore
) -> list[np.ndarray]:
    """Normalised latents [B, C, f, h, w] to B videos, uint8 [F, H, W, 3]."""
    decoder = VideoDecoder(source, device, report)
    return [decoder.decode(one) for one in _counted(latents, "decode", "video", report)]


def decode_sounds(
    latents: Tensor,
    seconds: float,
    source: Model,
    device: torch.device,
    report: Reporter = ignore,
) -> list[Sound]:
    """Normalised latents [B, C, ...] to B sounds of so many seconds."""
    decoder = SoundDecoder(source, device, seconds)
    return [decoder.decode(one) for one in _counted(latents, "decode sound", "sound", report)]


def _counted(latents: Tensor, phase: str, unit: str, report: Reporter) -> Iterator[Tensor]:
    for number, one in enumerate(latents, start=1):
        yield one
        report(Progress(phase, number, len(latents), unit))
