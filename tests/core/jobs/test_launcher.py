"""The launcher that this machine's user names."""

import json
import sys

import pytest
import torch

from ltxv_train_core import permissions
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import NeverStop
from ltxv_train_core.jobs import subprocess_trainer
from ltxv_train_core.models.device import use_device
from ltxv_train_core.permissions import CommandLine, GrantFile
from ltxv_train_core.permissions.launcher import launcher_profile
from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.training.run_plan import plan_run

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
