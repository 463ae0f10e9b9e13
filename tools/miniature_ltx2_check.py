"""Scores the shipped second miniature: does what is seen and heard follow the prompt, and each other?"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltxv_train_core.diffusion.sampler import (
    ConditioningLatents,
    SampleRequest,
    SamplerSettings,
    sample,
)
from ltxv_train_core.families.ltx2.miniature import scenes, scores, shipped, weights
from ltxv_train_core.families.ltx2.miniature.datasets import EvalItem, evaluation_items
from ltxv_train_core.families.ltx2.miniature.sounds import render_sound
from ltxv_train_core.families.ltxv.miniature import clips
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.families.open import Model, open_model
from ltxv_train_core.media.tensors import frames_to_tensor, tensor_to_frames

from .miniature_audio_fit import mel_of

SAMPLING_STEPS = 18
GUIDANCE_SCALE = 3.0
SMALLEST_SEEN = {"background": 0.9, "colour": 0.9, "motion": 0.8}
SMALLEST_HEARD = {"colour": 0.9, "motion": 0.9, "timbre": 0.7, "level": 0.8}
SMALLEST_OF_SOUND = {"colour": 0.8}
SMALLEST_OF_VIDEO = {"colour": 0.7}


@dataclass(frozen=True)
class Sampled:
    """One video uint8 [F, H, W, 3] and one log mel [2, T, 64] per prompt."""

    videos: list[np.ndarray]
    spectrograms: list[np.ndarray]


def check(seeds: int) -> bool:
    """Prints the scores of every seed; returns whether all reach their thresholds."""
    source = open_model(shipped.MINIATURE)
    passed = True
    for seed in range(seeds):
        items = evaluation_items("plain", seed, held_out=True)
        for name, found, least in _scores(source, items, seed):
            passed &= all(found[key] >= value for key, value in least.items())
            shares = ", ".join(f"{key} {share:.2f}" for key, share in found.items())
            print(f"seed {seed}: {name}: {shares}", flush=True)
    print("all thresholds reached" if passed else "some are below their thresholds")
    return passed


def _scores(
    source: Model, items: Sequence[EvalItem], seed: int
) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """Names, shares and the least that is expected of them."""
    wanted = [item.scene for item in items]
    short = [
        scenes.caption(s, with_motion=False, with_color=False, with_sound=False) for s in wanted
    ]
    both = sample_clips(source, [item.prompt for item in items], seed)
    of_sound = sample_clips(source, short, seed, {AUDIO: sound_latents(wanted, seed)})
    of_video = sample_clips(source, short, seed, {VIDEO: video_latents(source, wanted)})
    return [
        ("seen", scores.seen(both.videos, wanted), SMALLEST_SEEN),
        ("heard", scores.heard(both.spectrograms, wanted), SMALLEST_HEARD),
        ("seen = heard", scores.agreement(both.videos, both.spectrograms), {}),
        ("seen of a sound", scores.seen(of_sound.videos, wanted), SMALLEST_OF_SOUND),
        ("heard of a video", scores.heard(of_video.spectrograms, wanted), SMALLEST_OF_VIDEO),
    ]


def sound_latents(wanted: Sequence[scenes.Scene], seed: int) -> Tensor:
    """[B, 8, T, 16] of the scenes' true sounds."""
    rng = random.Random(seed)
    return weights.load_audio_factors().encode(mel_of([render_sound(s, rng) for s in wanted]))


@torch.no_grad()
def video_latents(source: Model, wanted: Sequence[scenes.Scene]) -> Tensor:
    """[B, 128, 3, 3, 3] of the scenes' true pictures."""
    vae = source.load_vae()
    frames = [frames_to_tensor(clips.render(scene.clip).frames) for scene in wanted]
    return torch.cat([vae.encode(each) for each in frames])


@torch.no_grad()
def sample_clips(
    source: Model, prompts: Sequence[str], seed: int, given: Mapping[str, Tensor] | None = None
) -> Sampled:
    """Samples with what is given of a stream [B, C, ...] as it is."""
    *texts, negative = source.load_text_encoder().encode([*prompts, ""])
    requests = [
        SampleRequest(
            text,
            negative,
            seed=1000 * seed + number,
            given={name: _whole(latents[number]) for name, latents in (given or {}).items()},
        )
        for number, text in enumerate(texts)
    ]
    settings = SamplerSettings(
        source.family.latent_shapes(scenes.SIZE, scenes.FPS),
        SAMPLING_STEPS,
        GUIDANCE_SCALE,
        scenes.FPS,
        batch_size=len(requests),
    )
    denoiser = source.transformer.denoiser(source.load_transformer(torch.float32))
    latents = sample(denoiser, requests, settings)
    vae = source.load_vae()
    return Sampled(
        [tensor_to_frames(vae.decode(one[None]))[0] for one in latents[VIDEO]],
        list(weights.load_audio_factors().decode(latents[AUDIO]).numpy()),
    )


def _whole(latents: Tensor) -> ConditioningLatents:
    """All of a stream's latents [C, ...]."""
    return ConditioningLatents(latents, torch.ones(latents.shape[1:], dtype=torch.bool))
