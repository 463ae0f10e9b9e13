"""What a canvas may read, write and send, with real folders and links."""

import os
from pathlib import Path

import pytest

from ltxv_train_core import permissions
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.permissions import (
    Ask,
    Canvas,
    CommandLine,
    GrantFile,
    Grants,
    NotAllowedError,
    Places,
    Upload,
)
from ltxv_train_core.permissions.policy import is_of_network


@pytest.fixture
def base(tmp_path) -> Path:
    for name in ("input/clips", "output", "models/loras/ltxv_train", "elsewhere/deep"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def canvas(base) -> Canvas:
    places = Places(
        written=(str(base / "input"), str(base / "output")),
        models=(str(base / "models"),),
        made=(str(base / "models/loras/ltxv_train"),),
    )
    return Canvas(GrantFile(base / "user/allowed.json"), lambda: places, {"Lightricks/LTX-Video"})


def refused(action, *arguments) -> Ask:
    with pytest.raises(NotAllowedError) as error:
        action(*arguments)
    return error.value.ask


def test_comfyuis_folders_are_read_and_written_without_asking(base, canvas):
    for name in ("input", "input/clips/a.mp4", "output/ltxv_train/run"):
        canvas.require_read(base / name)
        canvas.require_write(base / name)
    canvas.require_read(base / "models/checkpoints/base.safetensors")
    canvas.require_write(base / "models/loras/ltxv_train/new.safetensors")


@pytest.mark.parametrize("name", ["models/loras/mine.safetensors", "models", "input2/a", ""])
def test_other_places_are_not_written(base, canvas, name):
    refused(canvas.require_write, base / name)


def test_what_would_be_allowed_is_the_folder(base, canvas):
    deep = base / "elsewhere/deep"
    assert refused(canvas.require_read, deep) == Ask("folders", str(deep))
    assert refused(canvas.require_read, deep / "a.csv") == Ask("folders", str(deep))


def test_a_path_that_goes_up_is_where_it_leads(base, canvas):
    refused(canvas.require_read, base / "input/../elsewhere/a")
    refused(canvas.require_write, base / "input/clips/../../elsewhere/a")
    canvas.require_read(base / "elsewhere/../input/a")


def test_a_link_is_where_it_leads_but_among_the_models(base, canvas):
    (base / "input/out").symlink_to(base / "elsewhere")
    (base / "models/big.safetensors").symlink_to(base / "elsewhere/big.safetensors")
    refused(canvas.require_read, base / "input/out/a.png")
    refused(canvas.require_write, base / "input/out/deep/a.png")
    canvas.require_read(base / "models/big.safetensors")
    (base / "models/loras/ltxv_train/up").symlink_to(base / "elsewhere")
    refused(canvas.require_write, base / "models/loras/ltxv_train/up/a")


def test_an_allowed_folder_is_read_and_written_with_all_in_it(base, canvas):
    canvas.grants.add(Grants(folders=(str(base / "elsewhere"),)))
    canvas.require_read(base / "elsewhere/deep/a.mp4")
    canvas.require_write(base / "elsewhere/.precomputed")
    canvas.grants.remove(Grants(folders=(str(base / "elsewhere"),)))
    refused(canvas.require_read, base / "elsewhere/deep/a.mp4")


def test_a_null_character_is_an_error_of_ours(canvas):
    with pytest.raises(LTXVTrainError, match="null character"):
        canvas.require_read(Path("a\0b"))


@pytest.mark.parametrize("path", [r"\\host\share\a", "//host/share/a", r"\\.\PhysicalDrive0"])
def test_a_network_path_is_known_without_looking(path):
    assert is_of_network(path, windows=True)
    assert not is_of_network(path, windows=False)
    assert not is_of_network(r"C:\a", windows=True)


def test_only_named_and_allowed_repositories_are_downloaded(canvas):
    canvas.require_download("Lightricks/LTX-Video")
    assert refused(canvas.require_download, "mallory/x") == Ask("downloads", "mallory/x")
    canvas.grants.add(Grants(downloads=("mallory/x",)))
    canvas.require_download("mallory/x")


def test_nothing_leaves_but_to_where_it_was_allowed(canvas):
    assert not canvas.may_upload("ada/rings", private=True)
    assert not canvas.may_log_to(None)
    canvas.grants.add(
        Grants(uploads=(Upload("ada"), Upload("team/x", "public")), entities=("ada",))
    )
    assert canvas.may_upload("ada/rings", private=True)
    assert not canvas.may_upload("ada/rings", private=False)
    assert not canvas.may_upload("adam/rings", private=True)
    assert canvas.may_upload("team/x", private=False)
    assert not canvas.may_upload("team/y", private=True)
    assert canvas.may_log_to("ada")
    assert not canvas.may_log_to(None)


def test_on_a_command_line_paths_are_consent_and_sending_is_not(base):
    line = CommandLine(GrantFile(base / "allowed.json"))
    line.require_read(base / "elsewhere")
    line.require_write(base / "elsewhere")
    assert not line.may_upload("ada/rings", private=True)
    assert CommandLine(line.grants, leaves=True).may_upload("ada/rings", private=False)


def test_a_process_that_works_for_a_canvas_has_its_policy(base, canvas, monkeypatch):
    permissions.use(canvas)
    try:
        for name, value in permissions.environment().items():
            monkeypatch.setenv(name, value)
        permissions.use(None)
        permissions.join()
        joined = permissions.policy()
        canvas.grants.add(Grants(folders=(str(base / "elsewhere/deep"),)))
        joined.require_read(base / "elsewhere/deep/a")
        refused(joined.require_read, base / "elsewhere/a")
        joined.require_download("Lightricks/LTX-Video")
        assert refused(joined.require_download, "mallory/x").value == "mallory/x"
    finally:
        permissions.use(None)


def test_one_that_works_for_a_command_line_too(base, monkeypatch):
    permissions.use(CommandLine(GrantFile(base / "allowed.json"), leaves=True))
    try:
        for name, value in permissions.environment().items():
            monkeypatch.setenv(name, value)
        permissions.use(None)
        permissions.join()
        assert permissions.policy().may_log_to("ada")
    finally:
        permissions.use(None)


def test_folders_of_the_environment_are_allowed(base, canvas, monkeypatch):
    folders = os.pathsep.join([str(base / "elsewhere/deep"), ""])
    monkeypatch.setenv("LTXV_TRAIN_ALLOW", folders)
    canvas.require_read(base / "elsewhere/deep/a")
    refused(canvas.require_read, base / "elsewhere/a")
