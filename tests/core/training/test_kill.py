"""Interrupted anywhere, a run comes to the same bytes."""

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.strategies.standard import StandardStrategy
from ltxv_train_core.training.checkpoint import CheckpointError
from ltxv_train_core.training.stages import Stages
from ltxv_train_core.training.trainer import train
from tests.core.training.test_several_data_sets import large, small

__all__ = ["large", "small"]

ROOT = Path(__file__).parents[3]
EVERYTHING = {
    "optimization": {
        "steps": 8,
        "batch_size": 1,
        "gradient_accumulation_steps": 3,
        "scheduler_type": "cosine",
        "warmup_steps": 3,
        "ema_decay": 0.9,
    },
    "lora": {"rank": 4, "alpha": 4, "dropout": 0.1},
    "checkpoints": {"interval": 2},
    "data": {"num_dataloader_workers": 2},
}


def tensor_bytes(path: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def assert_same(result, other):
    """LoRA, average and losses of two runs."""
    assert tensor_bytes(result.lora_file) == tensor_bytes(other.lora_file)
    assert tensor_bytes(result.ema_file) == tensor_bytes(other.ema_file)
    ours, theirs = (RunFolder(each.run_folder).metrics() for each in (result, other))
    assert [(m.step, m.loss, m.learning_rate, m.grad_norm) for m in ours] == [
        (m.step, m.loss, m.learning_rate, m.grad_norm) for m in theirs
    ]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """Trains a configuration without interruption, once for each number of steps."""
    done: dict = {}

    def get(config):
        steps = config.optimization.steps
        if steps not in done:
            folder = str(tmp_path_factory.mktemp("whole"))
            done[steps] = train(config.model_copy(update={"output_dir": folder}))
        return done[steps]

    return get


def killed(config, folder: Path, kills: int, longest_seconds: float, recover: bool) -> dict:
    """What `helpers/killing.py` tells of a run that it has killed so often, and finished."""
    yaml_file.save(config, folder / "config.yaml")
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "killing.py")]
    command += [str(folder / "config.yaml"), str(kills), str(longest_seconds)]
    ran = subprocess.run(
        [*command, "recovery"] if recover else command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    print(report["moments"])
    return report


def stopped_at(config, step: int) -> RunFolder:
    stop = threading.Event()
    half = train(config, lambda e: stop.set() if getattr(e, "step", 0) == step else None, stop)
    assert half.step == step
    return RunFolder(half.run_folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("kills", "interval"),
    [
        pytest.param(2, 2, marks=pytest.mark.long),
        pytest.param(20, 2, marks=pytest.mark.kills),
        pytest.param(20, None, marks=pytest.mark.kills),
    ],
)
def test_a_run_killed_at_random_moments_comes_to_the_same_bytes(
    training_config, whole_run, tmp_path, kills, interval
):
    """Without an interval, it goes on from its recovery points."""
    steps = {"steps": 8 if kills == 2 else 60}
    config = training_config(
        **EVERYTHING
        | {
            "optimization": EVERYTHING["optimization"] | steps,
            "checkpoints": {"interval": interval},
        },
    )
    longest_seconds = 0.7 if kills == 2 else 1.2
    report = killed(config, tmp_path, kills, longest_seconds, recover=interval is None)
    result = train(config)
    assert str(result.lora_file) == report["lora_file"]
    assert_same(result, whole_run(config))
    assert list(result.run_folder.rglob(".*.part*")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.kills
@pytest.mark.parametrize("interval", [2, None])
def test_a_progressive_run_killed_within_its_stages_comes_to_the_same_bytes(
    training_config, small, large, tmp_path, interval
):
    """From small clips to large ones; without an interval it goes on from its recovery points."""
    stages, steps = [4, 12], 40  # so early that a slow machine reaches the second one too
    lines = [
        f"{large}: stages 2-3, repeats 2, weight 0.5",
        f"{small}: stage 2, caption_dropout 0.5",
    ]
    sections = EVERYTHING | {
        "optimization": EVERYTHING["optimization"] | {"steps": steps},
        "checkpoints": {"interval": interval},
        "data": {"more_data_sets": lines, "stage_steps": stages, "num_dataloader_workers": 2},
    }
    config = training_config(small, **sections)
    report = killed(config, tmp_path, 20, longest_seconds=2.0, recover=interval is None)
    within = {Stages(stages).after(step) for step, _ in report["moments"] if step not in (0, 4, 16)}
    assert within, f"killed within no stage: {report['moments']}"
    result = train(config)
    assert str(result.lora_file) == report["lora_file"]
    whole = train(config.model_copy(update={"output_dir": str(tmp_path / "whole")}))
    assert_same(result, whole)
    ours, theirs = (RunFolder(each.run_folder).metrics() for each in (result, whole))
    assert [m.stage for m in ours] == [1] * 4 + [2] * 12 + [3] * 24
    assert repr([m.loss_by_data_set for m in ours]) == repr([m.loss_by_data_set for m in theirs])
    assert list(result.run_folder.rglob(".*.part*")) == []


def test_a_stop_between_two_forward_passes_of_a_step_loses_nothing(
    training_config, whole_run, monkeypatch
):
    config = training_config(**EVERYTHING)
    stop, passes = threading.Event(), []
    prepare = StandardStrategy.prepare

    def counted(self, batch, generator):
        passes.append(batch.names)
        if len(passes) == 4 * 3 + 2:
            stop.set()
        return prepare(self, batch, generator)

    monkeypatch.setattr(StandardStrategy, "prepare", counted)
    steps: list[int] = []
    half = train(
        config, lambda e: steps.append(e.step) if isinstance(e, StepCompleted) else 0, stop
    )
    assert (half.step, steps, len(passes)) == (4, [1, 2, 3, 4], 4 * 3 + 2)
    assert_same(train(config), whole_run(config))


def test_torn_and_damaged_checkpoints_are_never_loaded(training_config, whole_run):
    config = training_config(**EVERYTHING)
    run = stopped_at(config, 6)
    torn = run.checkpoints / ".000007.4711.part"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"torn")
    (run.weights / ".x-000007.4711.part.safetensors").write_bytes(b"torn")
    newest = run.checkpoints / "000006" / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    told = []
    result = train(config, lambda event: told.append(getattr(event, "message", None) or ""))
    assert "checkpoints/000006 can't be read" in " ".join(told)
    assert "resuming from step 4 (checkpoint)" in told
    assert_same(result, whole_run(config))
    assert list(run.folder.rglob(".*.part*")) == []


@pytest.mark.parametrize("content", [b"torn", b"", pickle.dumps({"step": Path()})])
def test_what_is_said_of_a_damaged_checkpoint_is_no_advice_of_torch(training_config, content):
    run = stopped_at(training_config(**EVERYTHING), 1)
    (run.checkpoints / "000001" / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"no file of torch\.save") as caught:
        train(run.configuration())
    assert "weights_only" not in str(caught.value)
    assert "Delete them to start the run again" in str(caught.value)


@pytest.mark.long
def test_a_damaged_checkpoint_is_not_kept_in_the_place_of_a_good_one(training_config, whole_run):
    config = training_config(**EVERYTHING | {"checkpoints": {"interval": 1, "keep_last_n": 1}})
    run = stopped_at(config, 6)
    whole = stopped_at(config.model_copy(update={"output_dir": config.output_dir + "2"}), 3)
    (run.checkpoints / "000006" / "weights.safetensors").write_bytes(b"torn")
    (whole.checkpoints / "000003").rename(run.checkpoints / "000003")

    def cut_off(event):
        if isinstance(event, StepCompleted) and event.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, cut_off)
    told = []
    result = train(config, lambda event: told.append(getattr(event, "message", "")))
    assert "resuming from step 4 (checkpoint)" in told
    assert_same(result, whole_run(config))
