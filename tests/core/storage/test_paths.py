"""Paths as people write them."""

import os
from pathlib import Path

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.storage.paths import as_path, from_either_system


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_in_options_and_metadata(home):
    assert as_path("~/clips") == home / "clips"
    assert as_path(' "~/my clips" ') == home / "my clips"
    assert as_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert as_path("a~b/~") == Path("a~b/~")

    settings = PreprocessSettings("~/in", "LTXV_MINIATURE", "64x64x9", "~/out")
    assert (settings.source, settings.root) == (home / "in", home / "out")
    (home / "a.mp4").touch()
    (home / "sub").mkdir()
    (home / "sub/list.csv").write_text("caption,media_path\none,~/a.mp4\ntwo,~\\a.mp4\n")
    clips = read_manifest(home / "sub/list.csv").clips
    assert [clip.media for clip in clips] == [home / "a.mp4", home / "a.mp4"]


def test_the_command_line_knows_the_home_in_every_path(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main(["generate", "plain", "--output", "~/demo", "--clips", "1"]) == 0
    assert (home / "demo/dataset.json").is_file()
    assert main(["runs", "list", "--in", "~/runs"]) == 0
    assert not (home / "~").exists()


def test_paths_of_windows_lead_to_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.csv").touch()
    written = Path("clips\\a.csv")
    assert (tmp_path / from_either_system(written, tmp_path)).is_file()
    assert from_either_system(Path("clips/a.csv"), tmp_path) == Path("clips/a.csv")
    # What is nowhere is named as it was written.
    assert from_either_system(Path("C:\\clips\\a.csv"), tmp_path) == Path("C:\\clips\\a.csv")
    if os.sep == "/":
        # A file whose name has a backslash is meant where there is one.
        (tmp_path / "clips\\a.csv").touch()
        assert from_either_system(written, tmp_path) == written
