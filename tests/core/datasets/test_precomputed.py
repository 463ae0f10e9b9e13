"""Preprocessed folders of LTX-Video-Trainer: read for training, and written."""

import json
import os
import pickle
import shutil
from itertools import islice

import pytest
import torch

from ltxv_train_core.cli import main
from ltxv_train_core.datasets import pt_files
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.export import export_reference
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import Notice, StepCompleted
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.training.trainer import train


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(data, path)


def latents(frames, height, width, start=0.0, **others):
    """Token i holds i + start in every channel."""
    count = frames * height * width
    tokens = (torch.arange(count, dtype=torch.float32) + start)[:, None].repeat(1, 128)
    sizes = {"num_frames": frames, "height": height, "width": width, "fps": 24.0}
    return {"latents": tokens.to(torch.bfloat16), **sizes, **others}


def conditions(tokens, value=1.0, width=128):
    embeds = torch.full((256, width), value, dtype=torch.bfloat16)
    return {"prompt_embeds": embeds, "prompt_attention_mask": torch.arange(256) < tokens}


@pytest.fixture
def folder(tmp_path):
    """A data set as their scripts leave it: a video in a folder, and an image."""
    root = tmp_path / "set" / ".precomputed"
    save(root / "latents/videos/a.pt", latents(3, 2, 4))
    save(root / "conditions/videos/a.pt", conditions(7, 2.0))
    save(root / "reference_latents/videos/a.pt", latents(3, 2, 4, start=100.0))
    save(root / "latents/b.pt", latents(1, 2, 2, fps=1))
    save(root / "conditions/b.pt", conditions(4))
    save(root / "reference_latents/b.pt", latents(1, 2, 2))
    return tmp_path / "set"


def test_the_layout_is_read_as_it_is(folder):
    for root in (folder, folder / ".precomputed"):
        dataset = TrainingDataset(root, "reference_latents")
        assert [item.name for item in dataset.items] == ["b", "videos/a"]
        assert dataset.groups == ["64x64x1", "128x64x17"]
        sample = dataset[1]
        assert sample.fps == 24.0
        assert sample.streams["video"]["latents"].shape == (128, 3, 2, 4)
        assert sample.streams["video"]["latents"].dtype == torch.float32
        expected = torch.arange(24.0).reshape(3, 2, 4)
        assert torch.equal(sample.streams["video"]["latents"][17], expected)
        assert torch.equal(sample.streams["video"]["reference"][17], expected + 100)
        assert sample.text["prompt_embeds"].shape == (7, 128)
        assert sample.text["prompt_embeds"].unique().item() == 2.0
    assert list(TrainingDataset(folder)[1].streams["video"]) == ["latents"]


def test_a_file_is_unpickled_again_only_when_it_changed(folder, monkeypatch):
    unpickled = []
    load = pt_files.read_torch_file
    monkeypatch.setattr(
        pt_files,
        "read_torch_file",
        lambda path, **how: unpickled.append(path.name) or load(path, **how),
    )
    TrainingDataset(folder, "reference_latents")
    assert sorted(unpickled) == ["a.pt"] * 3 + ["b.pt"] * 3, "latents, reference and text of each"
    unpickled.clear()
    before = TrainingDataset(folder, "reference_latents").fingerprint()
    assert unpickled == []
    path = folder / ".precomputed/latents/b.pt"
    written = path.stat().st_mtime_ns
    save(path, latents(1, 2, 2, fps=30))
    os.utime(path, ns=(written + 1, written + 1))
    changed = TrainingDataset(folder, "reference_latents")
    assert unpickled == ["b.pt"]
    assert changed.items[0].fps == 30
    assert changed.fingerprint() != before
    path.write_bytes(b"no longer a file of tensors")
    with pytest.raises(DataError, match=r"b\.pt: can't be read"):
        TrainingDataset(folder)


def test_references_of_other_lengths_have_batches_of_their_own(folder):
    root = folder / ".precomputed"
    for name, frames in (("c", 3), ("d", 1), ("e", 1)):
        save(root / f"latents/{name}.pt", latents(3, 2, 4))
        save(root / f"conditions/{name}.pt", conditions(4))
        save(root / f"reference_latents/{name}.pt", latents(frames, 2, 4))
    drawn = list(islice(batches(TrainingDataset(folder, "reference_latents"), 2, seed=1), 15))
    assert {frozenset(batch.names) for batch in drawn} == {
        frozenset(names) for names in (("b",), ("c", "videos/a"), ("d", "e"))
    }
    assert {batch.streams["video"]["reference"].shape[2] for batch in drawn} == {1, 3}


def test_older_files(tmp_path):
    old = latents(2, 2, 2)
    del old["fps"]
    save(tmp_path / "latents/latent_7.pt", old | {"latents": old["latents"][None]})
    save(tmp_path / "conditions/condition_7.pt", conditions(3))
    sample = TrainingDataset(tmp_path)[0]
    assert (sample.name, sample.fps, sample.streams["video"]["latents"].shape) == (
        "latent_7",
        24.0,
        (128, 2, 2, 2),
    )


def test_the_fingerprint_names_the_content(folder, tmp_path):
    first = TrainingDataset(folder).fingerprint()
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert TrainingDataset(copy).fingerprint() == first
    root = copy / ".precomputed"
    for part in ("latents", "conditions"):
        shutil.move(root / part / "b.pt", root / part / "c.pt")
    assert TrainingDataset(copy).fingerprint() == first
    save(root / "conditions/c.pt", conditions(4, 3.0))
    assert TrainingDataset(copy).fingerprint() != first
    references = TrainingDataset(folder, "reference_latents").fingerprint()
    save(folder / ".precomputed/reference_latents/b.pt", latents(1, 2, 2, start=1.0))
    assert TrainingDataset(folder, "reference_latents").fingerprint() != references
    assert TrainingDataset(folder).fingerprint() == first


def test_a_clip_without_its_text_is_left_out_by_name(folder):
    root = folder / ".precomputed"
    (root / "conditions/b.pt").unlink()
    dataset = TrainingDataset(folder)
    assert [item.name for item in dataset.items] == ["videos/a"]
    (line,) = dataset.notices
    assert line.startswith("b is skipped")
    assert line.endswith("b.pt is missing")
    (root / "conditions/videos/a.pt").unlink()
    with pytest.raises(DataError, match=r"no clip has all its files.*videos/a is skipped"):
        TrainingDataset(folder)


def their_text(latents, root):
    """Where LTX-Video-Trainer looks for the text of a file of latents."""
    if latents.name.startswith("latent_"):
        return root / "conditions" / f"condition_{latents.stem[7:]}.pt"
    return root / "conditions" / latents.relative_to(root / "latents")


@pytest.mark.parametrize(
    ("clip", "text"),
    [
        ("latent_7", "condition_7"),
        ("sub/latent_7", "condition_7"),
        ("sub/latent_7", "sub/condition_7"),  # as this trainer wrote it before
        ("sub/latent_7", "sub/latent_7"),
    ],
)
def test_old_names_are_found_in_subfolders_too(tmp_path, clip, text):
    save(tmp_path / f"latents/{clip}.pt", latents(1, 2, 2))
    save(tmp_path / f"conditions/{text}.pt", conditions(3, 1.0))
    (item,) = TrainingDataset(tmp_path).items
    assert (item.name, item.caption.embedding.path) == (clip, f"conditions/{text}.pt")


def test_no_clip_gets_the_text_of_another(tmp_path):
    for name in ("a/latent_1", "b/latent_1", "latent_2", "condition_2", "latent_3", "c/latent_3"):
        save(tmp_path / f"latents/{name}.pt", latents(1, 2, 2))
    for name in ("condition_1", "condition_2", "condition_3", "b/condition_1"):
        save(tmp_path / f"conditions/{name}.pt", conditions(3, 1.0))
    dataset = TrainingDataset(tmp_path)
    assert {item.name: item.caption.embedding.path for item in dataset.items} == {
        "b/latent_1": "conditions/b/condition_1.pt",
        "condition_2": "conditions/condition_2.pt",
        "latent_3": "conditions/condition_3.pt",
    }
    assert [line.split(" is skipped")[0] for line in dataset.notices] == [
        "a/latent_1",
        "c/latent_3",
        "latent_2",
    ]


def test_what_is_exported_is_found_there_and_here(tmp_path, write_clip):
    names = ("latent_a", "sub/latent_b", "one/latent_c", "two/latent_c", "latent_d", "condition_d")
    rows = []
    for number, name in enumerate((*names, "one/clip_latent_c")):
        write_clip(f"{name}.mp4")
        rows.append({"media_path": f"{name}.mp4", "caption": "word " * (number + 1)})
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    root = preprocess(PreprocessSettings(tmp_path / "data.json", MINIATURE, "64x64x9")).root
    out = export_reference(root, tmp_path / "out", "float32")
    files = sorted((out / "latents").rglob("*.pt"))
    texts = [their_text(file, out) for file in files]
    assert len(set(texts)) == len(files) == len(rows)
    ours = {sample.text["prompt_embeds"].numpy().tobytes() for sample in TrainingDataset(root)}
    dataset = TrainingDataset(out)
    assert {sample.text["prompt_embeds"].numpy().tobytes() for sample in dataset} == ours
    found = {
        out / i.streams["video"]["latents"].path: out / i.caption.embedding.path
        for i in dataset.items
    }
    assert found == dict(zip(files, texts, strict=True))
    assert {"latent_a", "sub/latent_b", "condition_d"} <= {item.name for item in dataset.items}


def test_what_the_layout_lacks_is_refused_by_name(folder):
    with pytest.raises(DataError, match=r"has no references .no folder 'depth'"):
        TrainingDataset(folder, "depth")
    with pytest.raises(DataError, match="has no masks"):
        TrainingDataset(folder, mask_dir="masks")
    with pytest.raises(DataError, match="no embedding of the empty caption"):
        TrainingDataset(folder, caption_dropout_p=0.1)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_damaged_and_malicious_files_are_named(folder):
    path = folder / ".precomputed/latents/b.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"b\.pt: can't be read"):
        TrainingDataset(folder)
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"b\.pt: can't be read .*no file of torch.save"):
        TrainingDataset(folder)
    path.write_bytes(pickle.dumps({"latents": Evil()}, protocol=2))
    with pytest.raises(DataError, match=r"b\.pt: can't be read .*no file of torch.save"):
        TrainingDataset(folder)
    save(path, {"latents": Evil()})
    with pytest.raises(DataError, match=r"b\.pt: can't be read"):
        TrainingDataset(folder)
    save(path, {"prompt_embeds": 1})
    with pytest.raises(DataError, match=r"b\.pt: has no 'latents'; it has 'prompt_embeds'"):
        TrainingDataset(folder)
    save(path, latents(1, 2, 2) | {"height": 3})
    with pytest.raises(DataError, match=r"\[4, 128\] are not 1 frames of 3 rows and 2 columns"):
        TrainingDataset(folder)


def tensors(sample):
    video = sample.streams["video"]
    return video["latents"], video["reference"], sample.text["prompt_embeds"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_way_there_and_back(prepared, tmp_path, dtype, capsys):
    target = tmp_path / "exported"
    command = ["export", str(prepared), "--format", "reference", "--output", str(target)]
    assert main([*command, "--dtype", dtype]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    ours = TrainingDataset(prepared, "reference_latents")
    theirs = TrainingDataset(target, "reference_latents")
    assert [f"{item.name}.mp4" for item in theirs.items] == [item.name for item in ours.items]
    assert theirs.groups == ours.groups
    tolerance = 0 if dtype == "float32" else 2**-8
    for mine, read in zip(ours, theirs, strict=True):
        assert read.fps == mine.fps
        for a, b in zip(tensors(mine), tensors(read), strict=True):
            torch.testing.assert_close(a, b.float(), rtol=tolerance, atol=0)
    data = torch.load(target / "latents/6.pt", weights_only=True)
    assert data["latents"].shape == (12, 128)
    assert data["latents"].dtype == getattr(torch, dtype)
    assert {k: v for k, v in data.items() if k != "latents"} == {
        "num_frames": 2,
        "height": 2,
        "width": 3,
        "fps": 25.0,
    }
    text = torch.load(target / "conditions/6.pt", weights_only=True)
    assert text["prompt_embeds"].shape == (256, 128)
    assert text["prompt_attention_mask"].dtype == torch.bool
    assert text["prompt_attention_mask"].sum() == len(ours[6].text["prompt_embeds"])
    first = next(batches(ours, 2, seed=5)), next(batches(theirs, 2, seed=5))
    assert first[0].names == tuple(f"{name}.mp4" for name in first[1].names)
    assert torch.equal(first[0].text.mask, first[1].text.mask)


def test_names_of_an_export_don_t_collide(tmp_path, write_clip):
    rows = []
    for name in ("a.mp4", "latent_a.mp4", "sub/a.mov", "sub/a.mp4"):
        write_clip(name)
        rows.append({"media_path": name, "caption": ["word " * (len(rows) + 1), "other"]})
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    root = preprocess(PreprocessSettings(tmp_path / "data.json", MINIATURE, "64x64x9")).root
    events = []
    export_reference(root, tmp_path / "out", report=events.append)
    assert [e.message for e in events if isinstance(e, Notice)] == [
        "4 clips have several captions: the first of each is exported"
    ]
    theirs = TrainingDataset(tmp_path / "out")
    assert [item.name for item in theirs.items] == ["a", "latent_a", "sub/a.mov", "sub/a.mp4"]
    texts = [len(sample.text["prompt_embeds"]) for sample in TrainingDataset(root)]
    assert [len(sample.text["prompt_embeds"]) for sample in theirs] == texts
    assert len(set(texts)) == 4
    save(tmp_path / "out/latents/stranger.pt", latents(1, 1, 1))
    with pytest.raises(DataError, match=r"holds another clip.*stranger\.pt"):
        export_reference(root, tmp_path / "out")
    with pytest.raises(DataError, match="is a data set itself"):
        export_reference(root, root)


def test_training_on_such_a_folder_is_the_same_step(training_config, mirror_data, tmp_path):
    target = export_reference(mirror_data, tmp_path / "exported", "float32")
    losses = []
    for root in (mirror_data, target):
        events = []
        config = training_config(
            root, optimization={"steps": 1}, conditioning={"mode": "reference_video"}
        )
        train(config, events.append)
        losses += [e.loss for e in events if isinstance(e, StepCompleted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_order_survives_a_restart(folder):
    dataset = TrainingDataset(folder)
    expected = [batch.names for batch in islice(batches(dataset, 1, seed=2), 8)]
    again = batches(dataset, 1, seed=2, workers=2)
    again.load_state_dict({"samples": 5})
    assert [batch.names for batch in islice(again, 3)] == expected[5:]
    again.close()
