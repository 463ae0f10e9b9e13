"""Videos sampled while training, to see it learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor

from .config import TrainingConfig, ValidationConfig
from .events import Progress, Reporter, SamplesWritten, StopSignal, ignore
from .files import atomic_path
from .flow.sampler import SampleRequest, SamplerSettings, sample
from .media.sheet import contact_sheet
from .media.tensors import frames_to_tensor, tensor_to_frames
from .media.video import read_frames, write_video
from .models.device import free_memory
from .models.source import ModelSource

FPS = 25.0


@dataclass(frozen=True)
class Validator:
    """Everything that sampling needs besides the transformer, encoded once.

    The VAE is loaded for the moment it decodes in: neither it nor the text encoder is in memory
    while steps run.
    """

    config: ValidationConfig
    source: ModelSource
    device: torch.device
    requests: tuple[SampleRequest, ...]

    @classmethod
    def prepare(
        cls, config: TrainingConfig, source: ModelSource, device: torch.device
    ) -> "Validator | None":
        """Encodes prompts and reference videos; None when there is nothing to sample.

        Raises:
            DataError: when a reference video can't be read.
        """
        wanted = config.validation
        if not wanted.prompts or wanted.interval is None:
            return None
        references = _encode_references(wanted, source, device)
        prompts = _encode_prompts([*wanted.prompts, wanted.negative_prompt], source, device)
        requests = tuple(
            SampleRequest(prompts[i], prompts[-1], wanted.seed + k, references[i])
            for i in range(len(wanted.prompts))
            for k in range(wanted.videos_per_prompt)
        )
        return cls(wanted, source, device, requests)

    def is_due(self, step: int, last_step: int) -> bool:
        assert self.config.interval is not None
        return step % self.config.interval == 0 or step == last_step

    def run(
        self,
        transformer: LTXVideoTransformer3DModel,
        step: int,
        folder: Path,
        report: Reporter,
        stop: StopSignal,
    ) -> SamplesWritten:
        """Samples every prompt and writes one mp4 each and a contact sheet into the folder."""
        settings = SamplerSettings(
            size=self.config.size,
            steps=self.config.inference_steps,
            guidance_scale=self.config.guidance_scale,
            causal_positions=self.source.causal_positions,
            fps=FPS,
        )
        latents = sample(transformer, list(self.requests), settings, report, stop)
        videos = decode_videos(latents, self.source, self.device, report)
        paths = []
        for number, video in enumerate(videos):
            paths.append(folder / f"{number:03d}.mp4")
            write_video(paths[-1], video, FPS)
        sheet = folder / "sheet.png"
        labels = [p for p in self.config.prompts for _ in range(self.config.videos_per_prompt)]
        with atomic_path(sheet) as temporary:
            contact_sheet([[video] for video in videos], labels).save(temporary)
        return SamplesWritten(step, tuple(paths), sheet)


def decode_videos(
    latents: Tensor, source: ModelSource, device: torch.device, report: Reporter = ignore
) -> list[np.ndarray]:
    """Normalised latents [B, 128, f, h, w] to B videos, uint8 [F, H, W, 3].

    The VAE is loaded for this and dropped again.
    """
    codec = source.load_video_codec(_half_on(device)).to(device)
    generator = torch.Generator().manual_seed(0)
    videos = []
    for number, one in enumerate(latents, start=1):
        videos.append(tensor_to_frames(codec.decode(one[None], generator))[0])
        report(Progress("decode", number, len(latents), "video"))
    del codec
    free_memory()
    return videos


def _encode_prompts(prompts: list[str], source: ModelSource, device: torch.device) -> list[Tensor]:
    encoder = source.load_text_encoder(_half_on(device)).to(device)
    embeddings = [embedding.float() for p in prompts for embedding in encoder.encode([p])]
    del encoder
    free_memory()
    return embeddings


def _encode_references(
    config: ValidationConfig, source: ModelSource, device: torch.device
) -> list[Tensor] | list[None]:
    if config.reference_videos is None:
        return [None] * len(config.prompts)
    codec = source.load_video_codec(_half_on(device)).to(device)
    references = [
        codec.encode(frames_to_tensor(read_frames(Path(path), config.size)))[0]
        for path in config.reference_videos
    ]
    del codec
    free_memory()
    return references


def _half_on(device: torch.device) -> torch.dtype:
    """bfloat16 on an accelerator, where memory is short; float32 on the CPU."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16
