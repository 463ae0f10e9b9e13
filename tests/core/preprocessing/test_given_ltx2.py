"""A file of LTX-2 whose encoders are given: its connectors finish the captions, and belong to the data set."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import LTXVTrainError, ModelError
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.names import AUDIO_VAE, CONNECTORS, TEXT_ENCODER, VAE
from ltxv_train_core.families.open import open_model
from ltxv_train_core.preprocessing.encoders import FEATURES, EncoderSource
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.storage.safetensors_header import read_header
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.training.trainer import train
from tests.helpers.ltx2 import AUDIO_WIDTH, WIDTH, write_checkpoint


class Grey:
    def encode(self, frames: Tensor) -> Tensor:
        return frames.mean() + torch.randn(len(frames), 128, 3, 3, 3)


class Quiet:
    def encode(self, waveform: Tensor) -> Tensor:
        return torch.randn(1, 8, round(waveform.shape[-1] / 640), 16)


class Words:
    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        return [{FEATURES: features(prompt)} for prompt in prompts]


def features(prompt: str) -> Tensor:
    drawn = torch.Generator().manual_seed(len(prompt))
    return torch.randn(1 + len(prompt), WIDTH + AUDIO_WIDTH, generator=drawn)


def given(generation: str = "LTX-2.3") -> dict[str, EncoderSource[Any]]:
    family = LTX2.name
    text = {"generation": generation, "finished_by": CONNECTORS}
    return {
        VAE: EncoderSource("grey", Grey, family=None),
        AUDIO_VAE: EncoderSource("quiet", Quiet, family=family),
        TEXT_ENCODER: EncoderSource("words", Words, family=family, **text),
    }


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate("stripes_and_beep", tmp_path_factory.mktemp("clips"), clips=2).metadata


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "a.safetensors", "2.3")


def configured(root: Path, model: Path, output: Path) -> TrainingConfig:
    values = {
        "output_dir": str(output),
        "model": {"model_source": str(model)},
        "lora": {"rank": 2, "alpha": 2},
        "optimization": {"steps": 1, "batch_size": 1},
        "acceleration": {"mixed_precision_mode": "no"},
        "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
    }
    return build(TrainingConfig, values)


def test_captions_go_through_the_models_connectors_and_it_is_trained(
    clips: Path, file: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(clips, str(file), "96x96x17", output_dir=tmp_path / "data")
    summary = preprocess(settings, encoders=given())
    item = read_index(summary.root).items[0]
    stored = load_file(summary.root / item.caption.embedding.path)
    expected = open_model(str(file)).part(CONNECTORS).load(torch.float32)
    expected = expected.finish(features(item.caption.text))
    assert {name: tensor.shape[0] for name, tensor in stored.items()} == dict.fromkeys(
        ("video_text", "audio_text"), 1024
    )
    for name, tensor in stored.items():
        torch.testing.assert_close(tensor, expected[name])
    again = preprocess(settings, encoders=given())
    assert (again.written, again.reused) == (0, summary.written)
    assert train(configured(summary.root, file, tmp_path / "runs")).finished

    half = settings.model_copy(
        update={"text_encoder_dtype": "bfloat16", "output_dir": tmp_path / "half"}
    )
    root = preprocess(half, encoders=given()).root
    stored = load_file(root / read_index(root).items[0].caption.embedding.path)
    for name, tensor in stored.items():
        assert tensor.dtype == torch.bfloat16
        assert (tensor.float() - expected[name]).abs().mean() < 0.02

    other, tensors = tmp_path / "other.safetensors", load_file(file)
    name = next(n for n in tensors if "video_embeddings_connector" in n and "to_q.weight" in n)
    write_safetensors(other, {**tensors, name: 2 * tensors[name]}, read_header(file).metadata)
    with pytest.raises(LTXVTrainError, match="its captions were encoded with another text encoder"):
        train(configured(summary.root, other, tmp_path / "runs"))


def test_what_is_given_and_the_model_belong_together(
    clips: Path, file: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(clips, str(file), "96x96x17", output_dir=tmp_path)
    with pytest.raises(ModelError, match=r"text_encoder: is one of LTX-2\.5, and .* LTX-2\.3"):
        preprocess(settings, encoders=given("LTX-2.5"))
    of_ltxv = {VAE: EncoderSource("grey", Grey)}
    with pytest.raises(ModelError, match=r"vae: is one of LTX-Video, and .* is a model of LTX-2"):
        preprocess(settings, encoders=of_ltxv)
    with pytest.raises(ModelError, match="the VAE is LTX-Video's, the audio VAE is LTX-2's"):
        preprocess(settings, encoders=of_ltxv | {AUDIO_VAE: given()[AUDIO_VAE]})
    without = {part: source for part, source in given().items() if part != AUDIO_VAE}
    with pytest.raises(ModelError, match="connect `audio_vae` of Preprocess LTXV Dataset"):
        preprocess(settings, encoders=without)


def test_features_that_comfyui_has_finished_stay_as_they_are(tmp_path: Path) -> None:
    """Its text encoder of LTX-2.0 runs the connectors itself."""
    path = write_checkpoint(tmp_path / "first.safetensors", "2.0")
    connectors = open_model(str(path)).part(CONNECTORS).load(torch.float32)
    width = connectors.widths[0]
    finished = torch.randn(5, 2 * width)
    found = connectors.finish(finished)
    assert torch.equal(torch.cat([found["video_text"], found["audio_text"]], dim=-1), finished)
    with pytest.raises(ModelError, match=f"gives {width + 1} numbers for each token"):
        connectors.finish(torch.randn(5, width + 1))
