"""Sampling videos: Euler steps along the flow, with classifier-free guidance.

Shapes: B prompts, N tokens of the video, R tokens of the reference, L text tokens, D text width.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor

from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..geometry import LATENT_CHANNELS, LatentSize, VideoSize
from .timesteps import token_shift
from .tokens import latent_size, positions, reference_positions, to_latents, to_tokens

TERMINAL = 0.1


@dataclass(frozen=True)
class Given:
    """The part of a video that is known before it is sampled, and stays as it is.

    Attributes:
        latents: [128, f, h, w] normalised; anything where nothing is known.
        where: [f, h, w] bool, true where the latents are known.
    """

    latents: Tensor
    where: Tensor

    @classmethod
    def first_frames(cls, latents: Tensor, size: LatentSize) -> "Given":
        """The first latent frames [128, k, h, w] of a video of `size`."""
        whole = latents.new_zeros(LATENT_CHANNELS, size.frames, size.height, size.width)
        where = torch.zeros(whole.shape[1:], dtype=torch.bool)
        whole[:, : latents.shape[1]] = latents
        where[: latents.shape[1]] = True
        return cls(whole, where)


@dataclass(frozen=True)
class SampleRequest:
    """One video to sample.

    Attributes:
        prompt, negative: text embeddings [L, D], padding cut off.
        seed: of the initial noise.
        reference: normalised latents [128, f, h, w] of a reference video, or None.
        given: what of the video is known, for example its first frame, or None.
    """

    prompt: Tensor
    negative: Tensor
    seed: int
    reference: Tensor | None = None
    given: Given | None = None


@dataclass(frozen=True)
class SamplerSettings:
    size: VideoSize
    steps: int
    guidance_scale: float
    causal_positions: bool
    fps: float = 25.0
    batch_size: int = 1


def sampling_levels(steps: int, tokens: int) -> Tensor:
    """Noise levels [steps + 1] from 1 to 0, shifted by the number of tokens.

    The last level before 0 is stretched to 0.1: the usual LTX-Video schedule.
    """
    levels = torch.linspace(1.0, 0.0, steps + 1)[:-1]
    shift = math.exp(token_shift(tokens))
    levels = shift / (shift + 1 / levels - 1)
    if steps > 1:
        levels = 1 - (1 - levels) * (1 - TERMINAL) / (1 - levels[-1])
    return torch.cat([levels, torch.zeros(1)])


@torch.no_grad()
def sample(
    transformer: LTXVideoTransformer3DModel,
    requests: list[SampleRequest],
    settings: SamplerSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Tensor:
    """Samples normalised latents [len(requests), 128, f, h, w], float32 on the CPU."""
    stop = stop or NeverStop()
    chunks = [
        requests[i : i + settings.batch_size] for i in range(0, len(requests), settings.batch_size)
    ]
    total = len(chunks) * settings.steps
    videos = []
    for number, chunk in enumerate(chunks):
        latents = _start(chunk, settings).to(transformer.device)
        model = _GuidedModel.build(transformer, chunk, settings)
        levels = sampling_levels(settings.steps, latents.shape[1]).tolist()
        for step, (level, following) in enumerate(pairwise(levels), start=1):
            raise_if_stopped(stop)
            latents = latents + (following - level) * model.velocity(latents, level)
            report(Progress("sample", number * settings.steps + step, total, "step"))
        videos.append(to_latents(latents, settings.size.latent).cpu())
    return torch.cat(videos)


def _start(requests: list[SampleRequest], settings: SamplerSettings) -> Tensor:
    """Noise [B, N, 128] of each request's seed: the one that ComfyUI's sampler draws for it.

    There a reference is part of the noised latent, so noise is drawn for its frames as well. What
    is given takes the place of its noise.
    """
    size = settings.size.latent
    noise = []
    for request in requests:
        appended = 0 if request.reference is None else request.reference.shape[1]
        shape = (LATENT_CHANNELS, size.frames + appended, size.height, size.width)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        start, given = drawn[:, : size.frames], request.given
        noise.append(start if given is None else torch.where(given.where, given.latents, start))
    return to_tokens(torch.stack(noise))


def _sampled(requests: list[SampleRequest], settings: SamplerSettings) -> Tensor:
    """[B, N] 1 for tokens to sample, 0 for those that are given."""
    given = torch.zeros(len(requests), settings.size.latent.tokens, dtype=torch.bool)
    for row, request in zip(given, requests, strict=True):
        if request.given is not None:
            row.copy_(request.given.where.flatten())
    return (~given).float()


@dataclass(frozen=True)
class _GuidedModel:
    """The transformer with all that stays the same over the steps.

    With guidance the batch holds the prompts twice: as wanted, then negative. Tokens that are not
    `sampled` (0 in [B, N]) are clean: their timestep is 0, and they have no velocity.
    """

    transformer: LTXVideoTransformer3DModel
    guidance_scale: float
    text: Tensor
    mask: Tensor
    positions: Tensor
    sampled: Tensor
    reference: Tensor | None

    @classmethod
    def build(
        cls,
        transformer: LTXVideoTransformer3DModel,
        requests: list[SampleRequest],
        settings: SamplerSettings,
    ) -> "_GuidedModel":
        fps = torch.full((len(requests),), settings.fps)
        where = positions(settings.size.latent, fps, settings.causal_positions)
        references = [r.reference for r in requests if r.reference is not None]
        assert len(references) in (0, len(requests)), "references for all requests or for none"
        reference = torch.stack(references) if references else None
        if reference is not None:
            where = torch.cat([where, reference_positions(latent_size(reference), fps)], dim=2)
        guided = settings.guidance_scale != 1
        negatives = [r.negative for r in requests] if guided else []
        text, mask = pad_text([r.prompt for r in requests] + negatives)
        model = cls(
            transformer=transformer,
            guidance_scale=settings.guidance_scale,
            text=text.to(transformer.device, transformer.dtype),
            mask=mask.to(transformer.device),
            positions=where.to(transformer.device),
            sampled=_sampled(requests, settings).to(transformer.device),
            reference=None if reference is None else to_tokens(reference).to(transformer.device),
        )
        return model._doubled() if guided else model

    def velocity(self, tokens: Tensor, level: float) -> Tensor:
        """Guided velocity [B, N, 128] of tokens [B, N, 128] at a noise level."""
        count = tokens.shape[1]
        repeat = len(self.text) // len(tokens)
        tokens = tokens.repeat(repeat, 1, 1)
        timesteps = level * 1000 * self.sampled.repeat(repeat, 1)
        if self.reference is not None:
            tokens = torch.cat([tokens, self.reference], dim=1)
            timesteps = torch.cat([timesteps, torch.zeros_like(self.reference[..., 0])], dim=1)
        prediction = self.transformer(
            hidden_states=tokens.to(self.transformer.dtype),
            encoder_hidden_states=self.text,
            timestep=timesteps,
            encoder_attention_mask=self.mask,
            video_coords=self.positions,
            return_dict=False,
        )[0][:, :count].float()
        if repeat == 2:
            wanted, negative = prediction.chunk(2)
            prediction = negative + self.guidance_scale * (wanted - negative)
        return prediction * self.sampled[..., None]

    def _doubled(self) -> "_GuidedModel":
        reference = None if self.reference is None else self.reference.repeat(2, 1, 1)
        return replace(self, positions=self.positions.repeat(2, 1, 1), reference=reference)


def pad_text(embeddings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings [L, D] of several lengths to one tensor [B, L, D] and its mask [B, L] (bool)."""
    text = torch.nn.utils.rnn.pad_sequence(embeddings, batch_first=True)
    lengths = torch.tensor([len(e) for e in embeddings])
    return text, torch.arange(text.shape[1])[None] < lengths[:, None]
