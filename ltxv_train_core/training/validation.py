"""Videos sampled while training, to see it learn."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import TrainingConfig, ValidationConfig
from ..diffusion.sampler import (
    SampleRequest,
    SamplerSettings,
    SpatioTemporalGuidance,
    sample_each,
)
from ..errors import LTXVTrainError
from ..events import Progress, Reporter, SamplesWritten, StopSignal
from ..families.base import Denoiser
from ..families.names import AUDIO, VIDEO
from ..families.open import Model
from ..geometry import SAME_SIZE, ReferenceScale
from ..media.sheet import contact_sheet
from ..media.sound import Sound
from ..media.sound_picture import sound_picture
from ..media.texts import png_texts
from ..media.write import write_video
from ..storage.atomic import atomic_path
from ..storage.tensors import write_safetensors
from .decoding import SoundDecoder, VideoDecoder
from .sample_settings import sample_settings
from .text_encoding import encode_texts
from .validation_media import encode_media


class SampleError(LTXVTrainError):
    """A sample could not be decoded; its latents are in a file."""


@dataclass(frozen=True)
class Validator:
    """Everything that sampling needs besides the transformer, encoded once.

    The VAE is loaded for the moment it decodes in: neither it nor the text encoder is in memory
    while steps run.

    Attributes:
        streams: those that are sampled; None: all of the family's.
    """

    config: ValidationConfig
    source: Model
    device: torch.device
    requests: tuple[SampleRequest, ...]
    streams: frozenset[str] | None = None

    @classmethod
    def prepare(
        cls,
        config: TrainingConfig,
        source: Model,
        device: torch.device,
        asked: bool = False,
        reference_scale: ReferenceScale = SAME_SIZE,
    ) -> "Validator | None":
        """Encodes prompts, and the media that they come with; None when there is nothing to sample.

        Args:
            asked: samples are wanted now, whether or not there is an interval.
            reference_scale: how much smaller than the samples their reference videos are.

        Raises:
            DataError: when a picture, a video or a sound can't be read.
        """
        wanted = config.validation
        if not wanted.prompts or (wanted.interval is None and not asked):
            return None
        media = encode_media(wanted, source, device, reference_scale)
        texts = [*wanted.prompts, wanted.negative_prompt]
        prompts = encode_texts(texts, source, device, config.acceleration, "validation.prompts")
        requests = tuple(
            SampleRequest(prompts[i], prompts[-1], wanted.seed + k, **media[i])
            for i in range(len(wanted.prompts))
            for k in range(wanted.videos_per_prompt)
        )
        return cls(wanted, source, device, requests, config.conditioning.seen_streams)

    def is_due(self, step: int, last_step: int) -> bool:
        """Whether samples are wanted after a step; step 0 is the base model."""
        if self.config.interval is None:
            return False
        if step == 0:
            return not self.config.skip_initial_validation
        return step % self.config.interval == 0 or step == last_step

    @property
    def _guidance_scales(self) -> dict[str, float]:
        own = self.config.audio_guidance_scale
        return {} if own is None else {AUDIO: own}

    @property
    def _stg(self) -> SpatioTemporalGuidance | None:
        if self.config.stg_scale == 0:
            return None
        streams = {"stg_av": frozenset({VIDEO, AUDIO}), "stg_v": frozenset({VIDEO})}
        guided = streams[self.config.stg_mode] & self.source.family.streams.keys()
        return SpatioTemporalGuidance(self.config.stg_scale, self.config.stg_blocks, guided)

    def run(
        self,
        denoiser: Denoiser,
        step: int,
        folder: Path,
        report: Reporter,
        stop: StopSignal,
        texts: Mapping[str, str],
    ) -> SamplesWritten:
        """Samples every prompt and writes one mp4 each and a contact sheet into the folder; see `write`."""
        latents = self.latents(denoiser, report, stop)
        return self.write(latents, step, folder, report, texts)

    def latents(
        self, denoiser: Denoiser, report: Reporter, stop: StopSignal
    ) -> Iterator[dict[str, Tensor]]:
        """Normalised latents [1, C, ...] of each stream, request by request as they are sampled."""
        how = sample_settings(self.config, self.source.sampling)
        shapes = self.source.family.latent_shapes(self.config.size, self.config.frame_rate)
        settings = SamplerSettings(
            shapes={
                name: shape
                for name, shape in shapes.items()
                if self.streams is None or name in self.streams
            },
            steps=how.steps,
            guidance_scale=how.guidance_scale,
            fps=self.config.frame_rate,
            levels=how.levels,
            guidance_rescale=self.config.guidance_rescale,
            guidance_scales=self._guidance_scales,
            stg=self._stg,
        )
        return sample_each(denoiser, list(self.requests), settings, report, stop)

    def write(
        self,
        sampled: Iterable[dict[str, Tensor]],
        step: int,
        folder: Path,
        report: Reporter,
        texts: Mapping[str, str],
    ) -> SamplesWritten:
        """Decodes latents of all requests, one after another as they come, and writes their files.

        Args:
            texts: metadata of the files, JSON by name: the ComfyUI graph that trains, which a canvas opens.
        """
        decoder = VideoDecoder(self.source, self.device, report)
        seconds = self.config.size.frames / self.config.frame_rate
        sound_decoder = SoundDecoder(self.source, self.device, seconds)
        paths, videos, sounds = [], [], []
        for number, latents in enumerate(sampled):
            path = folder / f"{number:03d}.mp4"
            with _kept_where_it_fails(latents, path.with_suffix(".safetensors")):
                sound = sound_decoder.decode(latents[AUDIO][0]) if AUDIO in latents else None
                video = self._seen(decoder, latents, sound)
            write_video(path, video, self.config.frame_rate, sound=sound, metadata=texts)
            report(Progress("decode", number + 1, len(self.requests), "video"))
            paths.append(path)
            is_seen = VIDEO in latents
            videos.append(video if is_seen else video[:1])
            sounds.append(sound if is_seen else None)
        sheet = folder / "sheet.png"
        labels = [p for p in self.config.prompts for _ in range(self.config.videos_per_prompt)]
        drawn = contact_sheet(
            [[video] for video in videos], labels, sounds=[[sound] for sound in sounds]
        )
        with atomic_path(sheet) as temporary:
            drawn.save(temporary, pnginfo=png_texts(texts))
        return SamplesWritten(step, tuple(paths), sheet)

    def _seen(
        self, decoder: VideoDecoder, latents: Mapping[str, Tensor], sound: Sound | None
    ) -> np.ndarray:
        """The video, uint8 [F, H, W, 3]; of a sound alone a picture of it."""
        if VIDEO in latents:
            return decoder.decode(latents[VIDEO][0])
        assert sound is not None, "samples are videos, sounds or both"
        picture = np.asarray(sound_picture(sound, self.config.size.width))
        return np.repeat(picture[None], self.config.size.frames, axis=0)


@contextmanager
def _kept_where_it_fails(latents: Mapping[str, Tensor], path: Path) -> Iterator[None]:
    """Writes latents [1, C, ...] to a file if they can't be decoded: sampling them has taken long."""
    try:
        yield
    except Exception as error:
        write_safetensors(path, {name: each.contiguous() for name, each in latents.items()}, {})
        raise SampleError(f"{error}. The latents are in {path}") from error
