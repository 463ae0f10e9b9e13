"""Samples of the prompts that no clip of a demo data set shows."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..diffusion.sampler import SampleRequest, SamplerSettings, sample
from ..events import Reporter, StopSignal
from ..families.ltxv.miniature.clips import SIZE
from ..families.open import Model
from ..lora.file import add_trained_lora
from . import recipe


class Evaluation:
    """Prompts (and references), encoded once."""

    def __init__(
        self,
        source: Model,
        prompts: Sequence[str],
        fps: float,
        seed: int,
        report: Reporter,
        stop: StopSignal,
        references: Sequence[Mapping[str, Tensor]] | None = None,
    ):
        """
        Args:
            prompts: without the trigger word.
            references: normalised latents of references, by stream, one for each prompt.
        """
        self.source, self.fps, self.report, self.stop = source, fps, report, stop
        whole = [f"{recipe.TRIGGER} {prompt}" for prompt in prompts]
        *texts, negative = source.load_text_encoder().encode([*whole, ""])
        given = references or [{}] * len(texts)
        self.requests = [
            SampleRequest(text, negative, seed=seed * 1000 + number, references=reference)
            for number, (text, reference) in enumerate(zip(texts, given, strict=True))
        ]

    def without_references(self) -> "Evaluation":
        """The same prompts and noise with no references."""
        other = copy(self)
        other.requests = [replace(request, references={}) for request in self.requests]
        return other

    def sample(self, lora_file: Path | None) -> dict[str, Tensor]:
        """Normalised latents [prompts, C, ...] of each stream."""
        transformer = self.source.load_transformer(torch.float32)
        if lora_file is not None:
            add_trained_lora(transformer, lora_file)
        settings = SamplerSettings(
            shapes=self.source.family.latent_shapes(SIZE, self.fps),
            steps=recipe.SAMPLING_STEPS,
            guidance_scale=recipe.GUIDANCE_SCALE,
            fps=self.fps,
            batch_size=len(self.requests),
        )
        denoiser = self.source.transformer.denoiser(transformer)
        return sample(denoiser, self.requests, settings, self.report, self.stop)
