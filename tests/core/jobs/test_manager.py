"""Runs in the background: queued, paused, stopped, asked for something."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import (
    CheckpointWritten,
    EventQueue,
    RunStatusChanged,
    SamplesWritten,
    StepCompleted,
)
from ltxv_train_core.jobs.listeners import Listeners
from ltxv_train_core.runs import RunBusyError, RunWriter
from ltxv_train_core.runs.library import current_state
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train

ROOT = Path(__file__).parents[3]


def tensor_bytes(path):
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def long(training_config, **sections):
    options = {"steps": 100_000, "batch_size": 2, "scheduler_type": "constant"}
    return plan_run(training_config(optimization=options, **sections))


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def test_a_run_trains_to_its_end_and_tells_of_it(manager, training_config):
    told = []
    manager.subscribe(lambda name, event: told.append((name, event)))
    plan = plan_run(training_config())
    job = manager.submit(plan)
    result = job.result()
    assert result.finished
    assert {name for name, _ in told} == {plan.run.name}
    moves = [event.status for _, event in told if isinstance(event, RunStatusChanged)]
    assert moves == ["queued", "running", "finished"]
    assert [e.step for _, e in told if isinstance(e, StepCompleted)] == [1, 2, 3, 4]
    assert current_state(plan.run).status == "finished"
    until(lambda: manager.jobs() == [])


def test_one_trains_and_the_others_wait_their_turn(manager, training_config):
    jobs = [manager.submit(long(training_config, name=name)) for name in ("a", "b", "c")]
    until(lambda: jobs[0].step > 1)
    assert [job.name for job in manager.jobs()] == [job.name for job in jobs]
    assert [manager.position(job.name) for job in jobs] == [0, 1, 2]
    assert [current_state(job.run).status for job in jobs] == ["running", "queued", "queued"]
    manager.stop(jobs[1].name)
    with pytest.raises(Exception, match="before the first step"):
        jobs[1].result()
    manager.stop(jobs[0].name)
    assert jobs[0].result().step >= 1
    until(lambda: jobs[2].step > 0)
    manager.stop(jobs[2].name)
    assert jobs[2].result().step >= 1
    assert [current_state(job.run).status for job in jobs] == ["stopped"] * 3


def test_a_run_that_is_queued_twice_is_one_job(manager, training_config):
    plan = long(training_config)
    job = manager.submit(plan)
    assert manager.submit(plan_run(plan.config)) is job
    with pytest.raises(RunBusyError):
        RunWriter(plan.run).acquire(patience_seconds=0)
    manager.stop(job.name)
    job.wait()


def test_a_paused_run_is_free_and_goes_on_to_the_same_bits(manager, training_config):
    options = {"steps": 12, "batch_size": 2, "gradient_accumulation_steps": 2}
    whole = train(training_config(optimization=options))
    config = training_config(optimization=options, output_dir=str(whole.run_folder.parent) + "2")
    plan = plan_run(config)
    job = manager.submit(plan)
    until(lambda: job.step >= 2)
    manager.pause(job.name)
    until(lambda: job.status == "paused")
    assert current_state(plan.run).status == "paused"
    assert not job.wait(0.05)
    assert manager.position(job.name) is None
    assert 2 <= current_state(plan.run).step < 12
    asked = []
    assert manager.resume(plan.run, before_training=lambda: asked.append(job.step)) is job
    result = job.result()
    assert len(asked) == 1, "room is made before it trains on"
    assert result.finished
    assert tensor_bytes(result.lora_file) == tensor_bytes(whole.lora_file)
    assert [each.step for each in plan.run.metrics()] == list(range(1, 13))


def test_a_paused_run_can_be_stopped(manager, training_config):
    job = manager.submit(long(training_config))
    until(lambda: job.step >= 1)
    manager.pause(job.name)
    until(lambda: job.status == "paused")
    manager.stop(job.name)
    assert job.result().lora_file.is_file()
    assert current_state(job.run).status == "stopped"


def test_a_stopped_run_goes_on_from_its_folder_alone(manager, training_config):
    job = manager.submit(plan_run(training_config(optimization={"steps": 30, "batch_size": 1})))
    until(lambda: job.step >= 1)
    manager.stop(job.name)
    step = job.result().step
    assert step < 30
    until(lambda: manager.find(job.name) is None)
    again = manager.resume(job.run)
    assert again.result().finished
    until(lambda: manager.find(job.name) is None)
    with pytest.raises(LTXVTrainError, match="is finished"):
        manager.resume(job.run)


def test_samples_and_a_checkpoint_now(manager, training_config):
    validation = {
        "prompts": ["a ring"],
        "video_dims": [64, 64, 9],
        "inference_steps": 1,
        "interval": None,
    }
    job = manager.submit(long(training_config, validation=validation))
    events, seen = EventQueue(), []
    job.listeners.add(events)
    until(lambda: job.step >= 1)
    manager.request(job.name, "checkpoint")
    manager.request(job.name, "sample")

    def answered():
        seen.extend(events.drain())
        kinds = [type(event) for event in seen]
        return CheckpointWritten in kinds and SamplesWritten in kinds

    until(answered)
    (samples,) = [event for event in seen if isinstance(event, SamplesWritten)]
    assert samples.sheet.is_file()
    assert job.status == "running"
    manager.stop(job.name)
    job.wait()


def test_what_is_not_here_is_named(manager, training_config):
    for act in (manager.pause, manager.stop, lambda name: manager.request(name, "sample")):
        with pytest.raises(LTXVTrainError, match="'nothing' has no job in this process"):
            act("nothing")


def test_a_failing_run_is_parked_and_the_next_one_trains(
    manager, training_config, stripes_data, tmp_path
):
    shutil.copytree(stripes_data, tmp_path / "data")
    wrong = plan_run(training_config(tmp_path / "data", name="wrong"))
    right = plan_run(training_config(name="right"))
    for latents in (tmp_path / "data/latents").rglob("*.safetensors"):
        latents.unlink()
    first, second = manager.submit(wrong), manager.submit(right)
    with pytest.raises(LTXVTrainError, match=r"latents.*preprocess again"):
        first.result()
    assert second.result().finished
    state = current_state(wrong.run)
    assert (state.status, state.cause.kind) == ("failed", "data")


@pytest.mark.parametrize("error", [RunBusyError("another has it"), OSError("no space")])
def test_the_queue_goes_on_when_a_run_can_not(manager, training_config, monkeypatch, error):
    """Somebody takes the run, or the disk is full, between its pause and its going on."""
    first, second = (manager.submit(long(training_config, name=name)) for name in ("a", "b"))
    until(lambda: first.step >= 1)

    def refuse(*_):
        raise error

    monkeypatch.setattr(first.writer, "acquire", refuse)
    manager.pause(first.name)
    manager.resume(first.run)
    with pytest.raises(type(error), match=str(error)):
        first.result()
    assert manager.find(first.name) is None
    assert current_state(first.run).status == "paused"
    until(lambda: second.step >= 1)
    manager.stop(second.name)
    second.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is Linux's")
def test_a_waiting_run_can_be_stopped_on_a_full_disk(manager, training_config):
    import resource

    jobs = [manager.submit(long(training_config, name=name)) for name in ("a", "b")]
    until(lambda: jobs[0].step >= 1)
    kind = resource.RLIMIT_FSIZE
    limits = resource.getrlimit(kind)
    resource.setrlimit(kind, (0, limits[1]))
    try:
        manager.stop(jobs[1].name)
    finally:
        resource.setrlimit(kind, limits)
    with pytest.raises(Exception, match="before the first step"):
        jobs[1].result()
    assert manager.find(jobs[1].name) is None
    RunWriter(jobs[1].run).acquire(patience_seconds=0).release()


def test_shutting_down_pauses_all(manager, training_config):
    jobs = [manager.submit(long(training_config, name=name)) for name in ("a", "b")]
    until(lambda: jobs[0].step >= 1)
    manager.shut_down()
    assert [current_state(job.run).status for job in jobs] == ["paused", "paused"]
    assert jobs[0].run.lora_file(jobs[0].step).is_file()


@pytest.mark.kills
def test_the_end_of_the_program_pauses_what_it_trains(training_config, tmp_path):
    config = training_config(
        optimization={"steps": 100_000, "batch_size": 1}, data={"num_dataloader_workers": 2}
    )
    yaml_file.save(config, tmp_path / "config.yaml")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ltxv_train_core.config import yaml_file\n"
        "from ltxv_train_core.jobs import JobManager\n"
        "from ltxv_train_core.training.run_plan import plan_run\n"
        "manager = JobManager(); manager.pause_at_exit()\n"
        "job = manager.submit(plan_run(yaml_file.load(Path(sys.argv[1]))))\n"
        "while job.step < 3: time.sleep(0.01)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "config.yaml")], cwd=ROOT, check=False
    )
    assert ran.returncode == 0
    run = plan_run(config).run
    state = current_state(run)
    assert state.status == "paused"
    assert state.step == run.last_step() >= 3


def test_a_listener_that_fails_disturbs_nobody(caplog):
    told: list[str] = []

    def fails(text: str) -> None:
        raise RuntimeError(text)

    listeners: Listeners[str] = Listeners()
    listeners.add(fails)
    remove = listeners.add(told.append)
    listeners("one")
    remove()
    listeners("two")
    assert told == ["one"]
    assert caplog.text.count("a listener failed") == 2
