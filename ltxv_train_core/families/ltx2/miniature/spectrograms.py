import numpy as np
from torch import Tensor

from ...model import Model
from ..audio_vae import LTX2AudioVae


def spectrograms(latents: Tensor, model: Model) -> list[np.ndarray]:
    """Log mel [2, frames, 64] of each sound [B, 8, T, 16], as the miniature's audio VAE decodes it."""
    vae = model.load_audio_vae()
    assert isinstance(vae, LTX2AudioVae)
    return [vae.decode_mel(one[None])[0].numpy() for one in latents]
