"""The spectrogram that LTX-2.x's audio VAE reads, and the frequencies of its bins. No torch."""

import numpy as np
from numpy.typing import NDArray

RATE, HOP = 16000, 160
# Window, bins and smallest magnitude of the published audio VAE (its config).
WINDOW = 1024
BINS = 64
SMALLEST_MAGNITUDE = 1e-5

# The mel scale of Slaney (Auditory Toolbox, 1998), as torchaudio's and librosa's "slaney".
_LINEAR_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def filter_edges() -> NDArray[np.float64]:
    """Corners of the triangular filters in Hz [BINS + 2], evenly spaced on Slaney's mel scale.

    The scale is linear up to 1 kHz and logarithmic above.
    """
    knee = _KNEE_HZ / _LINEAR_HZ_PER_MEL
    top = knee + np.log(RATE / 2 / _KNEE_HZ) / _LOG_STEP
    mel = np.linspace(0, top, BINS + 2)
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee))
    return np.where(mel < knee, mel * _LINEAR_HZ_PER_MEL, above)


CENTERS_HZ = filter_edges()[1:-1]


def mel_filters() -> NDArray[np.float32]:
    """Triangles of unit area over the bins of the Fourier transform, [BINS, WINDOW / 2 + 1]."""
    hz = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    edges = filter_edges()[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (high - low)).astype(np.float32)
