"""Files appear whole or not at all, also where Windows refuses for a while."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ltxv_train_core.storage import atomic
from ltxv_train_core.storage.atomic import append_text, atomic_folder, atomic_path
from ltxv_train_core.storage.faults import DiskError


@pytest.fixture
def windows(monkeypatch):
    """Waits as on Windows, without waiting."""
    monkeypatch.setattr(atomic, "os", SimpleNamespace(**vars(os) | {"name": "nt"}))
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: None)


def refusing(monkeypatch, method: str, path: Path, times: int) -> list[Path]:
    """Lets a method of paths refuse so many times; returns what it has refused."""
    real, refused = getattr(Path, method), []

    def refuse(self, *arguments, **options):
        if self == path and len(refused) < times:
            refused.append(self)
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, method, refuse)
    return refused


def fail_after_half(path: Path, number: int) -> None:
    path.write_text("half", encoding="utf-8")
    raise OSError(number, os.strerror(number))


def test_an_append_waits_for_who_reads_the_file(windows, monkeypatch, tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_text(path, "1\n")
    refused = refusing(monkeypatch, "open", path, times=3)
    append_text(path, "2\n")
    assert len(refused) == 3
    assert path.read_bytes() == b"1\n2\n"


def test_a_folder_that_somebody_reads_stays_whole(windows, monkeypatch, tmp_path):
    path = tmp_path / "000002"
    path.mkdir()
    (path / "state.pt").write_text("old", encoding="utf-8")
    refusing(monkeypatch, "replace", path, times=1000)
    with (
        pytest.raises(DiskError, match="000002: can't be written: it may not be written there"),
        atomic_folder(path) as folder,
    ):
        (folder / "state.pt").write_text("new", encoding="utf-8")
    assert (path / "state.pt").read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "000002"
    for content in ("old", "new"):
        with atomic_folder(path) as folder:
            (folder / content).touch()
    assert [each.name for each in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EFBIG, "the disk is full"),
        (errno.EIO, "the disk fails"),
        (errno.EROFS, "it may not be written there"),
        (errno.EMFILE, "too many files are open"),
    ],
)
def test_faults_are_named_with_their_file_and_what_to_do(tmp_path, number, words):
    path = tmp_path / "a.json"
    with pytest.raises(DiskError) as caught, atomic_path(path) as temporary:
        fail_after_half(temporary, number)
    assert str(caught.value).startswith(f"{path}: can't be written: {words}")
    assert "then start again: finished work stays on disk" in str(caught.value)
    assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        (tmp_path / "missing").read_text(encoding="utf-8")
