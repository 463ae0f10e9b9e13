"""A failure parks the run with a cause, gives the memory back, and costs no finished step."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from safetensors.torch import load_file

from ltxv_train_core.errors import DataError, LTXVTrainError, NotFiniteError
from ltxv_train_core.events import CheckpointWritten, Notice, StepCompleted
from ltxv_train_core.families.ltxv.miniature_model import MiniatureEncoder
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.runs.failures import RunFailedError, failure_of
from ltxv_train_core.storage import atomic
from ltxv_train_core.strategies.base import StepInputs
from ltxv_train_core.strategies.standard import StandardStrategy
from ltxv_train_core.training import recovery
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train
from tests.core.training.test_memory import alive

STEPS = {"optimization": {"steps": 6, "batch_size": 2}}


def tensor_bytes(path):
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


@pytest.fixture(scope="module")
def whole(stripes_data, tmp_path_factory):
    """The LoRA of the run that nothing disturbs."""
    from ltxv_train_core.config import TrainingConfig, build

    values = {
        "output_dir": str(tmp_path_factory.mktemp("whole")),
        "model": {"model_source": "LTXV_MINIATURE"},
        "lora": {"rank": 4, "alpha": 4},
        "optimization": {"steps": 6, "batch_size": 2, "learning_rate": 1e-3},
        "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
        "data": {"preprocessed_data_root": str(stripes_data), "num_dataloader_workers": 0},
    }
    return tensor_bytes(train(build(TrainingConfig, values)).lora_file)


def at_step(step, act):
    def report(event):
        if isinstance(event, StepCompleted) and event.step == step:
            act()

    return report


def test_a_folder_that_windows_holds_for_a_while_costs_no_step(training_config, whole, monkeypatch):
    """A virus scanner reads the new checkpoint, and a window of the user is in the oldest one."""
    rename, remove, refused = Path.replace, os.rmdir, []

    def replace(source, target):
        if source.is_dir() and len(refused) < 2:
            refused.append(source)
            raise PermissionError
        return rename(source, target)

    def rmdir(path, **options):
        if str(path).endswith("000002"):
            raise PermissionError
        remove(path, **options)

    monkeypatch.setattr(atomic, "os", SimpleNamespace(**vars(os) | {"name": "nt"}))
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "rmdir", rmdir)
    config = training_config(**STEPS, checkpoints={"interval": 2, "keep_last_n": 1})
    result = train(config)
    assert len(refused) == 2
    assert tensor_bytes(result.lora_file) == whole
    left = result.run_folder / "checkpoints"
    assert {path.name for path in left.iterdir() if any(path.iterdir())} == {"000006"}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is Linux's")
def test_a_disk_that_takes_no_more_parks_the_run(training_config, whole):
    import resource

    config = training_config(**STEPS, checkpoints={"interval": 2})
    kind = resource.RLIMIT_FSIZE
    limits = resource.getrlimit(kind)
    limit = at_step(3, lambda: resource.setrlimit(kind, (50_000, limits[1])))
    try:
        with pytest.raises(RunFailedError, match="the disk is full"):
            train(config, limit)
    finally:
        resource.setrlimit(kind, limits)
    state = plan_run(config).run.written_state()
    assert (state.status, state.step, state.cause.kind) == ("failed", 2, "disk_full")
    assert tensor_bytes(train(config).lora_file) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is Linux's")
def test_a_disk_that_takes_no_recovery_point_stops_nothing(training_config, whole, monkeypatch):
    import resource

    monkeypatch.setattr(recovery, "FIRST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_SECONDS", 0)
    monkeypatch.setattr(recovery, "LEAST_TIMES_ITS_DURATION", 0)
    kind = resource.RLIMIT_FSIZE
    limits = resource.getrlimit(kind)
    told: list = []

    def report(event):
        told.append(event)
        at_step(2, lambda: resource.setrlimit(kind, (50_000, limits[1])))(event)
        at_step(5, lambda: resource.setrlimit(kind, limits))(event)

    try:
        result = train(training_config(**STEPS), report)
    finally:
        resource.setrlimit(kind, limits)
    lines = [e.message for e in told if isinstance(e, Notice)]
    (line,) = [line for line in lines if "no recovery point can be written" in line]
    assert "File too large" in line
    assert tensor_bytes(result.lora_file) == whole
    assert list(result.run_folder.rglob(".*.part*")) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_checkpoint_whole(training_config, whole, small_disk):
    keep = {"interval": 1, "keep_last_n": -1}
    config = training_config(**STEPS, checkpoints=keep, output_dir=str(small_disk / "runs"))
    with pytest.raises(RunFailedError, match="the disk is full"):
        train(config)
    run = plan_run(config).run
    state = run.written_state()
    assert (state.status, state.cause.kind) == ("failed", "disk_full")
    assert state.step >= 1
    assert max(path.name for path in run.checkpoints.iterdir()) == f"{state.step:06d}"
    assert list(run.folder.rglob(".*.part*")) == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert tensor_bytes(train(config).lora_file) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="not everybody may make links there")
def test_an_old_checkpoint_that_can_not_be_removed_stops_nothing(training_config, tmp_path):
    told: list = []

    def move_away(event):
        told.append(event)
        if isinstance(event, CheckpointWritten) and event.step == 1:
            event.folder.rename(tmp_path / "away")
            event.folder.symlink_to(tmp_path / "away")

    config = training_config(**STEPS, checkpoints={"interval": 1, "keep_last_n": 2})
    result = train(config, move_away)
    kept = sorted(path.name for path in RunFolder(result.run_folder).checkpoints.iterdir())
    assert kept == ["000001", "000005", "000006"]
    assert "checkpoint 000001 can't be removed" in [
        e.message[:34] for e in told if isinstance(e, Notice)
    ]


def test_data_that_disappears_parks_the_run_until_it_is_back(
    training_config, stripes_data, whole, tmp_path
):
    root = shutil.copytree(stripes_data, tmp_path / "data")
    config = training_config(root, **STEPS)
    latents, away = root / "latents", root / "away"
    run = plan_run(config).run
    with pytest.raises(DataError, match="latents"):
        train(config, at_step(3, lambda: latents.rename(away)))
    state = run.written_state()
    assert (state.status, state.step, state.cause.kind) == ("failed", 3, "data")
    assert "Put the data set back" in state.cause.advice
    with pytest.raises(LTXVTrainError, match="missing"):
        train(config)
    away.rename(latents)
    assert tensor_bytes(train(config).lora_file) == whole


def test_out_of_memory_gives_the_memory_back_and_keeps_the_steps(
    training_config, monkeypatch, whole
):
    config = training_config(**STEPS)
    before, prepare, calls = alive(), StandardStrategy.prepare, []

    def full(self, batch, generator):
        calls.append(batch)
        if len(calls) == 4:
            torch.empty(2**60)  # more than any machine has
        return prepare(self, batch, generator)

    monkeypatch.setattr(StandardStrategy, "prepare", full)
    with pytest.raises(RunFailedError, match="Close other programs") as caught:
        train(config)
    assert alive() == before, "while the error is still held"
    assert caught.value.cause.kind == "out_of_host_memory"
    assert plan_run(config).run.written_state().step == 3
    assert tensor_bytes(train(config).lora_file) == whole


@pytest.mark.parametrize(
    ("error", "kind", "first"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out_of_memory", "Set acceleration"),
        (RuntimeError("[enforce fail] can't allocate memory"), "out_of_host_memory", "Close"),
    ],
)
def test_prompts_that_take_too_much_memory_say_what_spares_it(
    training_config, monkeypatch, error, kind, first
):
    def full(self, dtype):
        raise error

    monkeypatch.setattr(MiniatureEncoder, "load", full)
    samples = {"prompts": ["a ring"], "video_dims": [64, 64, 9]}
    with pytest.raises(RunFailedError, match=r"encoding validation\.prompts: ") as caught:
        train(training_config(**STEPS, validation=samples))
    cause = caught.value.cause
    assert cause.kind == kind
    assert cause.advice.startswith(first)
    assert ("acceleration.load_text_encoder_in_8bit" in cause.advice) == (kind == "out_of_memory")
    for way in (
        "take a text encoder in fp8 for model.text_encoder_source",
        "validation.interval null",
    ):
        assert way in cause.advice
    assert "batch_size" not in cause.advice


@pytest.mark.parametrize(
    ("error", "kind", "first"),
    [
        (
            RuntimeError("MPS backend out of memory (MPS allocated"),
            "out_of_memory",
            "For a LoRA set",
        ),
        (MemoryError("9 GB"), "out_of_host_memory", "Close other programs, take a model file"),
    ],
)
def test_a_model_that_does_not_fit_says_what_makes_it_smaller(
    training_config, monkeypatch, error, kind, first
):
    def full(self, device):
        raise error

    monkeypatch.setattr(LTXVideoTransformer3DModel, "to", full)
    with pytest.raises(RunFailedError, match="loading the model: ") as caught:
        train(training_config(**STEPS))
    cause = caught.value.cause
    assert cause.kind == kind
    assert cause.advice.startswith(first)
    assert "batch_size" not in cause.advice


def test_a_step_that_is_not_finite_is_left_out_and_counted(training_config, monkeypatch):
    config = training_config(**STEPS)
    loss, calls = StepInputs.loss, []

    def once_broken(self, prediction):
        calls.append(1)
        return loss(self, prediction) * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setattr(StepInputs, "loss", once_broken)
    result = train(config)
    run = RunFolder(result.run_folder)
    assert result.finished
    assert run.written_state().skipped_steps == 1
    assert [m.loss == m.loss for m in run.metrics()] == [True, False, True, True, True, True]
    assert all(torch.isfinite(t).all() for t in load_file(result.lora_file).values())


def test_many_of_them_in_a_row_park_the_run(training_config, monkeypatch):
    config = training_config(optimization={"steps": 20, "max_non_finite_steps": 3})
    loss = StepInputs.loss
    monkeypatch.setattr(StepInputs, "loss", lambda self, p: loss(self, p) * float("inf"))
    with pytest.raises(NotFiniteError, match="not finite 3 steps in a row: lower optimization"):
        train(config)
    state = plan_run(config).run.written_state()
    assert (state.status, state.cause.kind, state.skipped_steps) == ("failed", "not_finite", 3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out_of_memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory"),
        (RuntimeError("Invalid buffer size: 30.52 GiB"), "out_of_memory"),
        (RuntimeError("HIPBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory"),
        (RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"), "out_of_memory"),
        (type("XpuOutOfMemory", (torch.OutOfMemoryError,), {})("no room"), "out_of_memory"),
        (RuntimeError("UR_RESULT_ERROR_OUT_OF_HOST_MEMORY"), "out_of_host_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out_of_host_memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "out_of_host_memory"),
        (MemoryError(), "out_of_host_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file"), "disk_full"),
        (OSError(errno.EIO, "Input/output error"), "disk_error"),
        (OSError(errno.EMFILE, "Too many open files"), "too_many_files"),
        (OSError(errno.EACCES, "Permission denied"), "error"),
        (ZeroDivisionError("division by zero"), "error"),
    ],
)  # fmt: skip
def test_causes_have_names(error, kind):
    cause = failure_of(error)
    assert cause.kind == kind
    assert cause.message
    assert cause.advice.endswith(tuple("abcdefghijklmnopqrstuvwxyz"))
