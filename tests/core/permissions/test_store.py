"""allowed.json: what is in it, and what a damaged one is worth."""

import json
from pathlib import Path

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ltxv_train_core.permissions import GrantFile, Grants, Upload, default_file


@pytest.fixture
def file(tmp_path) -> GrantFile:
    return GrantFile(tmp_path / "user" / "allowed.json")


def everything(folder: Path) -> Grants:
    return Grants(
        (str(folder),), ("a/b",), (Upload("ada"), Upload("ada/rings", "public")), ("ada", "(own)")
    )


def test_what_is_allowed_is_there_for_others(file, tmp_path):
    file.add(everything(tmp_path))
    file.add(Grants(downloads=("a/b", "c/d")))
    again = GrantFile(file.path).read()
    assert again == everything(tmp_path) + Grants(downloads=("c/d",))
    assert json.loads(file.path.read_text()) == {
        "version": 1,
        "folders": [str(tmp_path)],
        "downloads": ["a/b", "c/d"],
        "uploads": [
            {"to": "ada", "visibility": "private"},
            {"to": "ada/rings", "visibility": "public"},
        ],
        "entities": ["ada", "(own)"],
    }
    assert file.remove(everything(tmp_path)) == Grants(downloads=("c/d",))


def test_a_change_by_another_program_is_seen(file, tmp_path):
    assert file.read() == Grants()
    GrantFile(file.path).add(Grants(entities=("ada",)))
    assert file.read() == Grants(entities=("ada",))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1, "folders": "/"}',
        '{"version": 1, "folders": [1]}',
        '{"version": 1, "uploads": ["ada"]}',
        '{"version": 1, "uploads": [{"to": "ada", "visibility": "all"}]}',
        '{"version": 1, "entities": [""]}',
        '{"version": 1, "everything": true}',
        '{"version": 1, "downloads": ["*"]}',
    ],
)
def test_a_damaged_file_allows_nothing_and_is_kept(file, content):
    file.path.parent.mkdir()
    file.path.write_text(content)
    assert file.read() == Grants()
    with pytest.raises(LTXVTrainError, match="is damaged"):
        file.add(Grants(entities=("ada",)))
    assert file.path.read_text() == content


@pytest.mark.parametrize("folder", ["/", "relative", "", "/no/such/folder", "nu\0ll"])
def test_a_whole_drive_and_what_is_no_folder_are_refused(file, folder):
    with pytest.raises(ConfigurationError):
        file.add(Grants(folders=(folder,)))
    assert file.read() == Grants()


def test_a_link_is_allowed_as_what_it_leads_to(file, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "clips")
    assert file.add(Grants(folders=(str(tmp_path / "link"),))).folders == (str(tmp_path / "clips"),)


def test_the_command_allows_lists_and_takes_back(tmp_path, capsys):
    base = ["allow", "--comfyui", str(tmp_path)]
    (tmp_path / "clips").mkdir()
    named = ["--folder", str(tmp_path / "clips"), "--upload", "ada", "--public"]
    named += ["--download", "a/b", "--entity", "(own)"]
    assert main([*base, *named]) == 0
    file = default_file(tmp_path)
    assert file == tmp_path / "user" / "__ltxv_train" / "allowed.json"
    assert GrantFile(file).read() == Grants(
        (str(tmp_path / "clips"),), ("a/b",), (Upload("ada", "public"),), ("(own)",)
    )
    capsys.readouterr()
    assert main(base) == 0
    assert "upload    ada (public or private)" in capsys.readouterr().out
    assert main([*base, *named, "--remove"]) == 0
    assert GrantFile(file).read() == Grants()
    assert main([*base, "--upload", "../x"]) == 2
