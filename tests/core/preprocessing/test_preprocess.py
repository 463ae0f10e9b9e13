"""The miniature's encoders over small files: what is written, reused, skipped, kept."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.datasets.cache import Cache
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.datasets.summary import summarize
from ltxv_train_core.errors import Cancelled, ConfigurationError, DataError
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.text_encoder import T5TextEncoder
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.tensors import frames_to_tensor
from ltxv_train_core.media.video import read_frames
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess


def row(media, caption, reference=None):
    values = {"media_path": media, "caption": caption}
    return values if reference is None else values | {"reference_path": reference}


def files_below(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.fixture
def no_models(monkeypatch):
    """From here on loading a model is a failure."""

    def refuse(self, dtype=None):
        raise AssertionError("a model was loaded")

    kind = type(open_model(MINIATURE))
    monkeypatch.setattr(kind, "load_vae", refuse)
    monkeypatch.setattr(kind, "load_text_encoder", refuse)


def test_what_is_on_disk(tmp_path, write_clip, make, watcher):
    write_clip("clips/a.mp4", frames=12)
    summary = make([row("clips/a.mp4", "a red circle")], watcher, id_token="TRIGGER")
    root = tmp_path / ".precomputed"
    assert summary.root == root
    assert (summary.written, summary.reused, summary.skipped) == (2, 0, ())
    index = read_index(root)
    item, empty = index.items[0], index.empty_caption
    stems = ("conditions/clips/a.mp4", "empty_caption", "latents/clips/a.mp4")
    stored = (item.caption.embedding, empty, item.streams["video"]["latents"])
    keys = [one.key[:12] for one in stored]
    named = [f"{stem}.{key}.safetensors" for stem, key in zip(stems, keys, strict=True)]
    tables = ["files.json", "index.json", summary.index.name]
    assert files_below(root) == sorted([".ltxv_train.json", "contact_sheet.png", *tables, *named])
    with Image.open(root / "contact_sheet.png") as sheet:
        assert sheet.text == {"no_graph": '"No graph in this file: it shows a data set"'}
    assert read_index(summary.index) == index
    assert watcher.phases == ["inspect clips", "encode videos", "encode captions"]
    assert watcher.events[-1] == Progress("encode captions", 2, 2, "clip")

    model = open_model(MINIATURE)
    frames = frames_to_tensor(read_frames(tmp_path / "clips/a.mp4", VideoSize(64, 64, 9)))
    path = root / item.streams["video"]["latents"].path
    latents = load_file(path)["latents"]
    assert latents.shape == (128, 2, 2, 2)
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, model.load_vae().encode(frames)[0])
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    assert float(metadata["fps"]) == 25
    assert (metadata["size"], metadata["source_size"]) == ("64x64x9", "64x64x12")

    embeds = load_file(root / item.caption.embedding.path)["prompt_embeds"]
    expected = model.load_text_encoder().encode(["TRIGGER a red circle"])[0]["prompt_embeds"]
    torch.testing.assert_close(embeds, expected)

    assert (item.name, item.size, item.fps) == ("clips/a.mp4", "64x64x9", 25.0)
    assert item.caption.text == "TRIGGER a red circle"
    assert list(item.streams["video"]) == ["latents"]
    assert item.streams["video"]["latents"].key == metadata["key"]


def test_the_memory_of_training_is_told_for_published_models_alone(write_clip, make):
    write_clip("a.mp4")
    summary = make([row("a.mp4", "a")])
    assert "training memory" not in summary.text
    index = read_index(summary.root)
    of_published = replace(index, model={**index.model, "name": "LTXV_13B_097_DEV"})
    lines = summarize(of_published, Cache(summary.root)).lines
    told = [line.split(", estimated")[0] for line in lines if "training memory" in line]
    assert told == [f"training memory of a {size} model" for size in ("2B", "13B")]


def test_names_with_spaces_and_other_letters(tmp_path, write_clip, make):
    write_clip("Große Clips/der Hund ☂.mp4")
    summary = make([row("Große Clips/der Hund ☂.mp4", "ein Hund")])
    (item,) = read_index(summary.root).items
    assert item.streams["video"]["latents"].path.startswith("latents/Große Clips/der Hund ☂.mp4.")
    assert item.streams["video"]["latents"].path in files_below(summary.root)


def test_names_as_long_as_file_systems_allow(tmp_path, write_clip, make):
    names = ["ö" * 125 + number + ".mp4" for number in "12"]
    for name in names:
        write_clip("a.mp4")
        (tmp_path / "a.mp4").rename(tmp_path / name)
    rows = [row(name, "A\n---\nB") for name in names]
    assert make(rows, windows=2).written == 6


def test_a_path_that_windows_can_not_write_costs_its_clip_only(
    tmp_path, write_clip, make, monkeypatch
):
    write_clip("a.mp4")
    write_clip("a longer name.mp4")
    longest = len(str(tmp_path / ".precomputed/conditions/a.mp4.0123456789ab.safetensors")) + 15
    monkeypatch.setattr("ltxv_train_core.storage.paths.longest_path", lambda: longest)
    summary = make([row("a.mp4", "A"), row("a longer name.mp4", "B")])
    assert [item.name for item in read_index(summary.root).items] == ["a.mp4"]
    ((name, reason),) = summary.skipped
    assert name == "a longer name.mp4"
    assert f"a path of {longest + 9} characters, and this Windows allows {longest}" in reason


def test_bad_clips_cost_only_themselves(tmp_path, write_clip, make, watcher):
    for i, name in enumerate(["a", "b", "c", "d"]):
        write_clip(f"{name}.mp4", 60 + 40 * i)
        write_clip(f"ref_{name}.mp4", 250 - 40 * i)
    write_clip("short.mp4", frames=5)
    write_clip("small.mp4", width=32)
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 50)
    rows = [
        row("a.mp4", "A", "ref_a.mp4"),
        row("broken.mp4", "broken", "ref_a.mp4"),
        row("b.mp4", "B", "ref_b.mp4"),
        row("short.mp4", "short", "ref_a.mp4"),
        row("absent.mp4", "absent", "ref_a.mp4"),
        row("c.mp4", "", "ref_c.mp4"),
        row("small.mp4", "small", "ref_a.mp4"),
        row("c.mp4", "C", "short.mp4"),
        row("d.mp4", "D", "ref_d.mp4"),
    ]
    summary = make(rows, watcher)
    assert dict(summary.skipped) == watcher.skipped
    assert [name for name, _ in summary.skipped] == [
        "absent.mp4",
        "c.mp4",
        "broken.mp4",
        "short.mp4",
        "small.mp4",
        "c.mp4",
    ]
    items = read_index(summary.root).items
    assert [(item.name, item.caption.text) for item in items] == [
        ("a.mp4", "A"),
        ("b.mp4", "B"),
        ("d.mp4", "D"),
    ]
    codec, size = open_model(MINIATURE).load_vae(), VideoSize(64, 64, 9)
    for item in items:
        for stored, media in (
            (item.streams["video"]["latents"], item.name),
            (item.streams["video"]["reference"], f"ref_{item.name}"),
        ):
            expected = codec.encode(frames_to_tensor(read_frames(tmp_path / media, size)))[0]
            torch.testing.assert_close(load_file(summary.root / stored.path)["latents"], expected)
    assert watcher.phases[1:] == ["encode videos", "encode references", "encode captions"]


def test_a_file_that_breaks_in_the_middle_takes_its_pair_along(tmp_path, write_clip, make):
    for name in ("a", "b", "ref_a", "ref_b"):
        write_clip(f"{name}.mp4", frames=33)
    data = (tmp_path / "ref_a.mp4").read_bytes()
    start = data.index(b"mdat") + 400
    (tmp_path / "ref_a.mp4").write_bytes(
        data[:start] + b"\xff" * (data.index(b"moov") - start - 4) + data[data.index(b"moov") - 4 :]
    )
    rows = [row("a.mp4", "A", "ref_a.mp4"), row("b.mp4", "B", "ref_b.mp4")]
    summary = make(rows, buckets="64x64x33")
    assert [name for name, _ in summary.skipped] == ["a.mp4"]
    assert [item.caption.text for item in read_index(summary.root).items] == ["B"]
    assert not list((summary.root / "conditions").glob("a.mp4*"))


def test_images_and_videos_in_buckets_of_their_own(tmp_path, write_clip, make):
    write_clip("a.mp4", frames=17)
    write_clip("wide.mp4", frames=17, width=128)
    Image.new("RGB", (96, 64), (200, 0, 0)).save(tmp_path / "a.png")
    rows = [row("a.mp4", "A"), row("wide.mp4", "W"), row("a.png", "P")]
    summary = make(rows, buckets="64x64x17; 128x64x17; 64x64x1")
    items = read_index(summary.root).items
    assert {item.name: item.size for item in items} == {
        "a.mp4": "64x64x17",
        "wide.mp4": "128x64x17",
        "a.png": "64x64x1",
    }
    shapes = [
        tuple(load_file(summary.root / i.streams["video"]["latents"].path)["latents"].shape)
        for i in items
    ]
    assert shapes == [(128, 3, 2, 2), (128, 3, 2, 4), (128, 1, 2, 2)]


def test_only_what_changed_is_encoded_again(tmp_path, write_clip, make, monkeypatch):
    captions = []
    encode = T5TextEncoder.encode

    def counted(self, prompts):
        captions.extend(prompts)
        return encode(self, prompts)

    monkeypatch.setattr(T5TextEncoder, "encode", counted)
    for name in ("a", "b", "c"):
        write_clip(f"{name}.mp4")
    rows = [row("a.mp4", "same"), row("b.mp4", "same"), row("c.mp4", "other")]
    first = make(rows)
    assert (first.written, first.reused) == (6, 0)
    assert captions == ["same", "other", ""]
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in first.root.rglob("*.*")}
    fingerprint = read_index(first.root).fingerprint

    with monkeypatch.context() as context:
        for loader in ("load_vae", "load_text_encoder"):
            context.delattr(type(open_model(MINIATURE)), loader)
        again = make(rows)
    assert (again.written, again.reused) == (0, 6)
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in first.root.rglob("*.*")}
    assert after == before

    changed = make([row("a.mp4", "same"), row("b.mp4", "new"), row("c.mp4", "other")])
    assert (changed.written, changed.reused) == (1, 5)
    assert captions == ["same", "other", "", "new"]
    assert read_index(first.root).fingerprint != fingerprint

    write_clip("c.mp4", level=250)
    assert make([row("a.mp4", "same"), row("b.mp4", "new"), row("c.mp4", "other")]).written == 1
    assert make([row("c.mp4", "other")], buckets="32x32x9").written == 1


def test_a_damaged_or_deleted_file_is_written_again(write_clip, make):
    write_clip("a.mp4")
    root = make([row("a.mp4", "A")]).root
    (item,) = read_index(root).items
    path = root / item.streams["video"]["latents"].path
    latents = load_file(path)["latents"]
    path.write_bytes(path.read_bytes()[:-5])
    assert make([row("a.mp4", "A")]).written == 1
    assert torch.equal(load_file(path)["latents"], latents)
    (root / item.caption.embedding.path).unlink()
    assert make([row("a.mp4", "A")]).written == 1


def test_a_stopped_run_keeps_what_is_done_and_goes_on(write_clip, make):
    rows = [row(f"{i}.mp4", f"caption {i}") for i in range(4)]
    for i in range(4):
        write_clip(f"{i}.mp4", 50 * i)
    stop = threading.Event()

    def stop_after_two(event):
        if event == Progress("encode videos", 2, 4, "clip"):
            stop.set()

    with pytest.raises(Cancelled):
        make(rows, stop_after_two, stop)
    summary = make(rows)
    assert (summary.written, summary.reused) == (6, 2)


def test_an_interrupted_change_leaves_the_data_set_as_it_was(tmp_path, write_clip, make):
    for name in ("a", "b"):
        write_clip(f"{name}.mp4", 50 if name == "a" else 150, frames=17)
    rows = [row("a.mp4", "A"), row("b.mp4", "B")]
    root = make(rows).root
    before = read_index(root)
    stop = threading.Event()

    def stop_after_one(event):
        if event == Progress("encode videos", 1, 2, "clip"):
            stop.set()

    with pytest.raises(Cancelled):
        make(rows, stop_after_one, stop, buckets="64x64x17")
    assert read_index(root) == before
    assert [len(TrainingDataset(root)[i].streams["video"]["latents"]) for i in range(2)] == [
        128,
        128,
    ]
    assert make(rows, buckets="64x64x17").reused == 3


def test_two_passes_at_once_make_two_data_sets(tmp_path, write_clip, make):
    rows = [row("a.mp4", "A"), row("b.mp4", "B")]
    for name in ("a.mp4", "b.mp4"):
        write_clip(name, frames=17)
    inner = []

    def another_pass(event):
        if event == Progress("encode videos", 1, 2, "clip"):
            inner.append(make(rows, buckets="64x64x17"))

    outer = make(rows, another_pass)
    assert TrainingDataset(inner[0].index).groups == ["64x64x17"] * 2
    assert TrainingDataset(outer.index).groups == ["64x64x9"] * 2
    assert read_index(tmp_path / ".precomputed") == read_index(outer.index)


def test_an_output_folder_of_choice(tmp_path, write_clip, make):
    write_clip("a.mp4")
    summary = make([row("a.mp4", "A")], output_dir=tmp_path / "else" / "where")
    assert (tmp_path / "else" / "where" / "index.json").is_file()
    assert not (tmp_path / ".precomputed").exists()
    assert summary.root == tmp_path / "else" / "where"


def test_an_output_folder_among_the_media_holds_no_clips(tmp_path, write_clip):
    write_clip("a.mp4")
    settings = PreprocessSettings(
        tmp_path, MINIATURE, "auto:64x64x9", tmp_path / "cache", default_caption="A", verify_clips=1
    )
    assert preprocess(settings).verification.is_file()
    assert preprocess(settings).dataset.clips == {"64x64x9": 1}


def test_nothing_usable_is_an_error_with_the_reasons(tmp_path, write_clip, make, no_models):
    write_clip("short.mp4", frames=5)
    with pytest.raises(DataError) as caught:
        make([row("short.mp4", "A"), row("absent.mp4", "B")])
    assert "none of its clips can be used" in str(caught.value)
    assert "- short.mp4: too short: 64x64 with 5 frames" in str(caught.value)
    assert "- absent.mp4: the media path 'absent.mp4' is no file" in str(caught.value)
    assert "All of them fill" not in str(caught.value)  # no video has fewer than 9 frames


def test_clips_that_fill_no_bucket_are_named_once_with_a_size_that_all_of_them_fill(
    write_clip, make
):
    write_clip("a.mp4", width=96, frames=17)
    write_clip("b.mp4", frames=12)
    write_clip("c.mp4", frames=12)
    rows = [row("a.mp4", "A"), row("b.mp4", "B"), row("c.mp4", "C")]
    with pytest.raises(DataError) as caught:
        make(rows, buckets="128x128x89")
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("- a.mp4: too short: 96x64 with 17 frames")
    assert lines[2].startswith("- b.mp4 and 1 more: too short: 64x64 with 12 frames")
    assert lines[3:] == ["All of them fill 64x64x9: resolution_buckets can be 64x64x9"]
    assert make(rows, buckets="64x64x9").dataset.clips == {"64x64x9": 3}


def test_a_bucket_off_the_grid_is_refused_first(make):
    with pytest.raises(ConfigurationError, match="the nearest is 64x64x9"):
        make([row("absent.mp4", "A")], buckets="60x64x9")


def test_metadata_in_every_format_gives_the_same_data_set(tmp_path, write_clip, make):
    write_clip("a.mp4")
    rows = [row("a.mp4", "A, with a comma")]
    prints = {read_index(make(rows).root).fingerprint}
    (tmp_path / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "data.jsonl").write_text(json.dumps(rows[0]), encoding="utf-8")
    (tmp_path / "a.txt").write_text("A, with a comma", encoding="utf-8")
    for source in (tmp_path / "data.json", tmp_path / "data.jsonl", tmp_path):
        summary = preprocess(PreprocessSettings(source, MINIATURE, "64x64x9"))
        assert (summary.written, summary.reused) == (0, 2)
        prints.add(read_index(summary.root).fingerprint)
    assert len(prints) == 1
