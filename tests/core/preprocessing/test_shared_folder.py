"""Several data sets in one folder, and folders of earlier versions."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.config.redact import shareable
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import Notice
from ltxv_train_core.families.names import TEXT_ENCODER, VAE
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.permissions import Ledger
from ltxv_train_core.preprocessing import probe_cache
from ltxv_train_core.preprocessing.data_set_name import data_set_name
from ltxv_train_core.preprocessing.encoders import EncoderSource
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from tests.helpers.index_of_version_1 import as_version_1

LONG_AGO = 1_600_000_000
ROWS = [{"media_path": "a.mp4", "caption": "A"}, {"media_path": "b.mp4", "caption": "B"}]


@pytest.fixture
def clips(tmp_path: Path, write_clip) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(name, frames=17)
        os.utime(tmp_path / name, (LONG_AGO, LONG_AGO))


def as_an_earlier_version_wrote_it(root: Path) -> dict:
    """File names without keys, and one index."""
    index = as_version_1(json.loads((root / "index.json").read_text(encoding="utf-8")))
    named = [index["empty_caption"]]
    for item in index["items"]:
        named += [item["latents"], item["conditions"]]
    for stored in named:
        stem = stored["path"].rsplit(".", 2)[0]
        (root / stored["path"]).rename(root / f"{stem}.safetensors")
        stored["path"] = f"{stem}.safetensors"
    for own in root.glob("index*.json"):
        own.unlink()
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (root / ".ltxv_train.json").unlink()
    return index


@pytest.mark.usefixtures("clips")
def test_two_data_sets_share_a_folder_and_what_is_equal(make, monkeypatch):
    small, large = make(ROWS), make(ROWS, buckets="64x64x17")
    assert small.root == large.root
    assert small.index != large.index
    assert (large.written, large.reused) == (2, 2)  # the captions are the same
    assert large.other_indexes == (small.index.name,)
    assert f"1 other data set, for example {small.index.name}" in large.text
    assert TrainingDataset(small.index).groups == ["64x64x9"] * 2
    assert TrainingDataset(large.index).groups == ["64x64x17"] * 2
    assert TrainingDataset(small.root).groups == ["64x64x17"] * 2  # the last one
    monkeypatch.setattr(probe_cache, "sha256_file", pytest.fail)
    for _ in range(2):
        again = [make(ROWS), make(ROWS, buckets="64x64x17")]
        assert [(each.written, each.reused, each.orphans) for each in again] == [(0, 4, ())] * 2
    make(ROWS)
    assert TrainingDataset(small.root).groups == ["64x64x9"] * 2


@pytest.mark.usefixtures("clips")
def test_another_metadata_file_beside_the_first_replaces_nothing(tmp_path, make):
    first = make(ROWS)
    source = tmp_path / "second.csv"
    source.write_text("caption,media_path\nB,b.mp4\n", encoding="utf-8")
    second = preprocess(PreprocessSettings(source, MINIATURE, "64x64x9"))
    assert (second.root, second.written, second.reused) == (first.root, 0, 2)
    edited = make(ROWS[:1])
    assert edited.index == first.index
    assert [item.name for item in read_index(edited.index).items] == ["a.mp4"]
    assert [item.name for item in read_index(second.index).items] == ["b.mp4"]


@pytest.mark.usefixtures("clips")
def test_what_another_index_names_is_no_orphan(make):
    large = make(ROWS, buckets="64x64x17")
    make(ROWS)
    fewer = make(ROWS[:1], remove_orphans=True)
    assert len(fewer.orphans) == 1  # the small latents of b
    assert TrainingDataset(large.index).groups == ["64x64x17"] * 2
    large.index.write_text("damaged", encoding="utf-8")
    events: list = []
    assert make(ROWS[:1], events.append, remove_orphans=True).orphans == ()
    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert notice.startswith(f"{large.index.name} can't be read, so no file is removed")
    large.index.unlink()
    assert len(make(ROWS[:1], remove_orphans=True).orphans) == 3


@pytest.mark.usefixtures("clips")
def test_files_of_an_earlier_version_are_taken_over(make):
    root = make(ROWS).root
    earlier = as_an_earlier_version_wrote_it(root)
    assert TrainingDataset(root).fingerprint() == earlier["fingerprint"]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.safetensors")}
    again = make(ROWS)
    assert (again.written, again.reused, again.orphans) == (0, 4, ())
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.safetensors")} == before
    assert read_index(again.index).fingerprint == earlier["fingerprint"]

    changed = make([ROWS[0], {**ROWS[1], "caption": "C"}])
    assert (changed.written, changed.reused) == (1, 3)
    assert changed.orphans == ("conditions/b.mp4.safetensors",)
    assert make(ROWS).written == 0


@pytest.mark.usefixtures("clips")
def test_an_index_that_is_not_there_is_named(make):
    summary = make(ROWS)
    summary.index.unlink()
    with pytest.raises(DataError, match=r"there is no such index.*or give the folder"):
        TrainingDataset(summary.index)
    assert len(TrainingDataset(summary.root)) == 2


def test_a_ledger_keeps_what_another_program_adds(tmp_path):
    one, two = Ledger(tmp_path), Ledger(tmp_path)
    one.add(["latents/a"])
    two.add(["latents/b"])
    one.add(["latents/c"])
    assert Ledger(tmp_path).files == {"latents/a", "latents/b", "latents/c"}
    two.forget(["latents/a"])
    assert Ledger(tmp_path).files == {"latents/b", "latents/c"}


def test_a_shared_configuration_names_the_folder_and_not_the_index():
    for path in ("/home/ada/clips/index-1a2b3c4d5e6f.json", "/home/ada/clips"):
        config = build(TrainingConfig, {"data": {"preprocessed_data_root": path}})
        assert shareable(config).data.preprocessed_data_root == "clips"


def test_files_of_one_name_in_two_sources_are_two_files(tmp_path):
    """Of the same size and time too, as pictures without compression have them."""
    shared = tmp_path / "shared"
    latents = []
    for source, colour in (("one", "red"), ("two", "blue")):
        folder = tmp_path / source
        folder.mkdir()
        Image.new("RGB", (64, 64), colour).save(folder / "a.bmp")
        (folder / "a.txt").write_text("a picture", encoding="utf-8")
        os.utime(folder / "a.bmp", (LONG_AGO, LONG_AGO))
        made = preprocess(PreprocessSettings(folder, MINIATURE, "64x64x1", output_dir=shared))
        latents.append(TrainingDataset(made.index)[0].streams["video"]["latents"])
    assert (latents[0] - latents[1]).abs().max() > 1


def test_another_spelling_of_the_sizes_names_no_other_data_set(tmp_path):
    names = {
        data_set_name(PreprocessSettings(tmp_path / "d.csv", MINIATURE, sizes), {})
        for sizes in ("64x64x9;96x64x9", " 64x64x9 ; 96x64x9 ")
    }
    assert len(names) == 1
    given = dict.fromkeys((VAE, TEXT_ENCODER), EncoderSource("own", pytest.fail))
    names = {
        data_set_name(PreprocessSettings(tmp_path / "d.csv", model, "64x64x9"), given)
        for model in (MINIATURE, "LTXV_2B_0.9.5")
    }
    assert len(names) == 1
