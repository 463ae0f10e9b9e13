"""Samples videos: Euler steps along the flow, with classifier-free guidance.

Shapes: B prompts, C channels, N tokens of the video, R tokens of the reference, f h w latent frames, rows,
columns.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..families.base import Denoiser, Embedding, Stream, StreamInput, Text
from ..families.names import VIDEO
from ..geometry import LatentSize, VideoSize


@dataclass(frozen=True)
class ConditioningLatents:
    """The part of a video that is known before it is sampled, and stays as it is.

    Attributes:
        latents: [C, f, h, w] normalised; anything where nothing is known.
        where: [f, h, w] bool, true where the latents are known.
    """

    latents: Tensor
    where: Tensor

    @classmethod
    def first_frames(cls, latents: Tensor, size: LatentSize) -> "ConditioningLatents":
        """The first latent frames [C, k, h, w] of a video of `size`."""
        whole = latents.new_zeros(len(latents), size.frames, size.height, size.width)
        where = torch.zeros(whole.shape[1:], dtype=torch.bool)
        whole[:, : latents.shape[1]] = latents
        where[: latents.shape[1]] = True
        return cls(whole, where)


@dataclass(frozen=True)
class SampleRequest:
    """One video to sample.

    Attributes:
        prompt, negative: text embeddings.
        seed: of the initial noise.
        reference: normalised latents [C, f, h, w] of a reference video, or None.
        given: what of the video is known, for example its first frame, or None.
    """

    prompt: Embedding
    negative: Embedding
    seed: int
    reference: Tensor | None = None
    given: ConditioningLatents | None = None


@dataclass(frozen=True)
class SamplerSettings:
    size: VideoSize
    steps: int
    guidance_scale: float
    fps: float = 25.0
    batch_size: int = 1


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    requests: list[SampleRequest],
    settings: SamplerSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Tensor:
    """Samples normalised latents [len(requests), C, f, h, w] of videos, float32 on the CPU."""
    stop = stop or NeverStop()
    stream = denoiser.streams[VIDEO]
    chunks = [
        requests[i : i + settings.batch_size] for i in range(0, len(requests), settings.batch_size)
    ]
    total = len(chunks) * settings.steps
    videos = []
    for number, chunk in enumerate(chunks):
        tokens = _start(chunk, stream, settings.size.latent).to(denoiser.device)
        model = _GuidedModel.build(denoiser, chunk, settings)
        levels = denoiser.sampling_levels(settings.steps, tokens.shape[1]).tolist()
        for step, (level, following) in enumerate(pairwise(levels), start=1):
            raise_if_stopped(stop)
            tokens = tokens + (following - level) * model.velocity(tokens, level)
            report(Progress("sample", number * settings.steps + step, total, "step"))
        videos.append(stream.to_latents(tokens, settings.size.latent).cpu())
    return torch.cat(videos)


def _start(requests: list[SampleRequest], stream: Stream, size: LatentSize) -> Tensor:
    """Noise [B, N, C] of each request's seed: the one that ComfyUI's sampler draws for it.

    There a reference is part of the noised latent, so noise is drawn for its frames as well. What
    is given takes the place of its noise.
    """
    noise = []
    for request in requests:
        appended = 0 if request.reference is None else request.reference.shape[1]
        shape = (stream.channels, size.frames + appended, size.height, size.width)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        start, given = drawn[:, : size.frames], request.given
        noise.append(start if given is None else torch.where(given.where, given.latents, start))
    return stream.to_tokens(torch.stack(noise))


def _sampled(requests: list[SampleRequest], size: LatentSize) -> Tensor:
    """[B, N] 1 for tokens to sample, 0 for those that are given."""
    given = torch.zeros(len(requests), size.tokens, dtype=torch.bool)
    for row, request in zip(given, requests, strict=True):
        if request.given is not None:
            row.copy_(request.given.where.flatten())
    return (~given).float()


@dataclass(frozen=True)
class _GuidedModel:
    """The denoiser with all that stays the same over the steps.

    With guidance the batch holds the prompts twice: as wanted, then negative. Tokens that are not
    `sampled` (0 in [B, N]) are clean: their level is 0, and they have no velocity.
    """

    denoiser: Denoiser
    guidance_scale: float
    text: Text
    positions: Tensor
    sampled: Tensor
    reference: StreamInput | None

    @classmethod
    def build(
        cls, denoiser: Denoiser, requests: list[SampleRequest], settings: SamplerSettings
    ) -> "_GuidedModel":
        device, stream, size = denoiser.device, denoiser.streams[VIDEO], settings.size.latent
        guided = settings.guidance_scale != 1
        rows = [*requests, *requests] if guided else requests
        fps = torch.full((len(rows),), settings.fps)
        negatives = [r.negative for r in requests] if guided else []
        text = Text.padded([*(r.prompt for r in requests), *negatives])
        return cls(
            denoiser=denoiser,
            guidance_scale=settings.guidance_scale,
            text=text.to(device, denoiser.dtype),
            positions=stream.positions(size, fps).to(device),
            sampled=_sampled(requests, size).to(device),
            reference=_reference(rows, stream, fps, device),
        )

    def velocity(self, tokens: Tensor, level: float) -> Tensor:
        """Guided velocity [B, N, C] of tokens [B, N, C] at a noise level."""
        repeat = len(self.positions) // len(tokens)
        seen = StreamInput(
            tokens.repeat(repeat, 1, 1), level * self.sampled.repeat(repeat, 1), self.positions
        )
        if self.reference is not None:
            seen = seen.followed_by(self.reference)
        prediction = self.denoiser.denoise({VIDEO: seen}, self.text)[VIDEO]
        prediction = prediction[:, : tokens.shape[1]].float()
        if repeat == 2:
            wanted, negative = prediction.chunk(2)
            prediction = negative + self.guidance_scale * (wanted - negative)
        return prediction * self.sampled[..., None]


def _reference(
    rows: list[SampleRequest], stream: Stream, fps: Tensor, device: torch.device
) -> StreamInput | None:
    """The clean tokens of the references, of all requests or of none."""
    latents = [row.reference for row in rows if row.reference is not None]
    assert len(latents) in (0, len(rows)), "references for all requests or for none"
    if not latents:
        return None
    tokens = stream.to_tokens(torch.stack(latents))
    where = stream.reference_positions(LatentSize(*latents[0].shape[1:]), fps)
    return StreamInput(tokens, torch.zeros(tokens.shape[:2]), where).to(device)
