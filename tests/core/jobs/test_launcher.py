"""The launcher that this machine's user names."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ltxv_train_core import permissions
from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import NeverStop, StepCompleted
from ltxv_train_core.jobs import subprocess_trainer
from ltxv_train_core.models.device import use_device
from ltxv_train_core.permissions import CommandLine, GrantFile
from ltxv_train_core.permissions.launcher import launcher_profile
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train

SRUN = """#!{python}
import os, subprocess, sys
nodes = int(sys.argv[1].removeprefix("--nodes="))
tasks = [
    subprocess.Popen(
        sys.argv[2:],
        env=os.environ | {{"SLURM_PROCID": str(number), "SLURM_NTASKS": str(nodes)}},
    )
    for number in range(nodes)
]
sys.exit(max(abs(task.wait()) for task in tasks))
"""
"""As SLURM's, on one machine: each task runs the command, with its number in the environment."""

RECORDS = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(chr(10).join(sys.argv[2:]))"


@pytest.fixture
def write(tmp_path):
    """Writes the profile of this machine."""
    before = permissions.policy()
    permissions.use(CommandLine(GrantFile(tmp_path / "allowed.json")))

    def written(value):
        (tmp_path / "launcher.json").write_text(json.dumps(value), encoding="utf-8")

    yield written
    permissions.use(before)


def test_without_a_profile_this_program_has_its_own_launcher(write):
    assert launcher_profile() is None


@pytest.fixture
def torchrun():
    """The words by which each of two machines starts a process; both are this one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
        *("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"),
    ]


def options_of(batch_size: int) -> dict:
    return {"batch_size": batch_size, "steps": 3, "learning_rate": 1e-3}


@pytest.mark.kills
@pytest.mark.skipif(sys.platform == "win32", reason="a script is a program by its first line")
def test_srun_starts_a_run_on_two_machines(write, training_config, tmp_path, monkeypatch, torchrun):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN.format(python=sys.executable), encoding="utf-8")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    write({"command": ["srun", "--nodes={processes}", *torchrun]})
    config, told = training_config(optimization=options_of(1)), []
    ran = subprocess_trainer.train_in_subprocess(config, told.append, NeverStop(), processes=2)
    assert ran.finished
    alone = training_config(output_dir=str(tmp_path / "alone"), optimization=options_of(2))
    expected = RunFolder(train(alone).run_folder).metrics()
    losses = [each.loss for each in RunFolder(ran.run_folder).metrics()]
    assert losses == pytest.approx([each.loss for each in expected], abs=1e-4)
    assert [e.step for e in told if isinstance(e, StepCompleted)] == [1, 2, 3]


@pytest.mark.kills
def test_two_machines_are_started_by_hand(training_config, tmp_path, torchrun):
    """The same command on each; they preprocess nothing and share the folder of the run."""
    config = training_config(optimization=options_of(1))
    file = tmp_path / "config.yaml"
    yaml_file.save(config, file)
    command = [*torchrun, "-m", "ltxv_train_core", "train", str(file)]
    root = str(Path(subprocess_trainer.__file__).parents[2])
    machines = [
        subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": root, "LTXV_TRAIN_DEVICE": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=240)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    run = plan_run(config, processes=2).run
    assert run.is_finished()
    assert sum(str(run.lora_file(3)) in each for each in said) == 1, (
        "the first process alone says it"
    )


def test_the_profile_starts_the_processes(write, training_config, tmp_path, monkeypatch):
    said = tmp_path / "said.txt"
    write({"command": [sys.executable, "-c", RECORDS, str(said), "--ntasks={processes}"]})
    use_device(torch.device("cuda"))
    try:
        plan = plan_run(training_config(), processes=3)
    finally:
        use_device(None)
    assert plan.state.processes == 3, "other machines may have what this one lacks"
    with pytest.raises(RunFailedError, match="gave no reason"):
        subprocess_trainer.train_in_subprocess(
            training_config(), lambda event: None, NeverStop(), processes=3
        )
    assert said.read_text().splitlines() == [
        "--ntasks=3",
        str(subprocess_trainer.WORKER),
        str(plan.run.folder),
    ]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"command": []}, "command"),
        ({"host": "x"}, "command"),
        ({"command": ["srun"], "shell": True}, "shell"),
        ([], "the file"),
    ],
)
def test_what_is_no_profile_is_said(write, value, named):
    write(value)
    with pytest.raises(ConfigurationError, match=rf"launcher\.json: {named}: .*expected an object"):
        launcher_profile()
