"""Files of somebody else stay as they are."""

import json

import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.permissions import Ledger, write_own


def test_an_empty_folder_is_taken_and_one_with_files_is_not(tmp_path):
    Ledger(tmp_path / "new").claim()
    assert (tmp_path / "new/.ltxv_train.json").is_file()
    Ledger(tmp_path / "new").claim()
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").touch()
    with pytest.raises(DataError, match=r"not written, such as index\.html"):
        Ledger(tmp_path / "site").claim()
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    (tmp_path / "mac").mkdir()
    (tmp_path / "mac/.DS_Store").touch()
    Ledger(tmp_path / "mac").claim()


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    path = tmp_path / "package.json"
    path.write_text("{}")
    with pytest.raises(DataError, match="has not written it"):
        write_own(path, "[]")
    assert path.read_text() == "{}"
    assert write_own(tmp_path / "ours.json", "[1]").read_text() == "[1]"
    assert write_own(tmp_path / "ours.json", "[2]").read_text() == "[2]"
    assert json.loads((tmp_path / ".ltxv_train.json").read_text())["files"] == ["ours.json"]


def test_a_link_in_the_place_of_a_file_is_not_written_through(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "a.json").symlink_to(tmp_path / "target")
    with pytest.raises(DataError):
        write_own(tmp_path / "a.json", "[]")
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize(
    "name", ["../out", "/etc/x", "a/../../x", r"..\x", "C:x", "a\0", "", 3, None, ["x"]]
)
def test_names_that_lead_out_are_none(tmp_path, name):
    ledger = {"version": 1, "files": [name, "inside/a"]}
    (tmp_path / ".ltxv_train.json").write_text(json.dumps(ledger))
    assert Ledger(tmp_path).files == {"inside/a"}


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2, "files": []}', '{"version": 1}'])
def test_a_damaged_ledger_is_none(tmp_path, content):
    (tmp_path / ".ltxv_train.json").write_text(content)
    with pytest.raises(DataError, match="not written"):
        Ledger(tmp_path).claim()


def test_a_link_that_leads_out_is_told(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/latents").symlink_to(tmp_path)
    ledger = Ledger(tmp_path / "set")
    with pytest.raises(DataError, match="leads out of"):
        ledger.path("latents/a.safetensors")
    assert ledger.path("a.safetensors") == tmp_path / "set/a.safetensors"


def test_only_unfinished_files_of_ours_are_removed(tmp_path):
    """Also those that safetensors 0.8 left for earlier versions, by their name and their head."""
    Ledger(tmp_path).add(["latents/a.mp4.safetensors", "index.json"])
    head = (16).to_bytes(8, "little") + b'{"__metadata__":{'
    ours = {
        "latents/.a.mp4.0123abcd.part.safetensors": b"torn",
        ".index.0123abcd.part.json": b"",
        "latents/.tmpAb3dE9": head[:12],
        "latents/.tmp000000": b"",
    }
    theirs = {
        "latents/.b.0123abcd.part.safetensors": b"of somebody else",
        "latents/.tmpnotes": b"",
        "latents/.tmpAb3dE8": b"a text of somebody",
        ".tmpAb3dE9": head,
        "notes/.tmpAb3dE9": head,
        ".a.part": b"",
    }
    for name, content in (ours | theirs).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = {path.relative_to(tmp_path).as_posix() for path in Ledger(tmp_path).unfinished()}
    assert found == set(ours)
