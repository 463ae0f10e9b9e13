"""A run on video and sound, on the miniature that hears: from clips to LoRA, and what it refuses."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import Control, StepCompleted
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltxv.miniature.shipped import MINIATURE as SILENT
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.trackers.base import scalars
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train

SIZE = "96x96x17"
SECONDS = 17 / 12


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return generate("stripes_and_beep", tmp_path_factory.mktemp("clips"), clips=4).metadata


@pytest.fixture(scope="module")
def root(clips: Path) -> Path:
    return preprocess(PreprocessSettings(clips, MINIATURE, SIZE)).root


def configured(root: Path, folder: Path, **sections) -> TrainingConfig:
    values = {
        "output_dir": str(folder),
        "model": {"model_source": MINIATURE},
        "lora": {"rank": 4, "alpha": 4},
        "optimization": {"steps": 4, "batch_size": 2},
        "acceleration": {"mixed_precision_mode": "no"},
        "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
    }
    for name, options in sections.items():
        values[name] = {**values.get(name, {}), **options}
    return build(TrainingConfig, values)


def test_sound_is_encoded_beside_the_video(root: Path) -> None:
    index = read_index(root)
    assert index.family == "LTX-2"
    item = index.items[0]
    assert {name: list(files) for name, files in item.streams.items()} == {
        "video": ["latents"],
        "audio": ["latents"],
    }
    sound = load_file(root / item.streams["audio"]["latents"].path)["latents"]
    assert sound.shape == (8, round(SECONDS * 25), 16)
    text = load_file(root / item.caption.embedding.path)
    assert {name: list(tensor.shape) for name, tensor in text.items()} == {
        "video_text": [32, 256],
        "audio_text": [32, 128],
    }


def test_without_sound_the_video_alone_is_trained(clips: Path, tmp_path: Path) -> None:
    settings = PreprocessSettings(clips, MINIATURE, SIZE, with_sound=False, output_dir=tmp_path)
    root = preprocess(settings).root
    assert list(read_index(root).items[0].streams) == ["video"]
    config = configured(root, tmp_path / "runs", optimization={"steps": 1})
    result = train(config)
    assert result.finished
    (told,) = RunFolder(result.run_folder).metrics()
    assert math.isnan(told.video_loss)
    assert told.audio_loss_by_noise == ()


def test_a_stopped_run_continues_with_equal_bits(root: Path, tmp_path: Path) -> None:
    whole = train(configured(root, tmp_path / "whole"))
    control = Control()

    def stop_at_two(event: object) -> None:
        if isinstance(event, StepCompleted) and event.step == 2:
            control.stop()

    halves = configured(root, tmp_path / "halves")
    assert train(halves, stop_at_two, control).step == 2
    finished = train(halves)
    assert finished.step == 4
    ours, theirs = load_file(finished.lora_file), load_file(whole.lora_file)
    assert any("audio_to_video_attn" in name for name in ours)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_of_the_losses_decide_what_is_learned(root: Path, tmp_path: Path) -> None:
    """With the sound's alone, layers that only the video's answer passes get no gradient."""
    options = {"video_loss_weight": 0.0}
    result = train(configured(root, tmp_path, flow_matching=options, optimization={"steps": 1}))
    weights = load_file(result.lora_file)
    last = "diffusion_model.transformer_blocks.3."
    assert weights[f"{last}attn2.to_q.lora_B.weight"].abs().max() > 0, (
        "the sound attends to the video"
    )
    assert weights[f"{last}audio_attn2.to_q.lora_B.weight"].abs().max() > 0
    silent = tmp_path / "silent"
    options = {"audio_loss_weight": 0.0}
    result = train(configured(root, silent, flow_matching=options, optimization={"steps": 1}))
    weights = load_file(result.lora_file)
    assert weights[f"{last}video_to_audio_attn.to_q.lora_B.weight"].abs().max() == 0
    assert weights[f"{last}attn2.to_q.lora_B.weight"].abs().max() > 0


def test_a_step_tells_the_losses_of_video_and_sound(root: Path, tmp_path: Path) -> None:
    weights = {"video_loss_weight": 2.0, "audio_loss_weight": 0.5}
    steps = {"steps": 1, "gradient_accumulation_steps": 2}
    config = configured(root, tmp_path, flow_matching=weights, optimization=steps)
    (told,) = RunFolder(train(config).run_folder).metrics()
    assert told.loss == pytest.approx(2 * told.video_loss + 0.5 * told.audio_loss, rel=1e-5)
    for loss, bands in (
        (told.video_loss, told.loss_by_noise),
        (told.audio_loss, told.audio_loss_by_noise),
    ):
        found = [each for each in bands if not math.isnan(each)]
        assert len(bands) == 4
        assert min(found) <= loss <= max(found)
    assert scalars(told)["train/audio_loss"] == told.audio_loss


@pytest.mark.parametrize("mode", ["stg_av", "stg_v"])
def test_samples_are_videos_with_sound(root: Path, tmp_path: Path, mode: str) -> None:
    validation = {
        "prompts": ["a red circle moves up on a blue background, a loud low hum"],
        "video_dims": [96, 96, 17],
        "frame_rate": 12.0,
        "inference_steps": 2,
        "interval": 1,
        "skip_initial_validation": True,
        "audio_guidance_scale": 5.0,
        "stg_scale": 1.0,
        "stg_mode": mode,
    }
    config = configured(root, tmp_path, validation=validation, optimization={"steps": 1})
    run = RunFolder(train(config).run_folder)
    (video,) = run.folder.glob("samples/000001/*.mp4")
    with av.open(str(video)) as container:
        (heard,), (seen,) = container.streams.audio, container.streams.video
        assert seen.frames == 17
        assert float(heard.duration * heard.time_base) == pytest.approx(SECONDS, abs=0.03)


@pytest.mark.parametrize(
    ("model", "made_with", "said"),
    [
        (SILENT, MINIATURE, "preprocessed for LTX-2, and LTXV_MINIATURE is a model of LTX-Video"),
        (MINIATURE, SILENT, "preprocessed for LTX-Video, and LTX2_MINIATURE is a model of LTX-2"),
    ],
)
def test_data_of_another_family_are_refused(
    clips: Path, root: Path, tmp_path: Path, model: str, made_with: str, said: str
) -> None:
    if made_with == SILENT:
        settings = PreprocessSettings(clips, SILENT, SIZE, output_dir=tmp_path / "silent")
        root = preprocess(settings).root
    with pytest.raises(LTXVTrainError, match=said):
        train(configured(root, tmp_path, model={"model_source": model}))


def test_no_other_trainer_s_arithmetic_is_there_for_it(root: Path, tmp_path: Path) -> None:
    (problem,) = problems(configured(root, tmp_path, flow_matching={"compat": "ltx-video-trainer"}))
    assert "flow_matching.compat ltx-video-trainer: that trainer trains" in problem


def test_a_lora_of_another_family_is_no_start(root: Path, tmp_path: Path) -> None:
    trained = train(configured(root, tmp_path / "first", optimization={"steps": 1})).lora_file
    start = {"model_source": SILENT, "load_checkpoint": str(trained)}
    with pytest.raises(LTXVTrainError, match=r"LoRA of LTX-2, and model\.model_source LTXV_MIN"):
        train(configured(root, tmp_path, model=start))
    again = configured(
        root,
        tmp_path,
        model={"load_checkpoint": str(trained)},
        optimization={"steps": 1, "learning_rate": 1e-12},
    )
    continued = load_file(train(again).lora_file)
    for name, tensor in load_file(trained).items():
        torch.testing.assert_close(continued[name], tensor, rtol=0, atol=1e-6)
    shutil.rmtree(tmp_path / "first")


@pytest.mark.long
def test_clips_with_and_without_sound_are_held_out_together(root: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(root, tmp_path / "mixed"))
    index = read_index(mixed)
    silent = [replace(each, streams={"video": each.streams["video"]}) for each in index.items[2:]]
    write_index(mixed / "index.json", replace(index, items=(*index.items[:2], *silent)))
    sections = {"data": {"held_out_clips": 3}, "optimization": {"batch_size": 1, "steps": 2}}
    trained = train(configured(mixed, tmp_path / "runs", **sections))
    measured = RunFolder(trained.run_folder).held_out()
    assert [(each.step, len(each.clips), each.streams) for each in measured] == [
        (0, 3, {}),
        (1, 3, {}),
        (2, 3, {}),
    ]


@pytest.mark.parametrize(
    ("recipe", "chance", "told"), [(2, 0.5, True), (1, 0.5, True), (2, 0.0, False)]
)
def test_a_run_of_an_earlier_version_says_that_its_sounds_have_other_conditions(
    root: Path, tmp_path: Path, recipe: int, chance: float, told: bool
) -> None:
    """Earlier versions kept the first latent of a sound clean with the first frame of its video."""
    config = configured(
        root,
        tmp_path,
        conditioning={"first_frame_conditioning_p": chance},
        optimization={"steps": 3, "batch_size": 1},
    )
    control = Control()
    half = train(
        config, lambda e: control.stop() if isinstance(e, StepCompleted) else None, control
    )
    state = half.run_folder / "run.json"
    written = json.loads(state.read_text(encoding="utf-8"))
    assert written["recipe"] == 3
    state.write_text(json.dumps(written | {"recipe": recipe}), encoding="utf-8")
    events: list[object] = []
    result = train(config, events.append)
    assert (result.run_folder, result.finished) == (half.run_folder, True)
    notices = [e for e in events if "sounds have conditions of their own" in str(e)]
    assert bool(notices) == told
