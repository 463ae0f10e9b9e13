"""Sound to the log-mel spectrogram that LTX-2.x's audio VAE reads.

Shapes: B batch, S samples, T mel frames (10 ms), M = 64 mel bins.
"""

from functools import cache

import torch
from torch import Tensor

from ...media.mel_scale import BINS, SMALLEST_MAGNITUDE, WINDOW, mel_filters
from .formats import HOP_SAMPLES


@cache
def filter_bank() -> Tensor:
    """[M, WINDOW / 2 + 1]."""
    return torch.from_numpy(mel_filters())


@cache
def analysis_window() -> Tensor:
    return torch.hann_window(WINDOW)


def log_mel(waveform: Tensor) -> Tensor:
    """[..., S] at 16 kHz -> [..., S // 160 + 1, M], float32 on the waveform's device.

    Magnitudes, with frames centred on multiples of the hop and the ends mirrored.
    """
    flat = waveform.float().reshape(-1, waveform.shape[-1])
    spectrum = torch.stft(
        flat,
        WINDOW,
        HOP_SAMPLES,
        window=analysis_window().to(flat.device),
        pad_mode="reflect",
        return_complex=True,
    )
    mel = (filter_bank().to(flat.device) @ spectrum.abs()).clamp(min=SMALLEST_MAGNITUDE).log()
    return mel.transpose(1, 2).reshape(*waveform.shape[:-1], -1, BINS)
