"""Fits the second miniature's audio VAE: a PCA for the encoder, a training for the decoder.

Both see more sounds than the base does, of the kind that LoRAs may ask for.

Shapes: B sounds, S samples, T latents, 4T - 3 mel frames.
"""

import math
import random
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltxv_train_core.families.ltx2.audio_vae import mel_count
from ltxv_train_core.families.ltx2.formats import AUDIO_BINS, AUDIO_CHANNELS, MEL_RATE, latent_count
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature import scenes, sounds
from ltxv_train_core.families.ltx2.miniature.audio_vae import (
    AudioFactors,
    mel_blocks,
    new_audio_vae,
)

LATENTS = latent_count(sounds.SAMPLES)
LEARNING_RATE, WARMUP_STEPS, FINAL_SHARE = 2e-3, 50, 0.01
BATCH, CROP_LATENTS, CONTEXT_FRAMES = 8, 7, 9
LATENT_NOISE = 0.05
BEEP_SHARE = 0.2
REPORT_STEPS = 200
_SMALLEST_SHARE = 1e-3
_HIGHEST_HZ = 7000.0


def mel_of(drawn: list[NDArray[np.float32]]) -> Tensor:
    """Log mel [B, 2, 4T - 3, 64] of sounds [2, S]."""
    return log_mel(torch.from_numpy(np.stack(drawn)))[:, :, : mel_count(LATENTS)]


def plain_sounds(
    count: int, rng: random.Random, beep_share: float = 0
) -> list[NDArray[np.float32]]:
    return [
        sounds.render_sound(scenes.random_scene(rng), rng, rng.random() < beep_share)
        for _ in range(count)
    ]


def varied_sound(rng: random.Random) -> NDArray[np.float32]:
    """One or two tones [2, S] that glide, tremble, come and go or ring out, and noise."""
    seconds = np.arange(sounds.SAMPLES) / MEL_RATE
    along = seconds / scenes.SECONDS - 0.5
    stereo = np.zeros((2, sounds.SAMPLES))
    for _ in range(rng.randint(1, 2)):
        lowest = 110 * 2 ** rng.uniform(0, 5.6)
        glide = rng.choice([0, 0, rng.uniform(-1, 1)]) * along
        vibrato = rng.choice([0, 0, 0.03]) * np.sin(2 * math.pi * rng.uniform(4, 8) * seconds)
        frequency = np.minimum(lowest * 2 ** (glide + vibrato), _HIGHEST_HZ)
        mono = sounds.tone(frequency, rng.choice(scenes.TIMBRES), rng) * _envelope(seconds, rng)
        amplitude = 10 ** rng.uniform(-1.7, -0.5)
        stereo += sounds.panned(
            sounds.faded(amplitude * mono), rng.uniform(0, 1) + rng.uniform(-1, 1) * along
        )
    noise = sounds.NOISE if rng.random() < 0.8 else 10 ** rng.uniform(-3, -1.3)
    return sounds.with_noise(stereo, noise, rng)


def _envelope(seconds: sounds.Samples, rng: random.Random) -> sounds.Samples | float:
    kind = rng.choice(["steady", "steady", "tremolo", "gate", "decay"])
    if kind == "tremolo":
        tremolo: sounds.Samples = 0.55 + 0.45 * np.sin(2 * math.pi * rng.uniform(3, 10) * seconds)
        return tremolo
    if kind == "gate":
        period = rng.uniform(0.12, 0.5)
        inside = (seconds + rng.uniform(0, 1)) % period < period * rng.uniform(0.3, 0.7)
        return inside.astype(np.float64)
    if kind == "decay":
        decay: sounds.Samples = np.exp(-((seconds + rng.uniform(0, 0.4)) % 0.4) * 12)
        return decay
    return 1.0


def fit(count: int, seed: int) -> AudioFactors:
    """Principal components of plain and varied sounds, and statistics of the plain ones."""
    rng = random.Random(seed)
    plain = mel_of(plain_sounds(count, rng))
    varied = mel_of([varied_sound(rng) for _ in range(count)])
    level = plain.mean()
    rows = mel_blocks(torch.cat([plain, varied]) - level).flatten(0, 2).double()
    variances, basis = torch.linalg.eigh(rows.T @ rows / len(rows))
    basis = basis.flip(1)[:, :AUDIO_CHANNELS]
    basis = (basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()).float()
    kept = variances.flip(0)[:AUDIO_CHANNELS].sum() / variances.sum()
    print(
        f"audio encoder: {kept:.4f} of the energy in {AUDIO_CHANNELS} of {len(variances)} components"
    )
    latents = mel_blocks(plain - level) @ basis
    mean = latents.mean((0, 1))
    spread = (latents - mean).std((0, 1, 2))
    # As for the video: a normalised spread of the square root of the share in the sound.
    wanted = (spread / spread.max()).clamp(min=_SMALLEST_SHARE).sqrt()
    std = spread * wanted.square().mean().sqrt() / wanted
    return AudioFactors(
        basis.contiguous(), level, mean.T.flatten(), std.repeat_interleave(AUDIO_BINS)
    )


def train_decoder(factors: AudioFactors, sound_count: int, steps: int, seed: int) -> nn.Module:
    """Trains the decoder from the encoder's latents to the log mel that they came from."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    half = sound_count // 2
    mel = mel_of([varied_sound(rng) for _ in range(half)] + plain_sounds(half, rng, BEEP_SHARE))
    std, mean = (
        s.view(AUDIO_CHANNELS, 1, AUDIO_BINS) for s in (factors.latents_std, factors.latents_mean)
    )
    latents = factors.encode(mel) * std + mean
    torch.manual_seed(seed)
    decoder: nn.Module = new_audio_vae().decoder.train()
    with torch.no_grad():
        decoder.conv_in.conv.weight.div_(latents.std() / 2)
        decoder.conv_out.conv.bias.fill_(float(factors.level))
    parameters = list(decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.0)
    started, history = time.monotonic(), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _decoder_rate(step, steps)
        loss = _decoder_loss(decoder, latents, mel, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append(loss.item())
        if (step + 1) % REPORT_STEPS == 0:
            mean_loss = np.mean(history[-REPORT_STEPS:])
            seconds = time.monotonic() - started
            print(
                f"audio decoder: step {step + 1} loss {mean_loss:.4f} {seconds:.0f} s", flush=True
            )
    return decoder


def _decoder_rate(step: int, steps: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return (
        LEARNING_RATE
        * min(1, (step + 1) / WARMUP_STEPS)
        * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)
    )


def _decoder_loss(
    decoder: nn.Module, latents: Tensor, mel: Tensor, generator: torch.Generator
) -> Tensor:
    """On crops of some sounds. Those that don't begin at the beginning begin with context that isn't
    judged."""
    chosen = torch.randint(len(latents), (BATCH,), generator=generator)
    start = int(torch.randint(latents.shape[2] - CROP_LATENTS + 1, (1,), generator=generator))
    seen = latents[chosen, :, start : start + CROP_LATENTS]
    seen = seen + LATENT_NOISE * torch.randn(seen.shape, generator=generator)
    wanted = mel[chosen, :, 4 * start : 4 * start + mel_count(CROP_LATENTS)]
    judged = 0 if start == 0 else CONTEXT_FRAMES
    error = (decoder(seen) - wanted)[:, :, judged:]
    return error.abs().mean() + 0.2 * error.square().mean()
