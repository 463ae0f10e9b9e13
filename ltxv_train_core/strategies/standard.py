from collections.abc import Mapping

import torch

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset
from ..diffusion.timesteps import draw_noise_levels
from ..errors import DataError
from ..families.base import Stream, StreamInput
from ..geometry import LatentSize, VideoSize
from ..storage.paths import as_path
from .base import StepInputs, StreamStep
from .conditions import draw_given


class StandardStrategy:
    """Text to video, with a part of some samples given clean: a first frame, a beginning, ..."""

    def __init__(self, config: TrainingConfig, streams: Mapping[str, Stream]):
        self.flow_matching = config.flow_matching
        self.conditioning = config.conditioning
        self.streams = streams

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        return open_dataset(config)

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        return StepInputs(
            {
                name: self._step(name, batch, generator)
                for name in self.streams
                if name in batch.streams
            }
        )

    def _step(self, name: str, batch: Batch, generator: torch.Generator) -> StreamStep:
        stream, tensors = self.streams[name], batch.streams[name]
        latents = tensors.latents.float()
        clean, size = stream.to_tokens(latents), LatentSize(*latents.shape[2:])
        levels = draw_noise_levels(
            self.flow_matching,
            len(clean),
            stream.shift(size.tokens),
            stream.shift_limit,
            generator,
        )
        noise = torch.randn(clean.shape, generator=generator)
        given = draw_given(tensors, self.conditioning, generator).flatten(1)
        per_token = torch.where(given, 0.0, levels[:, None])
        mix = per_token[..., None]
        seen = StreamInput(
            tokens=(1 - mix) * clean + mix * noise,
            levels=per_token,
            positions=stream.positions(size, batch.fps),
        )
        return StreamStep(seen, velocity=noise - clean, counted=~given)


def open_dataset(config: TrainingConfig, reference_dir: str | None = None) -> TrainingDataset:
    """Opens the data set with references and masks, where they are wanted.

    Raises:
        DataError: it lacks something, or no clip is longer than what is to be given of it.
    """
    root, wanted = as_path(config.data.preprocessed_data_root), config.conditioning
    dataset = TrainingDataset(root, reference_dir, wanted.mask_folder, wanted.caption_dropout_p)
    longest = max(VideoSize.parse(group).latent.frames for group in dataset.groups)
    for name in ("prefix", "suffix"):
        frames = getattr(wanted, f"{name}_frames")
        if getattr(wanted, f"{name}_conditioning_p") > 0 and frames >= longest:
            raise DataError(
                f"conditioning.{name}_frames: {frames} of a clip would be given, and the longest "
                f"clip of {root} has {longest} latent frames: give fewer than that"
            )
    return dataset
