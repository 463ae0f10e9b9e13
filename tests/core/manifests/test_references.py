"""Reference videos for an IC-LoRA: built in, and made elsewhere."""

import csv
import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ltxv_train_core import config
from ltxv_train_core.cli import main
from ltxv_train_core.config import PreprocessSettings, ReferenceFilter, ReferenceSettings
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.manifests.clip_files import Footage, read_footage, write_dataset
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.manifests.reference_filters import apply_filter
from ltxv_train_core.manifests.references import add_references, make_references
from ltxv_train_core.media.video import iterate_frames, probe
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import preprocess

KINDS = ("canny", "grayscale", "blur", "downscale")


def square(frames=9, width=96):
    """A yellow square on blue that moves right by two pixels a frame."""
    pixels = np.full((frames, 64, width, 3), (20, 40, 120), np.uint8)
    for i, picture in enumerate(pixels):
        picture[16:48, 10 + 2 * i : 42 + 2 * i] = (220, 200, 30)
    return pixels


def filtered(frames, kind, **options):
    return np.stack(list(apply_filter(ReferenceFilter(kind=kind, **options), frames)))


@pytest.fixture
def source(tmp_path):
    """Two videos, an image and a broken file."""
    write_video(tmp_path / "clips/ä 1.mp4", square(), fps=24)
    write_video(tmp_path / "b.mp4", square(12), fps=30)
    Image.fromarray(square(1)[0]).save(tmp_path / "c.png")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["caption", "media_path"])
        writer.writerows([["one\n---\nuno", "clips\\ä 1.mp4"], ["two", "b.mp4"]])
        writer.writerows([["three", "broken.mp4"], ["four", "c.png"]])
    return tmp_path / "data.csv"


def test_canny_draws_the_outline():
    edges = filtered(square(3), "canny")
    assert set(np.unique(edges)) == {0, 255}
    white = edges[..., 0] == 255
    assert 110 < white[0].sum() < 150
    assert [side.any(axis=0)[12:40].all() for side in (white[0][14:19], white[0][45:50])] == [
        True
    ] * 2
    assert [side.any(axis=1)[18:46].all() for side in (white[0][:, 8:13], white[0][:, 39:44])] == [
        True
    ] * 2
    rows, columns = np.nonzero(white[0])
    assert (rows.min(), rows.max()) == pytest.approx((16, 47), abs=1.5)
    assert (columns.min(), columns.max()) == pytest.approx((10, 41), abs=1.5)
    assert np.array_equal(white[2][:, 4:], white[0][:, :-4])
    assert filtered(square(1), "canny", low=0.99, high=1.0).max() == 0


def test_grayscale_blur_and_downscale():
    grey = filtered(square(1), "grayscale")[0]
    assert (grey == grey[..., :1]).all()
    assert grey[30, 20, 0] == pytest.approx(0.299 * 220 + 0.587 * 200 + 0.114 * 30, abs=1)
    blurred = filtered(square(1), "blur", sigma=4.0)[0].astype(int)
    assert abs(blurred.mean() - square(1).mean()) < 1
    steps = [np.abs(np.diff(p[32, :, 0].astype(int))).max() for p in (square(1)[0], blurred)]
    assert steps[0] == 200
    assert 10 < steps[1] < 30
    stripes = np.zeros((1, 64, 96, 3), np.uint8)
    stripes[:, :, ::2] = 200
    coarse = filtered(stripes, "downscale", factor=4)[0]
    assert coarse.shape == (64, 96, 3)
    assert coarse[8:-8, 8:-8].std() < 2
    assert coarse.mean() == pytest.approx(100, abs=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_depends_on_itself_alone(kind):
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 70, 3), dtype=np.uint8)
    together = filtered(frames, kind)
    alone = np.concatenate([filtered(frames[i : i + 1], kind) for i in range(4)])
    assert together.shape == frames.shape
    assert np.array_equal(together, alone)


def test_options_out_of_range_are_named():
    with pytest.raises(ConfigurationError, match=r"low 0\.5 is above high 0\.2"):
        config.build(ReferenceFilter, {"low": 0.5})
    with pytest.raises(ConfigurationError, match="factor"):
        config.build(ReferenceFilter, {"factor": 1})


def test_a_whole_data_set_on_the_command_line(source, capsys):
    assert main(["references", str(source), "--kind", "canny"]) == 0
    out, err = capsys.readouterr()
    metadata = source.with_name("data-canny.json")
    assert out.strip() == str(metadata)
    assert "skipped broken.mp4" in err
    rows = json.loads(metadata.read_text(encoding="utf-8"))
    assert [(r["caption"], r["media_path"]) for r in rows] == [
        (["one", "uno"], "clips/ä 1.mp4"),
        ("two", "b.mp4"),
        ("four", "c.png"),
    ]
    references = [source.parent / r["reference_path"] for r in rows]
    assert all(r["reference_path"].startswith(".references/canny/") for r in rows)
    for row, path in zip(rows, references, strict=True):
        clip = source.parent / row["media_path"]
        wanted, found = probe(clip), probe(path)
        assert found == wanted
        frames = np.stack(list(iterate_frames(path)))
        assert np.array_equal(frames, filtered(iterate_frames(clip), "canny"))

    before = {p: p.stat().st_mtime_ns for p in [metadata, *references]}
    assert main(["references", str(source), "--kind", "canny"]) == 0
    assert {p: p.stat().st_mtime_ns for p in [metadata, *references]} == before
    make_references(ReferenceSettings(source=source, kind="canny", high=0.3))
    assert len(list((source.parent / ".references/canny").glob("*.mp4"))) == 4
    assert len(read_manifest(source).clips) == 4

    summary = preprocess(PreprocessSettings(metadata, MINIATURE, "96x64x9;96x64x1"))
    assert summary.skipped == ()
    items = read_index(summary.root).items
    assert ["reference" in item.streams["video"] for item in items] == [True] * 3


def test_a_resampled_reference_goes_with_its_clip_where_the_rate_varies(tmp_path):
    """Its file has one rate, so its timestamps are others."""
    ticks = [*range(0, 30, 2), *range(30, 430, 20)]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, tick in enumerate(ticks):
            pixels = np.full((64, 64, 3), 20 + 5 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (tmp_path / "a.txt").write_text("brighter and brighter", encoding="utf-8")
    metadata = make_references(ReferenceSettings(source=tmp_path, kind="grayscale"))
    settings = PreprocessSettings(metadata, MINIATURE, "64x64x17", target_fps=10, windows=2)
    dataset = TrainingDataset(preprocess(settings).root, "reference_latents")
    assert len(dataset) == 2
    for sample in dataset:
        torch.testing.assert_close(
            sample.streams["video"]["latents"],
            sample.streams["video"]["reference"],
            atol=0.02,
            rtol=0,
        )


def test_references_are_no_clips_of_a_folder(tmp_path):
    write_video(tmp_path / "a.mp4", square(), fps=24)
    (tmp_path / "a.txt").write_text("a square", encoding="utf-8")
    metadata = make_references(ReferenceSettings(source=tmp_path, kind="blur"))
    assert metadata == tmp_path / "dataset-blur.json"
    assert [clip.name for clip in read_manifest(tmp_path).clips] == ["a.mp4"]
    (clip,) = read_manifest(metadata).clips
    assert (clip.name, clip.captions, clip.reference.suffix) == ("a.mp4", ("a square",), ".mp4")


def test_metadata_is_never_written_over_its_source_nor_elsewhere(source, tmp_path):
    json_source = make_references(ReferenceSettings(source=source, kind="grayscale"))
    before = json_source.read_bytes()
    for output in (json_source, tmp_path / "sub/x.json", tmp_path / "x.csv"):
        with pytest.raises(DataError, match=str(output.name)):
            make_references(ReferenceSettings(source=json_source, output=output))
    assert json_source.read_bytes() == before


def test_frames_made_elsewhere_are_joined_by_name(source):
    footage = read_footage(read_manifest(source), max_frames=5)
    assert [(f.name, len(f.frames), f.fps) for f in footage] == [
        ("clips/ä 1.mp4", 5, 24.0),
        ("b.mp4", 5, 30.0),
        ("c.png", 1, 25.0),
    ]
    assert footage[0].captions == ("one", "uno")
    made = [255 - f.frames for f in footage]
    metadata = add_references(source, [f.name for f in footage], made, "negative")
    clips = read_manifest(metadata).clips
    assert [c.name for c in clips] == [f.name for f in footage]
    for clip, frames in zip(clips, made, strict=True):
        assert np.array_equal(np.stack(list(iterate_frames(clip.reference))), frames)
    files = {p: p.stat().st_mtime_ns for p in (source.parent / ".references").rglob("*.*")}
    add_references(source, [f.name for f in footage][:2], made[:2], "negative")
    assert {p: p.stat().st_mtime_ns for p in files} == files
    assert [c.name for c in read_manifest(metadata).clips] == ["clips/ä 1.mp4", "b.mp4"]


def test_references_that_fit_no_clip_are_refused(source):
    frames = [square(3)]
    with pytest.raises(DataError, match=r"has no clip 'x\.mp4'; it has clips/ä 1.mp4"):
        add_references(source, ["x.mp4"], frames, "k")
    with pytest.raises(DataError, match="1 references for 2 names"):
        add_references(source, ["b.mp4", "c.png"], frames, "k")
    with pytest.raises(DataError, match="more references than the 1 names"):
        add_references(source, ["b.mp4"], frames * 2, "k")
    with pytest.raises(DataError, match=r"kind '\.\./k'"):
        add_references(source, ["b.mp4"], frames, "../k")
    assert not source.with_name("data-k.json").exists()


def test_a_data_set_from_frames_in_memory(tmp_path):
    clips = [
        Footage("", square(9), 24.0, ("one", "uno")),
        Footage("", square(1), 25.0, ("picture",)),
        Footage("", square(9), 24.0, ()),
    ]
    metadata = write_dataset(tmp_path / "set", iter(clips), 3)
    rows = json.loads(metadata.read_text(encoding="utf-8"))
    assert [r["caption"] for r in rows] == [["one", "uno"], "picture", ""]
    assert rows[0]["media_path"] == rows[2]["media_path"]
    manifest = read_manifest(metadata)
    assert [c.captions for c in manifest.clips] == [("one", "uno"), ("picture",)]
    for clip, footage in zip(manifest.clips, clips, strict=False):
        assert np.array_equal(np.stack(list(iterate_frames(clip.media))), footage.frames)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*.*")}
    assert {p.suffix for p in before} == {".json", ".mp4", ".png"}
    assert len(before) == 4
    write_dataset(tmp_path / "set", iter(clips), 3)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*.*")} == before


def test_clips_that_don_t_fit_into_memory_are_refused_first(source, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 10**6}))
    with pytest.raises(DataError, match=r"need .*iB of memory.*max_frames.*references"):
        read_footage(read_manifest(source))
    assert len(read_footage(read_manifest(source), max_frames=3)) == 3
