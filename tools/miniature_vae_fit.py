"""Fits the miniature's autoencoder: a PCA of varied clips, level by level, then a regression.

Shapes: B clips, C channels, F frames, H rows, W columns.
"""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltxv_train_core.families.ltxv.miniature import clips
from ltxv_train_core.families.ltxv.miniature.vae import (
    COMPONENTS,
    LEVELS,
    PATCH_PX,
    Level,
    VaeFactors,
)
from ltxv_train_core.families.ltxv.video_format import LATENT_CHANNELS

_SMALLEST_SCALE = 1e-4
_LATENT_NOISE = 0.05
_RIDGE = 0.01


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 [F, H, W, 3] -> float32 [3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def varied_clip(rng: random.Random) -> np.ndarray:
    """A clip of the kind that LoRAs may ask for: other colours, directions and textures."""
    spec = clips.random_spec(rng)
    angle = rng.uniform(0, 2 * math.pi)
    direction = (math.cos(angle), math.sin(angle)) if rng.random() < 0.25 else None
    distance = clips.shape_distance(spec.shape, *clips.offsets(spec, direction), spec.radius)
    distance_px = distance[..., None] * clips.SIZE.height
    foreground = np.array(clips.COLORS[spec.color], np.float32)
    background = np.array(clips.BACKGROUNDS[spec.background], np.float32)
    if rng.random() < 0.35:
        foreground, background = (
            np.array([rng.uniform(0, 255) for _ in range(3)], np.float32) for _ in range(2)
        )
    mask = clips.coverage(distance)
    x, y = (axis[..., None] for axis in clips.pixel_grid())
    texture = rng.choice(["none"] * 4 + ["bars", "checks", "gradient", "lines", "outline", "glow"])
    if texture in ("bars", "checks"):
        cells = np.floor(x * 6) + (np.floor(y * 6) if texture == "checks" else 0)
        background = background + 0.7 * (255 - background) * (cells % 2)
    elif texture == "gradient":
        background = background * (1 - y) + (255 - background) * y
    elif texture == "lines":
        foreground = foreground * (1 - 0.85 * (np.floor(y * 12) % 2))
    elif texture == "outline":
        foreground, background = np.full(3, 255, np.float32), np.zeros(3, np.float32)
        mask = np.clip(1.5 - 0.75 * np.abs(distance_px[..., 0]), 0, 1)
    elif texture == "glow":
        glow = 0.8 * np.exp(-np.maximum(distance_px, 0) / 8)
        background = background * (1 - glow) + foreground * glow
    return clips.blend(foreground, background, mask)


def patches(frames: Tensor) -> Tensor:
    """[B, 3, F, H, W] -> [B, 48, F, H/4, W/4], in the order of the diffusers encoder."""
    x = frames.unflatten(4, (-1, PATCH_PX)).unflatten(3, (-1, PATCH_PX))
    return x.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def cubes(x: Tensor) -> Tensor:
    """[B, C, F, H, W] -> [B, 8 C, (F+1)/2, H/2, W/2]; the first frame is doubled (causal)."""
    x = torch.cat([x[:, :, :1], x], dim=2)
    x = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def project(level: Level, blocks: Tensor) -> Tensor:
    centred = blocks - level.mean.view(1, -1, 1, 1, 1)
    return torch.einsum("oc,bcfhw->bofhw", level.analysis, centred)


def encode(levels: tuple[Level, ...], frames: Tensor) -> Tensor:
    """What the encoder computes, without its zeros: [B, 3, F, H, W] -> [B, 63, f, h, w]."""
    x = patches(frames)
    for level in levels:
        x = project(level, cubes(x))
    return x


def principal_components(blocks: Tensor, whiten: bool) -> Level:
    """`whiten` scales components to a spread of 1; otherwise averaging keeps the signal's size."""
    rows = blocks.movedim(1, -1).flatten(0, -2).double()
    mean = rows.mean(0)
    centred = rows - mean
    variances, basis = torch.linalg.eigh(centred.T @ centred / len(rows))
    variances = variances.flip(0)[:COMPONENTS].clamp(min=0)
    basis = basis.flip(1)[:, :COMPONENTS]
    basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
    scale = variances.sqrt() if whiten else torch.full_like(variances, math.sqrt(8.0))
    scale = scale.clamp(min=scale.max() * _SMALLEST_SCALE)
    return Level(basis.float().contiguous(), scale.float(), mean.float())


def neighbourhoods(latents: Tensor) -> Tensor:
    """[B, C, f, h, w] -> rows [B f h w, 27 C], padded as the decoder's convolutions pad."""
    x = torch.cat([latents[:, :, :1], latents, latents[:, :, -1:]], dim=2)
    x = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
    return x.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(0, 3)


def fit_context(levels: tuple[Level, ...], clip_count: int, seed: int) -> Tensor:
    """Ridge regression of what the last projection lost on the latents around, for `VaeFactors`."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    *shallow, deepest = levels
    inputs, outputs = 27 * COMPONENTS, 8 * COMPONENTS
    gram = torch.zeros(inputs, inputs, dtype=torch.float64)
    cross = torch.zeros(inputs, outputs, dtype=torch.float64)
    rows = 0
    for _ in range(0, clip_count, 16):
        blocks = cubes(encode(tuple(shallow), _mixed_clips(16, rng)))
        latents = project(deepest, blocks)
        restored = torch.einsum("oc,bcfhw->bofhw", deepest.synthesis, latents)
        lost = blocks - restored - deepest.mean.view(1, -1, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=generator) * _LATENT_NOISE
        around = neighbourhoods(latents + noise)
        gram += (around.T @ around).double()
        cross += (around.T @ lost.movedim(1, -1).flatten(0, -2)).double()
        rows += len(around)
    gram.diagonal().add_(_RIDGE * rows)
    weights = torch.linalg.solve(gram, cross).T
    return weights.unflatten(1, (COMPONENTS, 3, 3, 3)).half()


def _mixed_clips(count: int, rng: random.Random) -> Tensor:
    """Varied and plain clips, [count, 3, F, H, W]."""
    frames = [
        varied_clip(rng) if rng.random() < 0.6 else clips.render(clips.random_spec(rng)).frames
        for _ in range(count)
    ]
    return torch.stack([to_tensor(f) for f in frames])


def fit(clip_count: int, context_clip_count: int, seed: int) -> VaeFactors:
    """Everything from the seed: projections, the decoder's context, statistics of plain clips."""
    rng = random.Random(seed)
    frames = torch.stack([to_tensor(varied_clip(rng)) for _ in range(clip_count)])
    levels: tuple[Level, ...] = ()
    x = patches(frames)
    for index in range(LEVELS):
        blocks = cubes(x)
        level = principal_components(blocks, whiten=index == LEVELS - 1)
        x = project(level, blocks)
        levels += (level,)
    plain = [to_tensor(clips.render(clips.random_spec(rng)).frames) for _ in range(clip_count)]
    latents = encode(levels, torch.stack(plain))
    mean, std = torch.zeros(LATENT_CHANNELS), torch.ones(LATENT_CHANNELS)
    mean[:COMPONENTS] = latents.mean((0, 2, 3, 4))
    std[:COMPONENTS] = _latents_std(latents.std((0, 2, 3, 4)), levels[-1].scale)
    return VaeFactors(levels, fit_context(levels, context_clip_count, seed + 2), mean, std)


def _latents_std(spread: Tensor, scale: Tensor) -> Tensor:
    """Leaves each channel a normalised spread of the square root of its share in the pixels.

    Plain whitening would make the transformer spend itself on channels that nobody can see.
    """
    amplitude = spread * scale
    wanted = (amplitude / amplitude.max()).clamp(min=1e-3).sqrt()
    return spread * wanted.square().mean().sqrt() / wanted
