"""Whenever the system refuses to write: a named cause, a true state, and the same bytes later."""

import errno
import itertools
import os
import shutil
from pathlib import Path

import pytest

from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunLibrary
from ltxv_train_core.storage.atomic import sha256_file
from ltxv_train_core.training.trainer import train
from tests.helpers.disk_faults import files_of_at_most, refused

KINDS = {
    errno.ENOSPC: "disk_full",
    errno.EIO: "disk_error",
    errno.EROFS: "read_only",
    errno.EMFILE: "too_many_files",
}


def cases(sample, **choices):
    """A full disk at a sample of writes by default. With `-m kills` at every write, and each other
    fault at every ninth one."""
    first = [values[0] for values in choices.values()]
    every = [(errno.ENOSPC, itertools.count(1), *first)]
    every += [
        (number, itertools.count(start, 9), *chosen)
        for start, number in enumerate(KINDS, 1)
        for chosen in itertools.product(*choices.values())
    ]
    marked = [pytest.param(*case, marks=pytest.mark.kills) for case in every]
    names = ",".join(["number", "firsts", *choices])
    return pytest.mark.parametrize(names, [(errno.ENOSPC, sample, *first), *marked])


def contents(folder: Path) -> dict[str, str]:
    """The hashes of the files in a folder, without the times at which media were looked at."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "files.json"
    }


def ending(action, number: int) -> str:
    """How it ended: "failed" with one line that names the fault, or "finished"."""
    try:
        action()
    except LTXVTrainError as error:
        text = str(error)
    else:
        return "finished"
    assert os.strerror(number) in text
    assert "\n" not in text
    return "failed"


def short(training_config, folder: Path):
    return training_config(
        output_dir=str(folder),
        optimization={"steps": 2, "ema_decay": 0.9},
        checkpoints={"interval": 1, "write_kohya": True},
    )


@pytest.fixture(scope="module")
def undisturbed():
    """The files that are handed out by the run that nothing disturbs."""
    return {}


@cases([1, 4, 9, 20, 40, 1000], once=[False, True])
def test_a_run_that_may_not_write_comes_to_the_same_bytes(
    training_config, tmp_path, number, firsts, once, undisturbed, caplog
):
    if not undisturbed:
        result = train(short(training_config, tmp_path / "whole"))
        undisturbed.update(contents(result.lora_file.parent))
    ended = []
    for first in firsts:
        folder = tmp_path / f"runs{first}"
        config = short(training_config, folder)
        with refused(folder, number, first, once) as fault:
            ended.append(ending(lambda: train(config), number))  # noqa: B023
        assert "Traceback" not in caplog.text
        assert once or ended[-1] == ("failed" if fault.has_struck else "finished"), first
        if not fault.has_struck:
            break
        library = RunLibrary(folder)
        for run in library.runs():
            state = library.summary(run).state
            assert state.status == ended[-1] or (state.status, state.step) == ("stopped", 0), first
            told = [KINDS[number]] if once else [KINDS[number], "crashed"]
            assert state.cause is None or state.cause.kind in told, first
        result = train(config)
        assert result.finished
        assert contents(result.lora_file.parent) == undisturbed, first
        assert list(folder.rglob("*.part*")) == []
        shutil.rmtree(folder)
    assert ended[-1] == "finished"
    print(f"{len(ended) - 1} of {fault.writes} writes were refused")


@pytest.mark.parametrize("size", [1, 3_000, 30_000, 100_000, 140_000])
def test_a_run_whose_disk_is_full_in_the_middle_of_a_file(training_config, tmp_path, size, caplog):
    """Also of those that torch and FFmpeg write, which end with errors of their own."""
    config = short(training_config, tmp_path / "whole")
    expected = contents(train(config).lora_file.parent)
    config = short(training_config, tmp_path / "runs")
    with files_of_at_most(size):
        assert ending(lambda: train(config), errno.EFBIG) == "failed"
    assert "Traceback" not in caplog.text
    library = RunLibrary(tmp_path / "runs")
    for run in library.runs():
        assert library.summary(run).state.cause.kind in ("disk_full", "crashed")
    result = train(config)
    assert contents(result.lora_file.parent) == expected
    assert list((tmp_path / "runs").rglob("*.part*")) == []


@cases([1, 4, 10, 20, 1000])
def test_preprocessing_that_may_not_write_comes_to_the_same_bytes(tmp_path, number, firsts):
    source = generate("mirror", tmp_path / "clips", clips=2).metadata

    def prepare(folder: Path):
        return preprocess(
            PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9", output_dir=folder)
        )

    expected = contents(prepare(tmp_path / "whole").root)
    ended = []
    for first in firsts:
        folder = tmp_path / f"data{first}"
        with refused(folder, number, first) as fault:
            ended.append(ending(lambda: prepare(folder), number))  # noqa: B023
        assert ended[-1] == ("failed" if fault.has_struck else "finished"), first
        if not fault.has_struck:
            break
        assert prepare(folder).skipped == ()
        assert contents(folder) == expected, first
    assert ended[-1] == "finished"
    print(f"{len(ended) - 1} of {fault.writes} writes were refused")


@pytest.mark.parametrize("number", list(KINDS))
def test_tools_that_may_not_write_leave_nothing(training_config, tmp_path, number):
    lora = train(short(training_config, tmp_path / "runs")).lora_file
    base = export(tmp_path / "base.safetensors")
    output = tmp_path / "out" / "made.safetensors"
    tools = {
        "convert": lambda: convert_lora(lora, "kohya", output),
        "resize": lambda: resize_lora(lora, output, rank=2),
        "merge": lambda: merge_lora(base, lora, output),
    }
    for name, tool in tools.items():
        for first in itertools.count(1):
            with refused(output.parent, number, first) as fault:
                ending(tool, number)
            assert fault.has_struck != output.exists(), (name, first)
            if not fault.has_struck:
                break
            assert not output.parent.exists() or list(output.parent.iterdir()) == []
        output.unlink()
