"""From the text that a user wrote to the captions that training draws from."""

import json
from collections import Counter
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.families.ltxv.text_encoder import T5TextEncoder
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.manifests.captions import split_captions, without_opening
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.trainer import train

CAPTIONS = [["one", "one two", "one two three"], "alone in here with five", "a\n---\na b c d e f"]


@pytest.mark.parametrize(
    ("caption", "rest"),
    [
        ("The video shows a cat.", "a cat."),
        ("this clip depicts: a cat", "a cat"),
        ("In this video, a cat sleeps", "a cat sleeps"),
        ("In the video clip, we can see a cat", "a cat"),
        ("Caption: The image features a cat", "a cat"),
        ("The short video showcases a cat", "a cat"),
        ("The animation presents us a cat", "a cat"),
        ("A cat watches. The video shows it.", "A cat watches. The video shows it."),
        ("The videographer shows a cat", "The videographer shows a cat"),
        ("The video", "The video"),
        ("The video shows", "The video shows"),
    ],
)
def test_openings_of_language_models(caption, rest):
    assert without_opening(caption) == rest


def test_a_line_of_dashes_separates_captions():
    assert split_captions("a cat\nsleeps\n\n---\n a dog - brown \n  -----  \n\n") == (
        "a cat\nsleeps",
        "a dog - brown",
    )
    assert split_captions("--- a title ---\na cat") == ("--- a title ---\na cat",)
    assert split_captions(" \n---\n") == ()


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "txt"])
def test_several_captions_from_every_source(tmp_path, form):
    (tmp_path / "a.mp4").write_bytes(b"media")
    text, row = "first, with comma\n---\nsecond", {"media_path": "a.mp4"}
    source = tmp_path / f"data.{form}"
    if form == "txt":
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        source = tmp_path
    elif form == "csv":
        source.write_text(f'media_path,caption\na.mp4,"{text}"\n', encoding="utf-8")
    else:
        row["caption"] = ["first, with comma", "second", " "]
        source.write_text(json.dumps([row] if form == "json" else row), encoding="utf-8")
    (clip,) = read_manifest(source).clips
    assert clip.captions == ("first, with comma", "second")


def test_an_empty_list_of_captions_costs_its_own_row_only(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"media")
    rows = [{"media_path": "a.mp4", "caption": []}, {"media_path": "b.mp4", "caption": ["B"]}]
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    manifest = read_manifest(tmp_path / "data.json")
    assert [clip.name for clip in manifest.clips] == ["b.mp4"]
    assert [(s.name, s.reason) for s in manifest.skipped] == [("a.mp4", "the caption is empty")]


@pytest.fixture
def encode(tmp_path, write_clip):
    """Preprocesses three clips with these captions."""
    for i in range(3):
        write_clip(f"{i}.mp4", 60 * i)

    def encode(captions, **options):
        rows = [{"media_path": f"{i}.mp4", "caption": c} for i, c in enumerate(captions)]
        (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
        return preprocess(
            PreprocessSettings(tmp_path / "data.json", MINIATURE, "64x64x9", **options)
        )

    return encode


@pytest.fixture
def encoded_texts(monkeypatch):
    """What the text encoder was asked for, in order."""
    texts = []
    original = T5TextEncoder.encode

    def noted(self, prompts):
        texts.extend(prompts)
        return original(self, prompts)

    monkeypatch.setattr(T5TextEncoder, "encode", noted)
    return texts


def lengths(dataset, count=200, **options):
    """Tokens of each caption drawn, by clip."""
    drawn: dict[str, list[int]] = {}
    for batch in islice(batches(dataset, 1, **options), count):
        drawn.setdefault(batch.names[0], []).append(batch.text.tensors["prompt_embeds"].shape[1])
    return drawn


def test_every_caption_is_cached_and_only_a_changed_one_encoded_again(encode, encoded_texts):
    first = encode(CAPTIONS, id_token="ZORP")
    assert (first.written, first.reused) == (3 + 6, 0)
    assert sorted(encoded_texts) == sorted(
        [f"ZORP {c}" for c in ("one", "one two", "one two three", "alone in here with five")]
        + ["ZORP a", "ZORP a b c d e f", ""]
    )
    encoder = open_model(MINIATURE).load_text_encoder()
    for item in read_index(first.root).items:
        for caption in item.captions:
            embeds = load_file(first.root / caption.embedding.path)["prompt_embeds"]
            torch.testing.assert_close(embeds, encoder.encode([caption.text])[0]["prompt_embeds"])
    fingerprint = read_index(first.root).fingerprint

    del encoded_texts[:]
    assert encode(CAPTIONS, id_token="ZORP").written == 0
    assert encoded_texts == []
    changed = [["one", "one two", "another"], *CAPTIONS[1:]]
    assert encode(changed, id_token="ZORP").written == 1
    assert encoded_texts == ["ZORP another"]
    assert read_index(first.root).fingerprint != fingerprint


def test_openings_are_removed_by_wish_and_before_the_trigger_word(encode):
    captions = ["The video shows a cat", "In this clip, a dog", "rain"]
    texts = [item.caption.text for item in read_index(encode(captions).root).items]
    assert texts == captions
    wished = encode(captions, id_token="ZORP", remove_llm_prefixes=True)
    texts = [item.caption.text for item in read_index(wished.root).items]
    assert texts == ["ZORP a cat", "ZORP a dog", "ZORP rain"]


def test_training_draws_among_the_captions_of_a_clip(encode):
    dataset = TrainingDataset(encode(CAPTIONS).root)
    drawn = {name: Counter(seen) for name, seen in lengths(dataset, 300, seed=1).items()}
    known = {
        item.name: [
            len(load_file(dataset.root / c.embedding.path)["prompt_embeds"]) for c in item.captions
        ]
        for item in dataset.items
    }
    assert {name: set(seen) for name, seen in drawn.items()} == {
        name: set(known[name]) for name in known
    }
    assert all(20 < count < 50 for count in drawn["0.mp4"].values())
    assert all(35 < count < 65 for count in drawn["2.mp4"].values())


def test_draws_depend_on_seed_and_position_only(encode):
    dataset = TrainingDataset(encode(CAPTIONS).root, caption_dropout_p=0.3)

    def embeds(iterator, count):
        return [batch.text.tensors["prompt_embeds"] for batch in islice(iterator, count)]

    expected = embeds(batches(dataset, 2, seed=7), 20)
    ahead = batches(dataset, 2, seed=7, workers=3)
    resumed = batches(dataset, 2, seed=7, workers=2)
    resumed.load_state_dict({"samples": 24})
    for iterator, wanted in ((ahead, expected), (resumed, expected[12:])):
        found = embeds(iterator, len(wanted))
        iterator.close()
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    others = embeds(batches(dataset, 2, seed=8), 20)
    assert not all(torch.equal(a, b) for a, b in zip(others, expected, strict=True))


def test_dropped_captions_are_the_empty_one_at_their_rate(encode):
    root = encode(CAPTIONS).root
    empty = open_model(MINIATURE).load_text_encoder().encode([""])[0]["prompt_embeds"]

    def dropped(p):
        dataset = TrainingDataset(root, caption_dropout_p=p)
        drawn = islice(batches(dataset, 1, seed=3), 400)
        return sum(torch.equal(batch.text.tensors["prompt_embeds"][0], empty) for batch in drawn)

    assert dropped(0) == 0
    assert 75 < dropped(0.25) < 125
    assert dropped(1) == 400


def test_dropout_needs_a_data_set_with_an_empty_caption(encode):
    root = encode(CAPTIONS).root
    index = json.loads((root / "index.json").read_text(encoding="utf-8"))
    del index["empty_caption"]
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")
    assert len(TrainingDataset(root)) == 3
    with pytest.raises(DataError, match=r"no embedding of the empty caption.* preprocess again"):
        TrainingDataset(root, caption_dropout_p=0.1)
    next(root.glob("empty_caption.*")).unlink()
    assert encode(CAPTIONS).written == 0
    assert len(TrainingDataset(root, caption_dropout_p=0.1)) == 3


def test_a_run_with_dropout_trains_on_the_empty_caption(training_config):
    losses, names = {}, set()
    for p in (0.0, 1.0):
        events = []
        config = training_config(
            optimization={"steps": 1}, conditioning={"caption_dropout_p": p}, name="dropout"
        )
        names.add(train(config, events.append).run_folder.name)
        losses[p] = next(e.loss for e in events if isinstance(e, StepCompleted))
    assert abs(losses[0.0] - losses[1.0]) > 1e-3
    assert len(names) == 2
