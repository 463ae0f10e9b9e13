"""Data sets hold clips as they are shown; what an earlier version read another way is made again."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from ltxv_train_core.config import ReferenceSettings, SplitSettings
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import Notice
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.manifests.references import make_references
from ltxv_train_core.manifests.scene_splitting import split_videos
from ltxv_train_core.media import info
from ltxv_train_core.media.video import iterate_frames
from ltxv_train_core.storage.atomic import sha256_file, sha256_json
from tests.core.media import test_hdr
from tests.core.media.quarters import letters_of, quarters
from tests.core.media.test_deinterlace import fields
from tests.core.media.test_orientation import MATRICES, set_matrix
from tests.core.media.test_video import encode

LONG_AGO = 1_600_000_000


def row(name, **columns):
    return {"media_path": name, "caption": f"a clip, {name}", **columns}


def mirrored(path, letters="RGBW"):
    encode(path, np.stack([quarters(letters)] * 9))
    set_matrix(path, MATRICES[2])


def animated(path):
    images = [Image.fromarray(np.roll(quarters(), 4 * i, axis=1)) for i in range(9)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, lossless=True)


def age(folder):
    for path in folder.glob("*.*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def forget_traits(root):
    """Facts as the first version remembered them."""
    path = root / "files.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    for entry in value["files"].values():
        del entry["info"]["traits"]
    path.write_text(json.dumps(value), encoding="utf-8")


def keys(summary):
    return {
        item.name: item.streams["video"]["latents"].key for item in read_index(summary.root).items
    }


def test_the_key_of_an_ordinary_clip_is_as_it_always_was(tmp_path, write_clip, make):
    write_clip("a.mp4")
    summary = make([row("a.mp4")])
    vae = read_index(summary.root).model["vae"]
    selection = ("0", "None", "0.5", "0.5")
    content = sha256_file(tmp_path / "a.mp4")
    assert keys(summary)["a.mp4"] == sha256_json([1, vae, content, "64x64x9", *selection, "0"])


def test_what_an_earlier_version_read_another_way_is_made_again(
    tmp_path, write_clip, make, monkeypatch
):
    write_clip("a.mp4")
    mirrored(tmp_path / "b.mp4")
    mirrored(tmp_path / "r.mp4", "kkWW")
    age(tmp_path)
    rows = [row("a.mp4", reference_path="a.mp4"), row("b.mp4", reference_path="r.mp4")]
    with monkeypatch.context() as earlier:
        earlier.setattr(info, "READ_ANOTHER_WAY", frozenset())
        before = make(rows)
    forget_traits(before.root)
    old = keys(before)
    summary = make(rows)
    assert (summary.written, summary.reread) == (2, 2)
    assert summary.reused == 4  # both of a.mp4, and the captions
    assert "2 of the written files were there, made by an earlier version" in summary.text
    assert keys(summary)["a.mp4"] == old["a.mp4"]
    assert keys(summary)["b.mp4"] != old["b.mp4"]
    again = make(rows)
    assert (again.written, again.reread) == (0, 0)
    assert "earlier version" not in again.text


def test_facts_of_an_earlier_version_are_completed_without_reading_the_whole_file(
    tmp_path, write_clip, make, monkeypatch
):
    write_clip("a.mp4")
    Image.fromarray(quarters()).save(tmp_path / "b.png")
    age(tmp_path)
    rows = [row("a.mp4"), row("b.png")]
    buckets = "64x64x9;64x64x1"
    root = make(rows, buckets=buckets).root
    whole = (root / "files.json").read_bytes()
    forget_traits(root)

    def refuse(*arguments):
        raise AssertionError("a file was read to its end")

    monkeypatch.setattr("ltxv_train_core.preprocessing.probe_cache.sha256_file", refuse)
    assert make(rows, buckets=buckets).written == 0
    assert (root / "files.json").read_bytes() == whole


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_is_no_still(tmp_path, make, suffix):
    animated(tmp_path / f"a{suffix}")
    summary = make([row(f"a{suffix}")], buckets="64x64x9;64x64x1")
    (item,) = read_index(summary.root).items
    assert (item.size, item.fps) == ("64x64x9", 25)
    assert "read as they are shown: 1 animated pictures, read as videos" in summary.text
    assert make([row(f"a{suffix}")], buckets="64x64x9;64x64x1").written == 0


def test_a_video_that_fills_a_still_size_alone_is_told(tmp_path, make):
    animated(tmp_path / "a.webp")
    Image.fromarray(quarters()).save(tmp_path / "b.png")
    summary = make([row("a.webp"), row("b.png")], buckets="64x64x17;64x64x1")
    assert "1 video fills no size of several frames: one frame of each" in summary.text


def test_a_still_of_an_earlier_version_becomes_a_video(tmp_path, make):
    animated(tmp_path / "a.webp")
    age(tmp_path)
    rows, buckets = [row("a.webp")], "64x64x9;64x64x1"
    root = make(rows, buckets=buckets).root
    path = root / "files.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    still = {"width": 96, "height": 64, "frames": 1, "fps": 25.0, "is_image": True}
    (entry,) = value["files"].values()
    entry["info"] = still
    path.write_text(json.dumps(value), encoding="utf-8")
    make(rows, buckets=buckets)
    assert [item.size for item in read_index(root).items] == ["64x64x9"]


def test_the_summary_says_what_was_done(tmp_path, make):
    mirrored(tmp_path / "m.mp4")
    encode(tmp_path / "i.mp4", fields(), options={"flags": "+ilme+ildct"})
    test_hdr.write(tmp_path / "h.mp4", (0.75,) * 3, test_hdr.HLG, count=9)
    summary = make([row("m.mp4"), row("i.mp4"), row("h.mp4")])
    assert (
        "read as they are shown: 1 mirrored, 1 deinterlaced, 1 tone-mapped from HLG" in summary.text
    )


def test_high_dynamic_range_can_be_left_out(tmp_path, write_clip, make):
    write_clip("a.mp4")
    for name, transfer in (("h.mp4", test_hdr.HLG), ("p.mp4", test_hdr.PQ)):
        test_hdr.write(tmp_path / name, (0.5,) * 3, transfer, count=9)
    rows = [row("a.mp4", reference_path="a.mp4"), row("h.mp4", reference_path="a.mp4")]
    summary = make([*rows, row("a.mp4", reference_path="p.mp4")], hdr="refuse")
    reasons = [reason for _, reason in summary.skipped]
    assert [reason[:39] for reason in reasons] == [
        "h.mp4 is of high dynamic range (HLG): s",
        "p.mp4 is of high dynamic range (PQ): sa",
    ]
    assert make(rows).skipped == ()
    with pytest.raises(DataError, match="none of its clips can be used"):
        make(rows[1:], hdr="refuse")


def test_a_mask_is_mirrored_as_its_clip_is(tmp_path, make):
    mirrored(tmp_path / "a.mp4")
    mirrored(tmp_path / "m.mp4", "WkWk")
    summary = make([row("a.mp4", mask_path="m.mp4")])
    (item,) = read_index(summary.root).items
    mask = load_file(summary.root / item.streams["video"]["mask"].path)["mask"]
    assert not mask[..., 0].any()
    assert mask[..., -1].all()


def test_scenes_are_cut_from_films_as_they_are_shown(tmp_path):
    pytest.importorskip("scenedetect")
    film = tmp_path / "films" / "a.mp4"
    film.parent.mkdir()
    frames = [quarters("RGBW")] * 12 + [quarters("kkWB")] * 12
    encode(film, np.stack(frames))
    settings = SplitSettings(source=film.parent, output=tmp_path / "scenes", min_seconds=0.2)
    plain = split_videos(settings)
    set_matrix(film, MATRICES[2])
    told = []
    split_videos(settings, told.append)
    assert Notice("a.mp4: mirrored") in told
    seen = [
        letters_of(next(iter(iterate_frames(clip.media))))
        for clip in read_manifest(plain.metadata, require_captions=False).clips
    ]
    assert seen == ["GRWB", "kkBW"]


def test_a_reference_is_made_of_a_clip_as_it_is_shown(tmp_path, monkeypatch):
    mirrored(tmp_path / "a.mp4")
    (tmp_path / "d.json").write_text(json.dumps([row("a.mp4")]), encoding="utf-8")
    settings = ReferenceSettings(source=tmp_path / "d.json", kind="blur")
    with monkeypatch.context() as earlier:
        earlier.setattr(info, "READ_ANOTHER_WAY", frozenset())
        (before,) = read_manifest(make_references(settings)).clips
    (clip,) = read_manifest(make_references(settings)).clips
    assert clip.reference != before.reference
    assert letters_of(next(iter(iterate_frames(clip.reference)))) == "GRWB"
