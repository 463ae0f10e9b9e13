"""Data sets of many clips: they open quickly, and a file that wasn't looked into is looked at when it is read."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.datasets import dataset as dataset_module
from ltxv_train_core.datasets import stored_files
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import Index, read_index, write_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.storage import presence
from ltxv_train_core.storage.presence import missing_files
from ltxv_train_core.training.run_plan import plan_run


@pytest.fixture
def own(prepared, tmp_path):
    return Path(shutil.copytree(prepared, tmp_path / "own"))


def many(index: Index, count: int) -> Index:
    """The index with so many clips, each a copy of one of its own under another name."""
    own = index.items
    items = (replace(own[n % len(own)], name=f"{n}.mp4") for n in range(count))
    return replace(index, items=tuple(items))


@pytest.mark.long
def test_a_hundred_thousand_clips_are_read_back(own):
    index = many(read_index(own), 100_000)
    write_index(own / "index.json", index)
    assert read_index(own) == index
    assert len(TrainingDataset(own)) == 100_000


def test_a_run_opens_its_data_set_once(training_config, monkeypatch):
    opened = []
    read = stored_files.read_index
    monkeypatch.setattr(stored_files, "read_index", lambda path: opened.append(path) or read(path))
    plan_run(training_config())
    assert len(opened) == 1


def text_file(root: Path, example) -> Path:
    return root / example.caption.embedding.path


def test_a_text_of_another_width_is_refused_when_it_is_read(own, monkeypatch):
    index = read_index(own)
    needed = 2 * len(index.items)
    last = text_file(own, index.items[-1])
    with safe_open(last, "pt") as file:
        metadata = file.metadata()
    save_file({"prompt_embeds": torch.ones(4, 96)}, last, metadata)
    monkeypatch.setattr(dataset_module, "LOOKED_INTO", needed)
    with pytest.raises(DataError, match="of the widths 96, 128"):
        TrainingDataset(own)
    monkeypatch.setattr(dataset_module, "LOOKED_INTO", 2)
    dataset = TrainingDataset(own)
    assert dataset[0].text["prompt_embeds"].shape[-1] == 128
    with pytest.raises(
        DataError, match=r"is F32 of the shape \[4, 96\], expected floats \[tokens, 128\]"
    ):
        dataset[len(dataset) - 1]


def test_every_file_must_be_there_however_few_are_looked_into(own, monkeypatch):
    monkeypatch.setattr(dataset_module, "LOOKED_INTO", 1)
    text_file(own, read_index(own).items[-1]).unlink()
    with pytest.raises(DataError, match="1 files of its index are missing"):
        TrainingDataset(own)


def test_missing_files(tmp_path):
    (tmp_path / "a" / "folder").mkdir(parents=True)
    (tmp_path / "a" / "x").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "x")
    (tmp_path / "a" / "broken").symlink_to(tmp_path / "a" / "nothing")
    paths = ["a/x", "a/link", "a/broken", "a/folder", "a/y", "b/x", "top"]
    assert sorted(missing_files(tmp_path, paths)) == ["a/broken", "a/folder", "a/y", "b/x", "top"]
    (tmp_path / "top").touch()
    assert missing_files(tmp_path, ["top", "a/x"]) == []


def test_a_name_that_the_folder_writes_in_another_way_is_there(tmp_path, monkeypatch):
    """As on systems that don't tell letters by their case."""
    (tmp_path / "clip").touch()
    monkeypatch.setattr(presence, "_names", lambda folder: {"CLIP"})
    assert missing_files(tmp_path, ["clip", "other"]) == ["other"]
