"""Samples videos: Euler steps along the flow, with classifier-free and spatio-temporal guidance.

Shapes: B prompts, C channels, N tokens of a stream, "..." what else its latents have (a video's: frames, rows,
columns).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..families.base import Denoiser, Embedding, Stream, StreamInput, Text, whole_tokens


@dataclass(frozen=True)
class ConditioningLatents:
    """The part of a stream that is known before it is sampled, and stays as it is.

    Attributes:
        latents: [C, ...] normalised; anything where nothing is known.
        where: [...] bool, true where the latents are known.
    """

    latents: Tensor
    where: Tensor

    @classmethod
    def beginning(cls, latents: Tensor, shape: tuple[int, ...]) -> "ConditioningLatents":
        """The first latents [C, k, ...] of a stream whose latents are [C, *shape]."""
        whole = latents.new_zeros(len(latents), *shape)
        where = torch.zeros(shape, dtype=torch.bool)
        whole[:, : latents.shape[1]] = latents
        where[: latents.shape[1]] = True
        return cls(whole, where)


@dataclass(frozen=True)
class SampleRequest:
    """One clip to sample.

    Attributes:
        prompt, negative: text embeddings.
        seed: of the initial noise.
        references: normalised latents [C, ...] of references, by stream.
        given: what is known of a stream, for example a video's first frame.
    """

    prompt: Embedding
    negative: Embedding
    seed: int
    references: Mapping[str, Tensor] = field(default_factory=dict)
    given: Mapping[str, ConditioningLatents] = field(default_factory=dict)


@dataclass(frozen=True)
class SpatioTemporalGuidance:
    """Leads away from what the model predicts without self-attention in some blocks
    (https://arxiv.org/abs/2411.18664); one more pass of the prompts in each step.

    Attributes:
        scale: above 0.
        blocks: by number; None takes the model's own.
        streams: those that it guides.
    """

    scale: float
    blocks: tuple[int, ...] | None
    streams: frozenset[str]


@dataclass(frozen=True)
class SamplerSettings:
    """How clips are sampled.

    Attributes:
        shapes: of the latents of each stream, without channels.
        levels: noise levels from 1 down to the last before 0; None takes the family's schedule.
        guidance_scales: of single streams, by name, where `guidance_scale` isn't 1.
        guidance_rescale: how far guided predictions get the standard deviation of those of the prompt alone, 0
            to 1 (https://arxiv.org/abs/2305.08891, section 3.4).
        stg: spatio-temporal guidance.
    """

    shapes: Mapping[str, tuple[int, ...]]
    steps: int
    guidance_scale: float
    fps: float = 25.0
    batch_size: int = 1
    levels: tuple[float, ...] | None = None
    guidance_scales: Mapping[str, float] = field(default_factory=dict)
    guidance_rescale: float = 0.0
    stg: SpatioTemporalGuidance | None = None


def sample(
    denoiser: Denoiser,
    requests: list[SampleRequest],
    settings: SamplerSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> dict[str, Tensor]:
    """Samples normalised latents [len(requests), C, ...] of each stream, float32 on the CPU."""
    batches = list(sample_each(denoiser, requests, settings, report, stop))
    return {name: torch.cat([each[name] for each in batches]) for name in settings.shapes}


def sample_each(
    denoiser: Denoiser,
    requests: list[SampleRequest],
    settings: SamplerSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Normalised latents [B, C, ...] of each stream, float32 on the CPU, batch by batch as they are sampled."""
    size = settings.batch_size
    batches = [requests[i : i + size] for i in range(0, len(requests), size)]
    for number, batch in enumerate(batches):
        progress = _StepProgress(number * settings.steps, len(batches) * settings.steps, report)
        yield _sample_batch(denoiser, batch, settings, progress, stop or NeverStop())


@dataclass(frozen=True)
class _StepProgress:
    """Reports steps of one batch among those of all."""

    before: int
    total: int
    report: Reporter

    def __call__(self, step: int) -> None:
        self.report(Progress("sample", self.before + step, self.total, "step"))


@torch.no_grad()
def _sample_batch(
    denoiser: Denoiser,
    requests: list[SampleRequest],
    settings: SamplerSettings,
    progress: _StepProgress,
    stop: StopSignal,
) -> dict[str, Tensor]:
    model = _GuidedModel.build(denoiser, requests, settings)
    tokens = _start(requests, denoiser, settings)
    counts = {name: each.shape[1] for name, each in tokens.items()}
    schedule = denoiser.sampling_levels(settings.steps, counts).tolist()
    levels = schedule if settings.levels is None else [*settings.levels, 0.0]
    for step, (level, following) in enumerate(pairwise(levels), start=1):
        raise_if_stopped(stop)
        velocity = model.velocity(tokens, level)
        tokens = {n: each + (following - level) * velocity[n] for n, each in tokens.items()}
        progress(step)
    return {
        name: denoiser.streams[name].to_latents(tokens[name], shape).cpu()
        for name, shape in settings.shapes.items()
    }


def _start(
    requests: list[SampleRequest], denoiser: Denoiser, settings: SamplerSettings
) -> dict[str, Tensor]:
    """Noise [B, N, C] of each request's seed: the one that ComfyUI's sampler draws for it.

    There a reference video is part of the noised latent, so noise is drawn for its frames as well. What
    is given takes the place of its noise.
    """
    noise: dict[str, list[Tensor]] = {name: [] for name in settings.shapes}
    for request in requests:
        generator = torch.Generator().manual_seed(request.seed)
        for name, (length, *others) in settings.shapes.items():
            reference, given = request.references.get(name), request.given.get(name)
            stream = denoiser.streams[name]
            appended = 0
            if reference is not None and stream.noises_references:
                appended = reference.shape[1]
            shape = (stream.channels, length + appended, *others)
            start = torch.randn(shape, generator=generator)[:, :length]
            if given is not None:
                start = torch.where(given.where, given.latents, start)
            noise[name].append(start)
    return {
        name: denoiser.streams[name].to_tokens(torch.stack(each)).to(denoiser.device)
        for name, each in noise.items()
    }


@dataclass(frozen=True)
class _GuidedStream:
    """What stays the same of one stream over the steps.

    Attributes:
        sampled: [B, N] 1 for tokens to sample, 0 for those that are given: they are clean, so their
            level is 0, and they have no velocity.
    """

    positions: Tensor
    sampled: Tensor
    reference: StreamInput | None
    guidance_scale: float
    guidance_rescale: float
    stg_scale: float

    def seen(self, tokens: Tensor, level: float) -> StreamInput:
        """What the model sees of tokens [B, N, C], once or twice, at a noise level."""
        repeat = len(self.positions) // len(tokens)
        seen = StreamInput(
            tokens.repeat(repeat, 1, 1), level * self.sampled.repeat(repeat, 1), self.positions
        )
        return seen if self.reference is None else seen.followed_by(self.reference)

    def guided(self, wanted: Tensor, negative: Tensor | None, perturbed: Tensor | None) -> Tensor:
        """The prediction [B, N, C] of the prompts, led away from that of the negative prompts and from that
        without self-attention, as far as there are such."""
        found = wanted
        if negative is not None:
            found = negative + self.guidance_scale * (wanted - negative)
        if perturbed is not None:
            found = found + self.stg_scale * (wanted - perturbed)
        if self.guidance_rescale == 0 or found is wanted:
            return found
        spread, own = (each.std(dim=(1, 2), keepdim=True) for each in (wanted, found))
        return found * (1 + self.guidance_rescale * (spread / own - 1))


@dataclass(frozen=True)
class _GuidedModel:
    """The denoiser with all that stays the same over the steps.

    With guidance the batch holds the prompts twice: as wanted, then negative.
    """

    denoiser: Denoiser
    text: Text
    streams: Mapping[str, _GuidedStream]
    stg: SpatioTemporalGuidance | None

    @classmethod
    def build(
        cls, denoiser: Denoiser, requests: list[SampleRequest], settings: SamplerSettings
    ) -> "_GuidedModel":
        guided = settings.guidance_scale != 1
        negatives = [request.negative for request in requests] if guided else []
        text = Text.padded([*(request.prompt for request in requests), *negatives])
        return cls(
            denoiser=denoiser,
            text=text.to(denoiser.device, denoiser.dtype),
            streams={
                name: _guided_stream(name, denoiser, requests, settings) for name in settings.shapes
            },
            stg=settings.stg,
        )

    def velocity(self, tokens: Mapping[str, Tensor], level: float) -> dict[str, Tensor]:
        """Guided velocities [B, N, C] of tokens [B, N, C] at a noise level, by stream."""
        seen = {name: self.streams[name].seen(each, level) for name, each in tokens.items()}
        predictions = self.denoiser.denoise(seen, self.text)
        perturbed = self._perturbed(seen, len(next(iter(tokens.values()))))
        found = {}
        for name, each in tokens.items():
            stream, count = self.streams[name], each.shape[1]
            wanted, *others = predictions[name][:, :count].float().split(len(each))
            without = perturbed[name][:, :count].float() if stream.stg_scale else None
            prediction = stream.guided(wanted, others[0] if others else None, without)
            found[name] = prediction * stream.sampled[..., None]
        return found

    def _perturbed(self, seen: Mapping[str, StreamInput], prompts: int) -> Mapping[str, Tensor]:
        """What the model predicts of the prompts without self-attention; nothing where that doesn't guide."""
        if self.stg is None:
            return {}
        blocks = self.denoiser.stg_blocks if self.stg.blocks is None else self.stg.blocks
        with self.denoiser.without_self_attention(blocks, self.stg.streams):
            wanted = {name: each.first(prompts) for name, each in seen.items()}
            return self.denoiser.denoise(wanted, self.text.first(prompts))


def _guided_stream(
    name: str, denoiser: Denoiser, requests: list[SampleRequest], settings: SamplerSettings
) -> _GuidedStream:
    device, stream, shape = denoiser.device, denoiser.streams[name], settings.shapes[name]
    rows = [*requests, *requests] if settings.guidance_scale != 1 else requests
    fps = torch.full((len(rows),), settings.fps)
    nothing = torch.zeros(shape, dtype=torch.bool)
    known = [request.given.get(name) for request in requests]
    given = torch.stack([nothing if each is None else each.where for each in known])
    return _GuidedStream(
        positions=stream.positions(shape, fps).to(device),
        sampled=(~whole_tokens(stream, given)).float().to(device),
        reference=_reference(
            [row.references[name] for row in rows if name in row.references],
            stream,
            shape,
            fps,
            device,
        ),
        guidance_scale=settings.guidance_scales.get(name, settings.guidance_scale),
        guidance_rescale=settings.guidance_rescale,
        stg_scale=settings.stg.scale if settings.stg and name in settings.stg.streams else 0.0,
    )


def _reference(
    latents: list[Tensor],
    stream: Stream,
    target: tuple[int, ...],
    fps: Tensor,
    device: torch.device,
) -> StreamInput | None:
    """The clean tokens of the references [C, ...], of all requests or of none."""
    assert len(latents) in (0, len(fps)), "references for all requests or for none"
    if not latents:
        return None
    tokens = stream.to_tokens(torch.stack(latents))
    where = stream.reference_positions(latents[0].shape[1:], target, fps)
    return StreamInput(tokens, torch.zeros(tokens.shape[:2]), where).to(device)
