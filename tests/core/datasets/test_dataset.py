"""From a preprocessed folder to batches, in an order that survives a restart."""

import json
import pickle
import shutil
from itertools import islice
from pathlib import Path

import pytest
import torch

from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess


@pytest.fixture
def own(prepared, tmp_path):
    """A copy of the data set, with its source, to change."""
    return Path(shutil.copytree(prepared.parent, tmp_path / "own")) / prepared.name


def names(iterator, count):
    return [batch.names for batch in islice(iterator, count)]


def test_items_are_what_was_encoded(prepared):
    dataset = TrainingDataset(prepared, "reference_latents")
    assert len(dataset) == 8
    sample = dataset[5]
    assert (sample.name, sample.fps) == ("5.mp4", 25.0)
    assert (
        sample.streams["video"]["latents"].shape
        == sample.streams["video"]["reference"].shape
        == (128, 2, 2, 3)
    )
    assert not torch.equal(sample.streams["video"]["latents"], sample.streams["video"]["reference"])
    assert list(TrainingDataset(prepared)[5].streams["video"]) == ["latents"]


def test_a_batch_is_of_one_size_with_captions_padded(prepared):
    dataset = TrainingDataset(prepared, "reference_latents")
    by_name = {item.name: dataset[i] for i, item in enumerate(dataset.items)}
    for batch in islice(batches(dataset, 2, seed=0), 12):
        samples = [by_name[name] for name in batch.names]
        lengths = [len(sample.text["prompt_embeds"]) for sample in samples]
        assert batch.text.tensors["prompt_embeds"].shape == (2, max(lengths), 128)
        assert batch.text.mask.sum(1).tolist() == lengths
        assert batch.fps.tolist() == [25.0, 25.0]
        for i, sample in enumerate(samples):
            assert torch.equal(
                batch.streams["video"]["latents"][i], sample.streams["video"]["latents"]
            )
            assert torch.equal(
                batch.streams["video"]["reference"][i], sample.streams["video"]["reference"]
            )
            assert torch.equal(
                batch.text.tensors["prompt_embeds"][i, : lengths[i]], sample.text["prompt_embeds"]
            )
            assert batch.text.tensors["prompt_embeds"][i, lengths[i] :].abs().sum() == 0


@pytest.fixture
def several_captions(write_clip, tmp_path):
    """Three clips with two captions each, of one and of three words."""
    rows = []
    for name in "abc":
        write_clip(f"{name}.mp4")
        rows.append({"media_path": f"{name}.mp4", "caption": [name, f"{name} x y"]})
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return preprocess(PreprocessSettings(tmp_path / "data.json", MINIATURE, "64x64x9")).root


def test_the_order_does_not_depend_on_the_workers(prepared):
    dataset = TrainingDataset(prepared)
    alone = batches(dataset, 2, seed=7)
    expected = names(alone, 20)
    for workers in (1, 3):
        ahead = batches(dataset, 2, seed=7, workers=workers)
        assert names(ahead, 20) == expected
        ahead.close()
    assert names(batches(dataset, 2, seed=8), 20) != expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restored_position_gives_the_next_batch(prepared, workers):
    dataset = TrainingDataset(prepared)
    expected = names(batches(dataset, 2, seed=7), 20)
    first = batches(dataset, 2, seed=7, workers=workers)
    names(first, 7)
    state = json.loads(json.dumps(first.state_dict()))
    first.close()
    second = batches(dataset, 2, seed=7, workers=workers)
    next(second)
    second.load_state_dict(state)
    assert names(second, 13) == expected[7:]
    second.close()


def test_samples_have_their_numbers_and_captions_however_they_are_spread(several_captions):
    """In batches of two, one by one, and in two processes: with batches of one size the same clips."""
    dataset = TrainingDataset(several_captions, caption_dropout_p=0.3)
    assert dataset.has_one_size

    def seen(batch_size, count, **options):
        found = {}
        for batch in islice(batches(dataset, batch_size, seed=7, **options), count):
            for number, name, text in zip(
                batch.numbers, batch.names, batch.text.mask.sum(1).tolist(), strict=True
            ):
                found[number] = (name, text)
        return found

    together = seen(2, 20)
    assert seen(1, 40) == together
    assert len(set(together.values())) > len(dataset), "captions differ between the epochs"
    first, second = (seen(1, 20, rank=rank, processes=2) for rank in (0, 1))
    assert first | second == together
    assert (min(first), min(second)) == (0, 1)
    both = batches(dataset, 1, seed=7, rank=1, processes=2)
    next(both)
    assert both.state_dict() == {"samples": 2}


def test_fewer_clips_than_the_batch_still_train(prepared):
    dataset = TrainingDataset(prepared)
    batch = next(batches(dataset, 20, seed=0))
    assert batch.streams["video"]["latents"].shape[0] == 20
    assert len(set(batch.names)) in (3, 5)


def test_a_data_set_can_be_sent_to_another_process(prepared):
    dataset = pickle.loads(pickle.dumps(TrainingDataset(prepared, "reference_latents")))
    assert torch.equal(
        dataset[0].streams["video"]["latents"],
        TrainingDataset(prepared)[0].streams["video"]["latents"],
    )


def test_the_fingerprint_names_the_content(prepared, own):
    assert TrainingDataset(own).fingerprint() == TrainingDataset(prepared).fingerprint()
    source = own.parent / "data.json"
    rows = json.loads(source.read_text(encoding="utf-8"))
    rows[3]["caption"] = "another"
    source.write_text(json.dumps(rows), encoding="utf-8")
    assert preprocess(PreprocessSettings(source, MINIATURE, "64x64x9;96x64x9")).written == 1
    assert TrainingDataset(own).fingerprint() != TrainingDataset(prepared).fingerprint()


def test_the_folder_above_is_accepted(prepared):
    assert TrainingDataset(prepared.parent).root == prepared
    assert read_index(prepared.parent) == read_index(prepared)


def test_what_is_no_data_set_says_how_to_make_one(tmp_path, own):
    with pytest.raises(DataError, match=r"absent: no such folder.*Preprocess LTXV Dataset"):
        TrainingDataset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: is no preprocessed data set.* preprocess META"):
        TrainingDataset(tmp_path / "empty")
    with pytest.raises(DataError, match=r"has no references .no folder 'depth'"):
        TrainingDataset(own, "depth")
    (own / read_index(own).items[3].streams["video"]["latents"].path).unlink()
    with pytest.raises(
        DataError, match=r"1 files of its index are missing.*3\.mp4\..*\.safetensors"
    ):
        TrainingDataset(own)
    (own / "index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"index\.json: is no index of a data set"):
        TrainingDataset(own)


def test_references_that_the_data_set_no_longer_has_are_not_trained_on(own):
    """Their files are still there until they are removed."""
    source = own.parent / "data.json"
    rows = json.loads(source.read_text(encoding="utf-8"))
    rows = [{"media_path": row["media_path"], "caption": row["caption"]} for row in rows]
    source.write_text(json.dumps(rows), encoding="utf-8")
    reference = read_index(own).items[0].streams["video"]["reference"]
    preprocess(PreprocessSettings(source, MINIATURE, "64x64x9;96x64x9"))
    assert (own / reference.path).is_file()
    with pytest.raises(DataError, match="has no references"):
        TrainingDataset(own, "reference_latents")


def test_an_open_data_set_stays_what_it_is_when_a_caption_is_edited(own):
    """As it happens while a run trains in the background."""
    opened = TrainingDataset(own)
    before = opened[3].text["prompt_embeds"]
    source = own.parent / "data.json"
    rows = json.loads(source.read_text(encoding="utf-8"))
    rows[3]["caption"] = "another"
    source.write_text(json.dumps(rows), encoding="utf-8")
    preprocess(PreprocessSettings(source, MINIATURE, "64x64x9;96x64x9"))
    assert torch.equal(opened[3].text["prompt_embeds"], before)
    assert not torch.equal(TrainingDataset(own)[3].text["prompt_embeds"], before)


def test_a_file_that_somebody_has_replaced_is_not_mixed_in(own):
    items = read_index(own).items
    shutil.copy(own / items[2].caption.embedding.path, own / items[3].caption.embedding.path)
    with pytest.raises(DataError, match=r"3\.mp4\..*: is not the file that the index names"):
        TrainingDataset(own)


def test_a_damaged_file_is_named(own):
    (own / read_index(own).items[0].streams["video"]["latents"].path).write_bytes(b"short")
    with pytest.raises(DataError, match=r"0\.mp4\..*\.safetensors: is no safetensors file"):
        TrainingDataset(own)[0]
