"""LTX-2.5's VAE file with the diffusion decoder: its encoder is read, and what would decode says so before it runs."""

from pathlib import Path

import pytest
import torch

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.errors import ConfigurationError, ModelError
from ltxv_train_core.families.names import VAE
from ltxv_train_core.families.open import open_model
from ltxv_train_core.preprocessing.model_encoders import find_encoders
from ltxv_train_core.training.preflight.samples import undecodable
from tests.helpers.ltx2_parts import write_whole

SAYS = (
    "its decoder is LTX-2.5's diffusion decoder, which isn't read; to decode, choose as vae_source"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("2.5") / "whole.safetensors", "2.5")


def config(file: Path, modalities: str = "joint", interval: int | None = 2) -> TrainingConfig:
    return build(
        TrainingConfig,
        {
            "model": {"model_source": str(file)},
            "data": {"preprocessed_data_root": "data"},
            "conditioning": {"modalities": modalities},
            "optimization": {"steps": 4},
            "validation": {"prompts": ["a circle"], "interval": interval},
        },
    )


def test_its_encoder_encodes_and_its_decoder_is_refused_by_name(file: Path) -> None:
    vae = open_model(str(file)).load_vae(torch.float32)
    latents = vae.encode(torch.rand(1, 3, 9, 64, 64) * 2 - 1)
    assert latents.shape == (1, 128, 2, 2, 2)
    with pytest.raises(
        ModelError, match=r"whole.safetensors'?: its decoder is LTX-2.5's diffusion"
    ):
        vae.decode(latents)


def test_samples_are_refused_before_a_run_begins(file: Path) -> None:
    model = open_model(str(file))
    (problem,) = undecodable(config(file), model)
    assert problem.startswith("validation.prompts: samples need a decoder. ")
    assert SAYS in problem
    assert undecodable(config(file, modalities="audio"), model) == []
    assert undecodable(config(file, interval=None), model) == []


def test_a_vae_with_the_other_decoder_is_taken_in_its_place(file: Path, tmp_path: Path) -> None:
    other = write_whole(tmp_path / "conv.safetensors", "2.3")
    model = open_model(str(file), vae_source=str(other))
    assert model.part(VAE).content == open_model(str(other)).part(VAE).content
    assert undecodable(config(file), model) == []


def test_clips_cannot_be_verified(file: Path) -> None:
    settings = PreprocessSettings(Path("clips"), str(file), "64x64x9", verify_clips=2)
    with pytest.raises(ConfigurationError, match=r"verify_clips 2: .*diffusion decoder"):
        find_encoders(settings, {})
    assert find_encoders(settings.model_copy(update={"verify_clips": 0}), {}).parts
