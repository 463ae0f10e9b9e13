import json
import threading

import av
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import Cancelled, ConfigurationError, LTXVTrainError
from ltxv_train_core.events import CheckpointWritten, Notice, SamplesWritten, StepCompleted
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.trainer import train


class Watcher:
    """Keeps the events, and stops the run after a step."""

    def __init__(self, stop_after: int | None = None):
        self.events: list = []
        self.stop = threading.Event()
        self.stop_after = stop_after

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, StepCompleted) and event.step == self.stop_after:
            self.stop.set()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self):
        return [event.loss for event in self.of(StepCompleted)]


def run(config, stop_after=None):
    watcher = Watcher(stop_after)
    return train(config, watcher, watcher.stop), watcher


def test_a_run_leaves_its_parts_and_returns_when_asked_again(training_config):
    config = training_config(name="my lora")
    result, watcher = run(config)
    assert result.finished
    assert result.step == 4
    assert [e.step for e in watcher.of(StepCompleted)] == [1, 2, 3, 4]
    assert result.run_folder.name.startswith("my lora-")
    assert yaml_file.load(result.run_folder / "training_config.yaml") == config
    metrics = (result.run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["loss"] for line in metrics] == watcher.losses
    with safe_open(result.lora_file, "pt") as file:
        metadata = file.metadata()
    assert metadata["base_model"] == "LTXV_MINIATURE"
    assert metadata["step"] == "4"
    assert str(config.output_dir) not in json.dumps(metadata)

    modified = result.lora_file.stat().st_mtime_ns
    again, watcher = run(config)
    assert again == result
    assert watcher.of(StepCompleted) == []
    assert result.lora_file.stat().st_mtime_ns == modified


def test_the_loss_of_one_batch_falls(training_config):
    config = training_config(
        optimization={
            "steps": 40,
            "batch_size": 4,
            "learning_rate": 3e-3,
            "scheduler_type": "constant",
        },
        lora={"rank": 16, "alpha": 16},
        flow_matching={
            "timestep_sampling_mode": "uniform",
            "timestep_sampling_params": {"min": 0.5, "max": 0.6},
        },
        conditioning={"first_frame_conditioning_p": 0.0},
    )
    _, watcher = run(config)
    first, last = sum(watcher.losses[:8]) / 8, sum(watcher.losses[-8:]) / 8
    assert last < 0.8 * first


def test_a_stopped_run_goes_on_to_the_same_weights(training_config):
    config = training_config(optimization={"scheduler_type": "cosine"}, lora={"dropout": 0.1})
    whole, watched = run(config)
    resumed = training_config(
        optimization={"scheduler_type": "cosine"},
        lora={"dropout": 0.1},
        output_dir=config.output_dir + "2",
    )
    half, first = run(resumed, stop_after=2)
    assert (half.step, half.finished) == (2, False)
    assert half.lora_file.is_file()
    assert RunFolder(half.run_folder).written_state().status == "stopped"
    full, second = run(resumed)
    assert full.finished
    assert first.losses + second.losses == pytest.approx(watched.losses, rel=1e-6)
    ours, theirs = load_file(full.lora_file), load_file(whole.lora_file)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-7) for key in theirs)
    metrics = (full.run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in metrics] == [1, 2, 3, 4]
    smooth = [
        [each.smooth_loss for each in RunFolder(result.run_folder).metrics()]
        for result in (full, whole)
    ]
    assert smooth[0] == pytest.approx(smooth[1], rel=1e-6)


def test_a_run_stopped_before_its_first_step_is_cancelled(training_config):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        train(training_config(), stop=stop)


def test_checkpoints_come_every_interval_and_the_newest_stay(training_config):
    config = training_config(
        optimization={"steps": 5}, checkpoints={"interval": 1, "keep_last_n": 2}
    )
    result, watcher = run(config)
    assert [e.step for e in watcher.of(CheckpointWritten)] == [1, 2, 3, 4, 5]
    kept = sorted(p.name for p in (result.run_folder / "checkpoints").iterdir())
    assert kept == ["000004", "000005"]
    assert len(list((result.run_folder / "weights").glob("*.safetensors"))) == 5


@pytest.mark.long
def test_what_changes_the_result_changes_the_run(training_config, mirror_data):
    names = {
        run(training_config(**sections))[0].run_folder.name
        for sections in (
            {},
            {"seed": 1},
            {"lora": {"alpha": 8}},
            {"optimization": {"learning_rate": 2e-3}},
            {"root": mirror_data},
        )
    }
    assert len(names) == 5
    same, _ = run(training_config(checkpoints={"interval": 2}, data={"num_dataloader_workers": 2}))
    assert same.run_folder.name in names


def test_an_ic_lora_trains_on_references(training_config, mirror_data):
    result, watcher = run(training_config(mirror_data, conditioning={"mode": "reference_video"}))
    assert len(watcher.losses) == 4
    with safe_open(result.lora_file, "pt") as file:
        assert file.metadata()["reference_downscale_factor"] == "1"


def test_all_that_is_wrong_is_said_before_anything_is_loaded(training_config, tmp_path):
    config = training_config(
        conditioning={"mode": "reference_video"},
        model={
            "model_source": str(tmp_path / "nowhere"),
            "load_checkpoint": str(tmp_path / "lora.safetensors"),
        },
    )
    with pytest.raises(ConfigurationError) as caught:
        run(config)
    assert len(caught.value.problems) == 3
    for word in ("load_checkpoint", "nowhere", "reference"):
        assert word in str(caught.value)


def test_a_loss_that_is_not_finite_never_reaches_the_weights(training_config, monkeypatch):
    from ltxv_train_core.strategies.base import StepInputs

    real = StepInputs.loss
    monkeypatch.setattr(StepInputs, "loss", lambda self, p: real(self, p) * float("nan"))
    with pytest.raises(LTXVTrainError, match="not finite 10 steps in a row"):
        run(training_config(optimization={"steps": 20}))


def test_clipping_and_accumulation(training_config):
    _, clipped = run(training_config(optimization={"max_grad_norm": 1e-6, "steps": 2}))
    _, free = run(training_config(optimization={"max_grad_norm": 0.0, "steps": 2}))
    assert clipped.of(StepCompleted)[0].grad_norm == free.of(StepCompleted)[0].grad_norm
    assert clipped.losses[1] != free.losses[1]
    _, two = run(training_config(optimization={"gradient_accumulation_steps": 2, "steps": 2}))
    assert len(two.losses) == 2


@pytest.mark.parametrize(
    "sections",
    [
        {"acceleration": {"mixed_precision_mode": "bf16"}},
        {"optimization": {"enable_gradient_checkpointing": True}},
    ],
    ids=["bf16", "checkpointing"],
)
def test_cheaper_ways_give_nearly_the_same_losses(training_config, sections):
    _, plain = run(training_config())
    _, cheap = run(training_config(**sections))
    tolerance = 0.02 if "acceleration" in sections else 1e-6
    assert cheap.losses == pytest.approx(plain.losses, rel=tolerance)


def test_samples_are_written_while_training(training_config):
    config = training_config(
        validation={
            "prompts": ["a red circle on a grey background", "a blue ring"],
            "video_dims": [96, 64, 9],
            "inference_steps": 2,
            "interval": 3,
        }
    )
    result, watcher = run(config)
    assert [e.step for e in watcher.of(SamplesWritten)] == [0, 3, 4]
    samples = watcher.of(SamplesWritten)[-1]
    assert len(samples.videos) == 2
    with av.open(str(samples.videos[0])) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (96, 64, 9)
    with Image.open(samples.sheet) as sheet:
        assert sheet.width > 96 * 5
    assert samples.sheet == result.run_folder / "samples" / "000004" / "sheet.png"


def test_the_last_step_is_saved_before_it_is_sampled(training_config):
    sections = {"prompts": ["a ring"], "video_dims": [64, 64, 9], "inference_steps": 1}
    result, watcher = run(training_config(validation=sections | {"skip_initial_validation": True}))
    kinds = [type(e) for e in watcher.events if isinstance(e, CheckpointWritten | SamplesWritten)]
    assert kinds == [CheckpointWritten, SamplesWritten]
    assert result.finished


def test_validation_changes_no_weight(training_config):
    short = {"steps": 2}
    quiet, _ = run(training_config(optimization=short))
    watched, _ = run(
        training_config(
            optimization=short,
            output_dir=str(quiet.run_folder.parent) + "2",
            validation={
                "prompts": ["a ring"],
                "video_dims": [64, 64, 9],
                "inference_steps": 1,
                "interval": 1,
            },
        )
    )
    ours, theirs = load_file(watched.lora_file), load_file(quiet.lora_file)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_failure_while_sampling_costs_no_step(training_config, monkeypatch):
    from ltxv_train_core.training import validation

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(validation, "sample_each", fail)
    sections = {"prompts": ["a ring"], "video_dims": [64, 64, 9], "interval": 2}
    result, watcher = run(training_config(validation=sections))
    assert result.finished
    assert sum("out of memory" in event.message for event in watcher.of(Notice)) == 3
