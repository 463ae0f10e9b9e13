"""Which number format the VAE and the text encoder have on a device."""

import pytest
import torch

from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.models.precision import text_encoder_dtype, vae_dtype
from ltxv_train_core.preprocessing import model_encoders


@pytest.fixture
def gpu(monkeypatch):
    """Makes CUDA devices be of a generation, or of another maker."""

    def set_gpu(major, hip=None):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
        monkeypatch.setattr(torch.version, "hip", hip)

    return set_gpu


@pytest.mark.parametrize(
    ("kind", "major", "hip", "dtype"),
    [
        ("cuda", 7, None, torch.float32),
        ("cuda", 8, None, torch.bfloat16),
        ("cuda", 12, None, torch.bfloat16),
        ("cuda", 7, "6.2", torch.bfloat16),
        ("mps", 0, None, torch.float32),
        ("xpu", 0, None, torch.bfloat16),
        ("cpu", 0, None, torch.float32),
    ],
)
def test_a_gpu_without_bfloat16_has_the_vae_in_float32(gpu, kind, major, hip, dtype):
    gpu(major, hip)
    assert vae_dtype(torch.device(kind)) == dtype
    text = torch.float32 if kind == "cpu" else torch.bfloat16
    assert text_encoder_dtype(torch.device(kind)) == text


@pytest.mark.parametrize(
    ("kind", "major", "dtypes"),
    [
        ("cuda", 7, ["float32", "bfloat16"]),
        ("cuda", 8, ["bfloat16", "bfloat16"]),
        ("mps", 0, ["float32", "bfloat16"]),
        ("cpu", 0, ["float32", "float32"]),
    ],
)
def test_preprocessing_with_auto_asks_the_device(gpu, monkeypatch, tmp_path, kind, major, dtypes):
    gpu(major)
    monkeypatch.setattr(model_encoders, "default_device", lambda: torch.device(kind))
    settings = PreprocessSettings(tmp_path, "LTXV_MINIATURE", "64x64x9")
    identities = model_encoders.find_encoders(settings, {}).identities.values()
    assert [identity.split()[-1] for identity in identities] == [
        f"torch.{dtype}" for dtype in dtypes
    ]
