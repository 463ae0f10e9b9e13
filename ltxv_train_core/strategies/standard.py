from collections.abc import Mapping, Set
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset
from ..datasets.held_out import held_out
from ..datasets.index import Example
from ..diffusion.draws import SampleDraws
from ..diffusion.loss import loss_of
from ..diffusion.timesteps import draw_noise_levels
from ..errors import DataError
from ..families.base import Stream, StreamInput, whole_tokens
from ..families.family import Family
from ..families.names import AUDIO, LATENTS, MASK, REFERENCE, VIDEO
from ..families.other_trainers import TRAINED_FAMILIES, streams_as_in
from ..families.registry import family_named
from ..geometry import VideoSize
from ..storage.paths import as_path
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

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        return open_dataset(config)

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
        return StreamStep(seen, noise - clean, counted=~given, weight=weight, measure=self._measure)


def open_dataset(config: TrainingConfig, references: Set[str] = frozenset()) -> TrainingDataset:
    """Opens the data set with references and masks, where they are wanted, with its held-out clips and its prior.

    Args:
        references: streams whose references are wanted.

    Raises:
        DataError: it lacks something, or no clip is longer than what is to be given of it.
        ConfigurationError: with `data.held_out_clips` nothing would be left to train on.
    """
    dataset = _opened(config, as_path(config.data.preprocessed_data_root), references)
    if count := config.data.held_out_clips:
        dataset = dataset.holding_out(held_out(dataset.items, count))
    if config.data.prior_data_root:
        prior = _opened(config, as_path(config.data.prior_data_root), references)
        if prior.index.family != dataset.index.family:
            raise DataError(
                f"data.prior_data_root: {prior.root} is for {prior.index.family}, and data.preprocessed_data_root for "
                f"{dataset.index.family}; preprocess both for one model"
            )
        dataset.prior = prior
    return dataset


def _opened(config: TrainingConfig, root: Path, references: Set[str]) -> TrainingDataset:
    wanted = config.conditioning
    sound_roles = {REFERENCE} if AUDIO in references else set()
    if wanted.audio_mask_conditioning_p > 0:
        sound_roles.add(MASK)
    dataset = TrainingDataset(
        root,
        wanted.reference_latents_dir if references - {AUDIO} else None,
        wanted.mask_folder,
        wanted.caption_dropout_p,
        streams=wanted.seen_streams,
        sound_roles=sound_roles,
    )
    family = family_named(dataset.index.family)
    compat = config.flow_matching.compat
    if compat and family.name != TRAINED_FAMILIES[compat]:
        raise DataError(
            f"flow_matching.compat {compat}: that trainer trains {TRAINED_FAMILIES[compat]} alone, and "
            f"{root} is for {family.name}; leave it out"
        )
    grid = family.grid
    longest = max(grid.latent(VideoSize.parse(group)).frames for group in dataset.groups)
    found = wanted.whole_clip_problems(longest, str(root))
    if AUDIO in family.streams:
        sounds = [_sounds(item, family) for item in dataset.items if AUDIO in item.streams]
        found += wanted.whole_sound_problems(max(sounds, default=0), str(root))
    if found:
        raise DataError("; ".join(found))
    return dataset


def _sounds(item: Example, family: Family) -> int:
    """Latents in time of an example's sound."""
    return family.streams[AUDIO].latent_shape(VideoSize.parse(item.size), item.fps)[0]
