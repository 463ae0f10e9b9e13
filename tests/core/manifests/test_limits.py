"""Clips beyond a bound are left out by name; the others are not touched."""

import pytest
from PIL import Image

from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.families.open import open_model
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.storage import paths
from ltxv_train_core.training import preflight
from tests.core.conftest import MINIATURE


def row(name, caption="a clip"):
    return {"media_path": name, "caption": caption}


def items(summary):
    return [item.name for item in read_index(summary.root).items]


def test_a_caption_of_too_many_tokens_costs_its_clip_once(write_clip, make, watcher):
    write_clip("a.mp4", 60)
    write_clip("b.mp4", 200)
    rows = [row("a.mp4"), row("b.mp4", "word " * 1100)]
    summary = make(rows, watcher)
    assert items(summary) == ["a.mp4"]
    ((name, reason),) = summary.skipped
    assert name == "b.mp4"
    assert "tokens, and at most 1,024 are encoded: shorten it" in reason
    watcher.events.clear()
    again = make(rows, watcher)
    assert items(again) == ["a.mp4"]
    assert "in an earlier pass" in dict(again.skipped)["b.mp4"]
    assert "encode captions" not in watcher.phases


def test_a_caption_of_too_many_characters_is_not_cut_into_tokens(write_clip, make):
    write_clip("a.mp4", 60)
    write_clip("b.mp4", 200)
    summary = make([row("a.mp4"), row("b.mp4", "a" * 15_996)], id_token="word")
    assert items(summary) == ["a.mp4"]
    assert "16,001 characters, and at most 16,000" in dict(summary.skipped)["b.mp4"]


def test_a_prompt_of_validation_is_too_long(training_config):
    found = preflight.problems(
        training_config(validation={"prompts": ["fine", "a" * 20_000], "interval": 1})
    )
    assert len(found) == 1
    assert found[0].startswith("validation.prompts: the text 'aaa")
    assert "20,000 characters" in found[0]


def test_encoders_refuse_long_texts():
    encoder = open_model(MINIATURE).load_text_encoder()
    with pytest.raises(DataError, match=r"\d,\d\d\d tokens, and at most 1,024"):
        encoder.encode(["short", "word " * 1100])


def test_a_smaller_bound_counts_for_pictures_that_are_known(tmp_path, make, write_clip):
    write_clip("a.mp4", 60)
    Image.new("RGB", (1500, 1000)).save(tmp_path / "b.png")
    rows = [row("a.mp4"), row("b.png")]
    buckets = "64x64x9;64x64x1"
    assert items(make(rows, buckets=buckets)) == ["a.mp4", "b.png"]
    summary = make(rows, buckets=buckets, max_megapixels=1)
    assert items(summary) == ["a.mp4"]
    assert "has 1500x1000 pixels, and at most 1 million" in dict(summary.skipped)["b.png"]


def test_a_folder_has_a_bound(tmp_path, monkeypatch, write_clip):
    for number in range(4):
        (tmp_path / f"{number}.bin").touch()
    write_clip("a.mp4")
    monkeypatch.setattr(paths, "MOST_FILES", 5)
    assert len(read_manifest(tmp_path, default_caption="a").clips) == 1
    (tmp_path / "more").mkdir()
    with pytest.raises(DataError, match="holds more than 5 files and folders"):
        read_manifest(tmp_path)
