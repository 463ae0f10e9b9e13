"""From a log-mel spectrogram to sound without a trained vocoder.

Magnitudes are found that have the given mel and no negative value; Griffin and Lim's iteration
finds phases for them.

Shapes: B batch, T mel frames, M mel bins, F = 513 frequencies, S = 160 (T - 1) samples.
"""

import torch
from torch import Tensor, nn

from ...media.mel_scale import WINDOW
from .formats import HOP_SAMPLES, MEL_RATE
from .mel import analysis_window, filter_bank

_INVERSION_ROUNDS = 60
_PHASE_ROUNDS = 32
# The faster iteration of Perraudin, Balazs and Sondergaard (2013).
_MOMENTUM = 0.9


class GriffinLim(nn.Module):
    """A vocoder without weights, in the place of `LTX2Vocoder`; the same mel gives the same sound."""

    sample_rate = MEL_RATE

    def forward(self, mel: Tensor) -> Tensor:
        """[B, 2, T, M] -> [B, 2, S]."""
        sound = _with_phases(_magnitudes(mel.float().flatten(0, 1)))
        result: Tensor = sound.unflatten(0, mel.shape[:2])
        return result


def _magnitudes(mel: Tensor) -> Tensor:
    """Log mel [B, T, M] to magnitudes [B, F, T], by multiplicative updates."""
    bank = filter_bank().to(mel.device)
    target = mel.exp().transpose(1, 2)
    wanted = bank.T @ target
    found = wanted + 1e-6
    for _ in range(_INVERSION_ROUNDS):
        found = found * wanted / (bank.T @ (bank @ found) + 1e-9)
    return found * (bank.sum(0) > 0)[:, None]


def _with_phases(magnitudes: Tensor) -> Tensor:
    """[B, F, T] -> [B, S]."""
    window = analysis_window().to(magnitudes.device)

    def to_sound(phase: Tensor) -> Tensor:
        return torch.istft(magnitudes * phase, WINDOW, HOP_SAMPLES, window=window)

    generator = torch.Generator().manual_seed(0)
    turns = torch.rand(magnitudes.shape, generator=generator).to(magnitudes.device)
    phase = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    before = torch.zeros_like(phase)
    for _ in range(_PHASE_ROUNDS):
        after = torch.stft(to_sound(phase), WINDOW, HOP_SAMPLES, window=window, return_complex=True)
        phase = after + _MOMENTUM * (after - before)
        phase = phase / phase.abs().clamp(min=1e-8)
        before = after
    return to_sound(phase)
