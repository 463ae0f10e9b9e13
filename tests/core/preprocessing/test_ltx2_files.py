"""A user's own LTX-2 files, without a canvas: clips are encoded, a LoRA is trained, samples have sound."""

import gc
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import SamplesWritten, StepCompleted
from ltxv_train_core.families.ltx2.connectors import Connectors
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.ltx2.text_encoder import LTX2TextEncoder
from ltxv_train_core.families.open import open_model
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.training.trainer import train
from tests.core.preprocessing.test_given_ltx2 import given
from tests.helpers.ltx2_parts import write_gemma_file, write_whole

SIZE = "96x96x17"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("model")
    whole = write_whole(root / "whole.safetensors", "2.3")
    gemma = write_gemma_file(root / "gemma.safetensors", "Gemma 3")
    return {"model_source": str(whole), "text_encoder_source": str(gemma)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate("stripes_and_beep", tmp_path_factory.mktemp("clips"), clips=2).metadata


def configured(
    root: Path, files: dict[str, str], output: Path, **validation: Any
) -> TrainingConfig:
    values = {
        "output_dir": str(output),
        "model": files,
        "lora": {"rank": 2, "alpha": 2},
        "optimization": {"steps": 1, "batch_size": 1},
        "acceleration": {"mixed_precision_mode": "no", "load_text_encoder_in_4bit": True},
        "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
        "validation": validation,
    }
    return build(TrainingConfig, values)


def alive(kind: type) -> int:
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


@pytest.mark.long
def test_clips_are_encoded_by_what_the_options_name(
    files: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(
        source=clips, resolution_buckets=SIZE, output_dir=tmp_path / "data", **files
    )
    summary = preprocess(settings)
    index = read_index(summary.root)
    model = open_model(files["model_source"], text_encoder_source=files["text_encoder_source"])
    item = index.items[0]
    stored = load_file(summary.root / item.caption.embedding.path)
    (expected,) = model.load_text_encoder().encode([item.caption.text])
    for name, tensor in stored.items():
        assert tensor.shape[0] == 1024
        torch.testing.assert_close(tensor, expected[name])
    shapes = {
        stream: tuple(load_file(summary.root / role["latents"].path)["latents"].shape)
        for stream, role in item.streams.items()
    }
    assert shapes == {"video": (128, 3, 3, 3), "audio": (8, 35, 16)}
    again = preprocess(settings)
    assert (again.written, again.reused) == (0, summary.written)
    in_4_bits = settings.model_copy(update={"load_text_encoder_in_4bit": True})
    changed = preprocess(in_4_bits)
    assert changed.written == len({each.caption.text for each in index.items}), "captions alone"


@pytest.mark.long
def test_a_lora_is_trained_with_samples_that_are_heard(
    files: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(
        source=clips, resolution_buckets=SIZE, output_dir=tmp_path / "data", **files
    )
    root = preprocess(settings).root
    seen: list[Any] = []

    def listen(event: object) -> None:
        if isinstance(event, StepCompleted):
            assert alive(LTX2TextEncoder) == alive(Connectors) == 0, (
                "only while prompts are encoded"
            )
        if isinstance(event, SamplesWritten):
            seen.append(event)

    sampled = {"prompts": ["a red circle"], "interval": 1, "video_dims": [96, 96, 17]}
    usual = {"inference_steps": 1, "frame_rate": 12, "skip_initial_validation": True}
    config = configured(root, files, tmp_path / "runs", **sampled, **usual)
    assert train(config, listen).finished
    (event,) = seen
    with av.open(str(event.videos[0])) as container:
        assert container.streams.video[0].frames == 17
        assert container.streams.audio[0].rate == 48000


def test_a_data_set_of_the_canvas_stays_usable_with_files_for_samples(
    files: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(clips, files["model_source"], SIZE, output_dir=tmp_path / "data")
    root = preprocess(settings, encoders=given()).root
    assert train(configured(root, files, tmp_path / "runs")).finished


def test_samples_without_a_text_encoder_are_refused_before_training(
    files: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    settings = PreprocessSettings(clips, files["model_source"], SIZE, output_dir=tmp_path / "data")
    root = preprocess(settings, encoders=given()).root
    alone = {"model_source": files["model_source"]}
    config = configured(root, alone, tmp_path / "runs", prompts=["a"], interval=1)
    with pytest.raises(LTXVTrainError, match="holds no text encoder: name Gemma 3 12B"):
        train(config)
