import torch

from ..config import TrainingConfig
from ..datasets.dataset import Batch, TrainingDataset
from ..diffusion.timesteps import draw_noise_levels
from ..diffusion.tokens import latent_size, positions, to_tokens
from ..errors import DataError
from ..geometry import VideoSize
from ..storage.paths import as_path
from .base import StepInputs
from .conditions import draw_given


class StandardStrategy:
    """Text to video, with a part of some samples given clean: a first frame, a beginning, ..."""

    def __init__(self, config: TrainingConfig, causal_positions: bool):
        self.flow_matching = config.flow_matching
        self.conditioning = config.conditioning
        self.causal_positions = causal_positions

    @staticmethod
    def open_data(config: TrainingConfig) -> TrainingDataset:
        return open_dataset(config)

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        clean = to_tokens(batch.latents.float())
        size = latent_size(batch.latents)
        levels = draw_noise_levels(self.flow_matching, len(clean), size.tokens, generator)
        noise = torch.randn(clean.shape, generator=generator)
        given = draw_given(batch, self.conditioning, generator).flatten(1)
        per_token = torch.where(given, 0.0, levels[:, None])
        mix = per_token[..., None]
        return StepInputs(
            tokens=(1 - mix) * clean + mix * noise,
            timesteps=per_token * 1000,
            positions=positions(size, batch.fps, self.causal_positions),
            velocity=noise - clean,
            counted=~given,
        )


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
