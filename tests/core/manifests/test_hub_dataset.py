"""Data sets of the Hub, by the real client, from a Hub on this machine."""

import json
import threading
from pathlib import Path

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import Cancelled, DataError, ModelError
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.manifests.hub_dataset import folder_name, is_hub_name, with_hub_source
from ltxv_train_core.manifests.manifest import Columns, read_manifest
from ltxv_train_core.models.sources.hub_download import DATASET_PHASE
from tests.helpers.hub_server import HubServer, Repository

NAME = "ada/squish"
KEY = f"datasets/{NAME}"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three clips, their metadata as the Hub's video folders have it, and what nobody needs."""
    folder = tmp_path_factory.mktemp("made")
    made = generate("plain", folder, clips=3, seed=2)
    clips = read_manifest(made.metadata).clips
    rows = [{"file_name": f"videos/{c.media.name}", "text": c.captions[0]} for c in clips]
    return {
        **{f"videos/{clip.media.name}": clip.media.read_bytes() for clip in clips},
        "train/metadata.jsonl": b"",
        "metadata.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "dataset_infos.json": b'{"features": {}}',
        "squish.py": b"raise SystemExit",
        "data/part-0.parquet": b"x" * 1000,
        "../escape.mp4": b"x",
        ".hidden/a.mp4": b"x",
    }


def settings(**options):
    return PreprocessSettings(
        **{
            "source": Path(NAME),
            "model_source": "LTXV_MINIATURE",
            "resolution_buckets": "96x96x17",
            **options,
        }
    )


def clips_of(found):
    return read_manifest(found.source, Columns.of(found)).clips


def test_media_and_metadata_are_downloaded_once(hub, files, tmp_path):
    hub.repositories[KEY] = Repository(False, dict(files))
    folder, told = tmp_path / folder_name(NAME), []
    found = with_hub_source(settings(), NAME, folder, told.append)
    assert found.source == folder / "metadata.jsonl"
    assert (found.video_column, found.caption_column) == ("file_name", "text")
    clips = clips_of(found)
    assert len(clips) == 3
    assert all(clip.media.is_relative_to(folder / "videos") for clip in clips)
    got = {
        c.split("/resolve/main/")[1] for c in hub.calls if c.startswith("GET") and "resolve" in c
    }
    videos = {name for name in files if name.startswith("videos/")}
    wanted = {"metadata.jsonl", "train/metadata.jsonl", "dataset_infos.json"} | videos
    assert got == {name for name in wanted if files[name]} | ({"train/metadata.jsonl"} & got)
    assert not list(tmp_path.glob("escape*"))
    steps = [event for event in told if isinstance(event, Progress)]
    assert {step.phase for step in steps} == {DATASET_PHASE}
    total = sum(len(files[name]) for name in wanted)
    assert (steps[-1].done, steps[-1].total) == (total, total)
    calls = len(hub.calls)
    assert with_hub_source(settings(), NAME, folder) == found
    assert len(hub.calls) == calls, "all of it is there"
    (folder / "metadata.jsonl").unlink()
    assert with_hub_source(settings(), NAME, folder) == found
    assert len(hub.calls) > calls, "what was deleted comes again"


def test_our_columns_come_first_and_named_ones_alone(hub, files, tmp_path):
    row = {"media_path": "v.mp4", "caption": "ours", "file_name": "v.mp4", "text": "theirs"}
    clip = next(content for name, content in files.items() if name.startswith("videos/"))
    content = {"v.mp4": clip, "list.json": json.dumps([row]).encode()}
    hub.repositories[KEY] = Repository(False, content)
    (found,) = clips_of(with_hub_source(settings(), NAME, tmp_path / "a"))
    assert found.captions == ("ours",)
    named = settings(caption_column="text", video_column="file_name")
    (found,) = clips_of(with_hub_source(named, NAME, tmp_path / "b"))
    assert found.captions == ("theirs",)


def test_captions_beside_the_videos_need_no_metadata(hub, files, tmp_path):
    clip = next(content for name, content in files.items() if name.startswith("videos/"))
    hub.repositories[KEY] = Repository(False, {"v/a.mp4": clip, "v/a.txt": b"a cat"})
    found = with_hub_source(settings(), NAME, tmp_path / "folder")
    assert found.source == tmp_path / "folder"
    assert [clip.captions for clip in clips_of(found)] == [("a cat",)]


def test_a_cancelled_download_resumes(hub, files, tmp_path):
    large = {
        "big.mp4": bytes(range(256)) * 100_000,
        "metadata.csv": b"media_path,caption\nbig.mp4,x\n",
    }
    hub.repositories[KEY] = Repository(False, large)
    stop, folder = threading.Event(), tmp_path / "folder"

    def stop_soon(event):
        if isinstance(event, Progress) and event.done > 2_000_000:
            stop.set()

    with pytest.raises(Cancelled):
        with_hub_source(settings(), NAME, folder, stop_soon, stop)
    assert not (folder / "big.mp4").exists()
    before = len(hub.calls)
    with_hub_source(settings(), NAME, folder)
    assert not [c for c in hub.calls[before:] if c.startswith("GET") and c.endswith("a.mp4")]
    assert (folder / "big.mp4").read_bytes() == large["big.mp4"]


def test_what_is_no_data_set_is_said(hub, tmp_path):
    with pytest.raises(
        ModelError, match="ada/squish: can't be downloaded from the Hugging Face Hub"
    ):
        with_hub_source(settings(), NAME, tmp_path / "a")
    hub.repositories[KEY] = Repository(False, {"data/part.parquet": b"x", "README.md": b"x"})
    with pytest.raises(
        DataError, match="holds no videos, images or sounds as files; archives and parquet"
    ):
        with_hub_source(settings(), NAME, tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    hub.repositories[KEY] = Repository(False, {"a.mp4": b"x"})
    with pytest.raises(DataError, match="holds files that this program has not written"):
        with_hub_source(settings(), NAME, tmp_path / "mine")


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        ("ada/squish", True),
        (" Lightricks/Squish-Dataset ", True),
        ("there/nothing", False),
        ("there", False),
        ("ada/squish/videos", False),
        ("ada/list.csv", False),
        ("../squish", False),
        ("", False),
    ],
)
def test_a_name_is_told_from_a_path(tmp_path, text, is_name):
    (tmp_path / "there").mkdir()
    assert is_hub_name(text, tmp_path) is is_name


def test_the_command_line_takes_a_name(hub, files, tmp_path, monkeypatch, capsys):
    hub.repositories[KEY] = Repository(False, dict(files))
    monkeypatch.chdir(tmp_path)
    options = ["--model-source", "LTXV_MINIATURE", "--resolution-buckets", "96x96x17"]
    assert main(["preprocess", NAME, *options]) == 0
    assert "3 clips ready, 0 skipped; 6 files encoded" in capsys.readouterr().out
    root = tmp_path / "datasets" / "ada--squish" / ".precomputed"
    assert len(read_index(root).items) == 3
