import torch

from ..config import TrainingConfig
from ..data.dataset import Batch
from ..flow.noise_levels import draw_noise_levels
from ..flow.tokens import latent_size, positions, to_tokens
from .base import StepInputs


class StandardStrategy:
    """Text to video, with a share of the samples given their first frame clean."""

    def __init__(self, config: TrainingConfig, causal_positions: bool):
        self.flow_matching = config.flow_matching
        self.first_frame_p = config.conditioning.first_frame_conditioning_p
        self.causal_positions = causal_positions

    @staticmethod
    def reference_folder(config: TrainingConfig) -> str | None:
        return None

    def prepare(self, batch: Batch, generator: torch.Generator) -> StepInputs:
        clean = to_tokens(batch.latents.float())
        size = latent_size(batch.latents)
        levels = draw_noise_levels(self.flow_matching, len(clean), size.tokens, generator)
        noise = torch.randn(clean.shape, generator=generator)
        given = torch.zeros(clean.shape[:2], dtype=torch.bool)
        keeps_first = torch.rand(len(clean), generator=generator) < self.first_frame_p
        if size.frames > 1:
            given[:, : size.tokens_per_frame] = keeps_first[:, None]
        per_token = torch.where(given, 0.0, levels[:, None])
        mix = per_token[..., None]
        return StepInputs(
            tokens=(1 - mix) * clean + mix * noise,
            timesteps=per_token * 1000,
            positions=positions(size, batch.fps, self.causal_positions),
            velocity=noise - clean,
            counted=~given,
        )
