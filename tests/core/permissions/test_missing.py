"""What is said of paths that lead to nothing."""

import os
from pathlib import Path

import pytest

from ltxv_train_core import permissions
from ltxv_train_core.permissions import Canvas, GrantFile, Places, no_such_path


def test_names_that_are_nearly_so_are_told(tmp_path):
    for name in ("clip_1.mp4", "clip_2.mp4", "clip_3.mp4", "clip_4.mp4", "readme.txt"):
        (tmp_path / name).touch()
    line = no_such_path(tmp_path / "clip_l.mp4")
    assert line.startswith(f"{tmp_path / 'clip_l.mp4'}: no such file. In that folder is ")
    assert line.count(".mp4") == 4, "the path and three others"
    assert "readme" not in line


def test_nothing_is_alike(tmp_path):
    (tmp_path / "readme.txt").touch()
    assert no_such_path(tmp_path / "x.mp4", "folder") == f"{tmp_path / 'x.mp4'}: no such folder"


def test_the_folder_that_is_missing_is_told(tmp_path):
    path = tmp_path / "clips" / "day" / "a.mp4"
    assert no_such_path(path) == (
        f"{path}: no such file, because there is no folder {tmp_path / 'clips'}"
    )


def test_a_folder_that_may_not_be_read_is_not_listed(tmp_path):
    (tmp_path / "secret_1.mp4").touch()
    missing = tmp_path / "secret_2.mp4"
    nowhere = Places(written=(), models=(), made=())
    permissions.use(Canvas(GrantFile(tmp_path / "allowed.json"), lambda: nowhere, set()))
    try:
        assert no_such_path(missing) == f"{missing}: no such file"
    finally:
        permissions.use(None)


@pytest.mark.skipif(os.sep == "\\", reason="there these paths lead somewhere")
@pytest.mark.parametrize(
    "written", [r"D:\My Clips\data.csv", "d:/clips", r"\\server\share\clips.csv"]
)
def test_a_path_of_windows_is_told_as_one(tmp_path, written):
    for path in (Path(written), tmp_path / written):
        line = no_such_path(path, "file or folder")
        assert line.startswith(f"{written}: no such file or folder: this is a path of Windows")
    assert "Windows" not in no_such_path(tmp_path / "a: b")
