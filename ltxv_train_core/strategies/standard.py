from collections.abc import Mapping

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import Batch
from ..diffusion.draws import SampleDraws
from ..diffusion.loss import loss_of
from ..diffusion.timesteps import draw_noise_levels
from ..families.base import Stream, StreamInput, whole_tokens
from ..families.names import AUDIO, LATENTS, VIDEO
from ..families.other_trainers import streams_as_in
from .arithmetic import arithmetic_of
from .base import StepInputs, StreamStep
from .conditions import conditions_of, draw_given


class StandardStrategy:
    """Text to video, with a part of some samples given clean: a first frame, a beginning, ..."""

    def __init__(self, config: TrainingConfig, streams: Mapping[str, Stream]):
        self.flow_matching = config.flow_matching
        self.conditioning = config.conditioning
        compat = config.flow_matching.compat
        self.streams = streams_as_in(compat, streams) if compat else streams
        self.arithmetic = arithmetic_of(config.flow_matching)
        self._measure = loss_of(config.flow_matching)
        weights = config.flow_matching
        self._weights = {VIDEO: weights.video_loss_weight, AUDIO: weights.audio_loss_weight}
        if len(streams) == 1:
            self._weights = {}

    def prepare(self, batch: Batch, draws: SampleDraws) -> StepInputs:
        steps: dict[str, StreamStep] = {}
        levels: Tensor | None = None
        whole = self.conditioning.given_stream
        for name in self.streams:
            if name in batch.streams and name != whole:
                if levels is None or self.flow_matching.noise_levels == "independent":
                    levels = self._levels(name, batch, draws)
                steps[name] = self._step(name, batch, levels, draws)
        given = {} if whole is None else {whole: self._given(whole, batch)}
        return StepInputs(steps, given)

    def _given(self, name: str, batch: Batch) -> StreamInput:
        """A stream that is clean as a whole: the model is told so by the level 0 of its tokens."""
        latents = batch.streams[name][LATENTS].to(self.arithmetic.dtype)
        return self._clean(
            latents, self.streams[name].positions(latents.shape[2:], batch.fps), name
        )

    def _clean(self, latents: Tensor, positions: Tensor, name: str) -> StreamInput:
        tokens = self.streams[name].to_tokens(latents).float()
        return StreamInput(tokens, torch.zeros(tokens.shape[:2]), positions)

    def _levels(self, name: str, batch: Batch, draws: SampleDraws) -> Tensor:
        stream, latents = self.streams[name], batch.streams[name][LATENTS]
        tokens = stream.to_tokens(latents).shape[1]
        return draw_noise_levels(self.flow_matching, tokens, stream, draws)

    def _step(self, name: str, batch: Batch, levels: Tensor, draws: SampleDraws) -> StreamStep:
        stream, tensors = self.streams[name], batch.streams[name]
        latents = tensors[LATENTS].to(self.arithmetic.dtype)
        clean = stream.to_tokens(latents)
        noise = draws.normal(*clean.shape[1:]).to(clean.dtype)
        of_conditions = draws.shared() if self.arithmetic.conditions_by_batch else draws
        marked = draw_given(tensors, self.conditioning, of_conditions, conditions_of(name))
        given = whole_tokens(stream, marked)
        per_token = torch.where(given, 0.0, levels[:, None])
        mix = per_token[..., None]
        seen = StreamInput(
            tokens=(1 - mix) * clean + mix * noise,
            levels=self.arithmetic.told(per_token),
            positions=stream.positions(latents.shape[2:], batch.fps),
        )
        weight = stream.loss_weight * self._weights.get(name, 1.0)
        return StreamStep(
            seen, noise - clean, ~given, weight, measure=self._measure, sample_weights=batch.weights
        )
