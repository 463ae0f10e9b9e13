"""Scores the shipped miniature against what tests and demos expect of it."""

from collections.abc import Sequence

import numpy as np
import torch

from ltxv_train_core.diffusion.sampler import SampleRequest, SamplerSettings, sample
from ltxv_train_core.families.ltxv.miniature import clips, scores
from ltxv_train_core.families.ltxv.miniature.datasets import evaluation_items
from ltxv_train_core.families.names import VIDEO
from ltxv_train_core.families.open import MINIATURE, Model, open_model
from ltxv_train_core.media.tensors import frames_to_tensor, tensor_to_frames

SMALLEST_FIDELITY = {"background": 0.9, "colour": 0.9, "motion": 0.7}
SMALLEST_PSNR_DB = 23.0
SAMPLING_STEPS = 20
GUIDANCE_SCALE = 3.0


def check(seeds: int) -> bool:
    """Prints the scores of every seed; returns whether all reach their thresholds."""
    source = open_model(MINIATURE)
    passed = True
    for seed in range(seeds):
        items = evaluation_items("plain", seed)
        specs = [item.spec for item in items]
        decibels = codec_psnr(source, specs)
        found = scores.fidelity(sample_videos(source, [i.prompt for i in items], seed), specs)
        passed &= decibels >= SMALLEST_PSNR_DB
        passed &= all(found[name] >= least for name, least in SMALLEST_FIDELITY.items())
        shares = ", ".join(f"{name} {share:.2f}" for name, share in found.items())
        print(f"seed {seed}: {shares}, autoencoder {decibels:.2f} dB", flush=True)
    print("all thresholds reached" if passed else f"below {SMALLEST_FIDELITY} or 23 dB")
    return passed


@torch.no_grad()
def sample_videos(source: Model, prompts: Sequence[str], seed: int) -> list[np.ndarray]:
    """One video uint8 [F, H, W, 3] per prompt."""
    *texts, negative = source.load_text_encoder().encode([*prompts, ""])
    requests = [
        SampleRequest(text, negative, seed=1000 * seed + number)
        for number, text in enumerate(texts)
    ]
    settings = SamplerSettings(
        source.family.latent_shapes(clips.SIZE, clips.FPS),
        SAMPLING_STEPS,
        GUIDANCE_SCALE,
        clips.FPS,
        batch_size=len(requests),
    )
    latents = sample(
        source.transformer.denoiser(source.load_transformer(torch.float32)), requests, settings
    )
    codec = source.load_vae()
    return [tensor_to_frames(codec.decode(one[None]))[0] for one in latents[VIDEO]]


def codec_psnr(source: Model, specs: Sequence[clips.ClipSpec]) -> float:
    """Mean peak signal-to-noise ratio of clips that went through the autoencoder, in dB."""
    codec = source.load_vae()
    ratios = []
    for spec in specs:
        frames = frames_to_tensor(clips.render(spec).frames)
        error = (codec.decode(codec.encode(frames)) - frames).square().mean()
        ratios.append(10 * np.log10(4 / float(error)))
    return float(np.mean(ratios))
