"""A run on video and sound goes every way that a run on video goes, to the same bytes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.jobs import JobManager
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training import recovery
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import TrainingResult, train
from tests.core.jobs.test_subprocess_trainer import train_together
from tests.core.training.test_joint_run import clips, configured, root

__all__ = ["clips", "root"]

ROOT = Path(__file__).parents[3]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def everything(root: Path, folder: Path, steps: int, interval: int | None) -> TrainingConfig:
    return configured(
        root,
        folder,
        lora={"rank": 4, "alpha": 4, "dropout": 0.1},
        optimization={
            "steps": steps,
            "batch_size": 1,
            "gradient_accumulation_steps": 2,
            "scheduler_type": "cosine",
            "ema_decay": 0.9,
        },
        checkpoints={"interval": interval},
        conditioning={"first_frame_conditioning_p": 0.5},
        data={"num_dataloader_workers": 2},
    )


def tensor_bytes(path: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def assert_same(result: TrainingResult, other: TrainingResult) -> None:
    """LoRA, average, and the losses of video and sound of two runs."""
    assert tensor_bytes(result.lora_file) == tensor_bytes(other.lora_file)
    assert result.ema_file is not None
    assert other.ema_file is not None
    assert tensor_bytes(result.ema_file) == tensor_bytes(other.ema_file)
    ours, theirs = (
        [
            (m.step, m.loss, m.grad_norm, m.video_loss, m.audio_loss)
            for m in RunFolder(each.run_folder).metrics()
        ]
        for each in (result, other)
    )
    assert ours == theirs
    assert all(numbers[-1] > 0 for numbers in ours)


@needs_fork
@pytest.mark.kills
@pytest.mark.parametrize("interval", [2, None])
def test_a_run_killed_at_random_moments_comes_to_the_same_bytes(
    root: Path, tmp_path: Path, interval: int | None
) -> None:
    """Without an interval, it goes on from its recovery points."""
    config = everything(root, tmp_path / "runs", 40, interval)
    yaml_file.save(config, tmp_path / "config.yaml")
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "killing.py")]
    command += [str(tmp_path / "config.yaml"), "12", "3"]
    ran = subprocess.run(
        command if interval else [*command, "recovery"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    print(report["moments"])
    assert sum(step > 0 for step, _ in report["moments"]) >= 3
    result = train(config)
    assert str(result.lora_file) == report["lora_file"]
    assert_same(result, train(everything(root, tmp_path / "whole", 40, interval)))


@needs_fork
@pytest.mark.kills
def test_two_processes_with_a_clip_each_are_one_with_both(root: Path, tmp_path: Path) -> None:
    """The same samples, with the same noise: the same losses, and gradients but for their last bits."""
    loras, losses = [], []
    for count, batch_size in ((1, 2), (2, 1)):
        config = configured(
            root,
            tmp_path / str(count),
            optimization={"steps": 3, "batch_size": batch_size, "learning_rate": 1e-3},
        )
        file = tmp_path / f"{count}.yaml"
        yaml_file.save(config, file)
        ran = train_together(file, count)
        assert ran.returncode == 0, ran.stderr
        loras.append(load_file(ran.stdout.splitlines()[-1]))
        run = plan_run(config, processes=count).run
        losses.append([(m.loss, m.video_loss, m.audio_loss) for m in run.metrics()])
    one, two = loras
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=5e-5), (value - two[name]).abs().max()
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-3, atol=0)


def cut_off(config: TrainingConfig, step: int, **options: Any) -> None:
    """Trains until nothing more is saved after a step was made, as if the process were gone."""

    def report(event: object) -> None:
        if isinstance(event, StepCompleted) and event.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, report, **options)


@pytest.mark.long
def test_recovery_and_a_stage_come_to_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "FIRST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_TIMES_ITS_DURATION", 0)
    config = everything(root, tmp_path / "runs", 3, None)
    cut_off(config, 3)
    told: list[str] = []
    first = train(config, lambda event: told.append(getattr(event, "message", None) or ""))
    assert "resuming from step 2 (recovery point)" in told
    whole = everything(root, tmp_path / "whole", 3, None)
    assert_same(first, train(whole))
    cut_off(config, 5, continue_from=RunFolder(first.run_folder))
    second = train(config, continue_from=RunFolder(first.run_folder))
    assert second.step == 6
    before = RunFolder(train(whole).run_folder)
    assert_same(second, train(whole, continue_from=before))


@pytest.mark.long
def test_one_queue_trains_both_families(root: Path, training_config: Any, tmp_path: Path) -> None:
    """The run on sound is paused and resumed meanwhile; its bytes are those of one that isn't."""
    config = everything(root, tmp_path / "runs", 4, 2)
    manager = JobManager()
    reached = threading.Event()

    def follow(name: str, event: object) -> None:
        if isinstance(event, StepCompleted) and name == joint.run.name and event.step == 2:
            manager.stop(name)
            reached.set()

    try:
        joint, silent = plan_run(config), plan_run(training_config())
        manager.subscribe(follow)
        jobs = [manager.submit(joint), manager.submit(silent)]
        assert jobs[0].result().step == 2
        assert reached.is_set()
        assert jobs[1].result().finished
        manager.resume(joint.run, lambda: None)
        result = manager.find(joint.run.name).result()
    finally:
        manager.shut_down()
    assert result.finished
    assert_same(result, train(everything(root, tmp_path / "whole", 4, 2)))
