"""Clips from the canvas to a data set, and back, with references for an IC-LoRA."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltxv_train_core.config import ReferenceFilter
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.manifests.reference_filters import apply_filter
from ltxv_train_core.media.video import iterate_frames, probe
from ltxv_train_core.media.write import write_video
from tests.graph import Graph, Node, seen, seen_each
from tests.helpers.tiny_captioner import write_tiny_captioner
from tests.host import Host, failure, run
from tests.nodes.workflows import add


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(iterate_frames(path)))


def brightening(frames: int) -> np.ndarray:
    """What ProbeFrames makes."""
    levels = np.round(np.linspace(0, 1, frames) * 255).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (frames, 64, 96, 3))


def video(graph: Graph, frames: int) -> Node:
    return graph.add("ProbeFrames", frames=frames, height=64, width=96)


def preprocess(graph: Graph, host: Host, dataset: Any, **changes: Any) -> Node:
    values = {"model_source": "LTXV_MINIATURE", "resolution_buckets": "96x64x9;96x64x1"}
    return add(graph, host, "LTXVTrainDatasetPreprocess", dataset_path=dataset, **values | changes)


def test_clips_from_the_canvas_become_a_data_set(host: Host) -> None:
    graph = Graph()
    dataset = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        videos=graph.add("ProbeVideo", images=video(graph, 9), fps=24.0),
        images=video(graph, 12),
        captions="a bright one\na longer one",
        fps=30.0,
        folder="from_canvas/first",
    )
    root = graph.probe(preprocess(graph, host, dataset))
    path = graph.probe(dataset)
    outcome = run(host, graph.prompt)
    metadata = Path(seen(outcome, path))
    assert metadata == host.base / "input/from_canvas/first/dataset.json"
    clips = read_manifest(metadata).clips
    assert [clip.captions for clip in clips] == [("a bright one",), ("a longer one",)]
    assert [probe(clip.media).fps for clip in clips] == [24.0, 30.0]
    for clip, length in zip(clips, (9, 12), strict=True):
        assert np.array_equal(frames_of(clip.media), brightening(length))
    assert [item.size for item in read_index(Path(seen(outcome, root))).items] == ["96x64x9"] * 2

    before = {p: p.stat().st_mtime_ns for p in metadata.parent.rglob("*.*")}
    graph.prompt[dataset.id]["inputs"]["captions"] = "a bright one\na longer one\n"
    outcome = run(host, graph.prompt).succeeded()
    assert dataset.id not in outcome.cached
    assert {p: p.stat().st_mtime_ns for p in metadata.parent.rglob("*.*")} == before


def test_a_data_set_that_was_deleted_is_written_again(host: Host) -> None:
    graph = Graph()
    images = video(graph, 9)
    options = {"captions": "one", "folder": "deleted/clips"}
    drawn = add(graph, host, "LTXVTrainDemoDataset", task="plain", clips=2, folder="deleted")
    clips = add(graph, host, "LTXVTrainDatasetFromVideos", images=images, **options)
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=clips)
    both = {"references": loaded, "dataset_path": clips, "names": loaded[1]}
    referenced = add(graph, host, "LTXVTrainDatasetWithReferences", **both)
    probes = [graph.probe(node) for node in (drawn, clips, referenced)]
    outcome = run(host, graph.prompt)
    files = [Path(seen(outcome, probe)) for probe in probes]
    run(host, graph.prompt).succeeded()
    shutil.rmtree(host.base / "input" / "deleted")
    run(host, graph.prompt).succeeded()
    assert [file.is_file() for file in files] == [True] * 3


def test_data_sets_are_added_to_each_other(host: Host) -> None:
    graph = Graph()
    first = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        images=video(graph, 9),
        captions="first",
        folder="added/a",
    )
    second = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        images=video(graph, 1),
        captions="second",
        folder="added/b",
        add_to=first,
    )
    path = graph.probe(second)
    metadata = Path(seen(run(host, graph.prompt), path))
    rows = json.loads(metadata.read_text(encoding="utf-8"))
    assert [row["caption"] for row in rows] == ["first", "second"]
    assert rows[0]["media_path"].startswith("../a/clips/")
    assert rows[1]["media_path"].endswith(".png")
    clips = read_manifest(metadata).clips
    assert [len(frames_of(clip.media)) for clip in clips] == [9, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "no clip is connected"),
        ({"images": 2, "captions": "one\n---\ntwo"}, None),
        ({"images": 2, "add_to": "nowhere.csv"}, "no such file or folder"),
        ({"images": 2, "folder": " "}, "a path is empty"),
    ],
)
def test_what_can_t_be_written_is_said(host: Host, changes: dict, message: str | None) -> None:
    graph = Graph()
    given = {"folder": "refused"} | changes
    if "images" in given:
        given["images"] = video(graph, given["images"])
    dataset = add(graph, host, "LTXVTrainDatasetFromVideos", **given)
    path = graph.probe(dataset)
    outcome = run(host, graph.prompt)
    if message:
        assert message in (outcome.error or "")
    else:
        (clip,) = read_manifest(Path(seen(outcome, path))).clips
        assert clip.captions == ("one", "two")


@pytest.fixture(scope="module")
def clips(host: Host) -> Path:
    """A data set of two clips and an image of different sizes, as users have them."""
    folder = host.base / "input" / "own clips"
    rows = []
    for i, (frames, height, width) in enumerate([(12, 64, 96), (9, 80, 112)]):
        pixels = np.zeros((frames, height, width, 3), np.uint8)
        pixels[:, 20:50, 30 : 60 + 10 * i] = (200, 120, 60)
        write_video(folder / f"{i}.mp4", pixels, fps=25)
        rows.append({"text": f"clip {i}", "file": f"{i}.mp4"})
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder / "data.json"


COLUMNS = {"caption_column": "text", "video_column": "file"}


def test_any_graph_runs_on_each_clip_and_the_results_are_its_references(
    host: Host, clips: Path
) -> None:
    graph = Graph()
    loaded = add(
        graph, host, "LTXVTrainDatasetVideos", dataset_path="own clips/data.json", **COLUMNS
    )
    edges = add(graph, host, "LTXVTrainApplyReferenceFilter", images=loaded)
    joined = add(
        graph,
        host,
        "LTXVTrainDatasetWithReferences",
        references=edges,
        dataset_path=loaded[4],
        names=loaded[1],
        kind="edges",
        **COLUMNS,
    )
    probes = [graph.probe(loaded[output]) for output in range(4)]
    root = graph.probe(preprocess(graph, host, joined))
    path = graph.probe(joined)
    outcome = run(host, graph.prompt)
    images, names, captions, fps = (seen_each(outcome, probe) for probe in probes)
    assert [image["shape"] for image in images] == [[12, 64, 96, 3], [9, 80, 112, 3]]
    assert (names, captions, fps) == (["0.mp4", "1.mp4"], ["clip 0", "clip 1"], [25.0, 25.0])
    metadata = Path(seen(outcome, path))
    assert metadata == clips.with_name("data-edges.json")
    for clip in read_manifest(metadata).clips:
        expected = np.stack(list(apply_filter(ReferenceFilter(), frames_of(clip.media))))
        assert np.array_equal(frames_of(clip.reference), expected)
    items = read_index(Path(seen(outcome, root))).items
    assert ["reference" in item.streams["video"] for item in items] == [True, True]


def test_fewer_frames_by_wish(host: Host, clips: Path) -> None:
    graph = Graph()
    loaded = add(
        graph, host, "LTXVTrainDatasetVideos", dataset_path=str(clips), max_frames=3, **COLUMNS
    )
    probe = graph.probe(loaded)
    assert [i["shape"][0] for i in seen_each(run(host, graph.prompt), probe)] == [3, 3]


def test_references_of_another_number_are_refused(host: Host, clips: Path) -> None:
    graph = Graph()
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=str(clips), **COLUMNS)
    add(
        graph,
        host,
        "LTXVTrainDatasetWithReferences",
        references=video(graph, 9),
        dataset_path=loaded[4],
        names=loaded[1],
        kind="fewer",
        **COLUMNS,
    )
    assert "1 references for 2 names" in failure(host, graph.prompt)
    assert not clips.with_name("data-fewer.json").exists()


def test_the_built_in_filter_over_a_whole_data_set(host: Host, clips: Path) -> None:
    graph = Graph()
    made = add(
        graph, host, "LTXVTrainDatasetReferences", dataset_path=str(clips), kind="blur", **COLUMNS
    )
    path = graph.probe(made)
    metadata = Path(seen(run(host, graph.prompt), path))
    assert metadata == clips.with_name("data-blur.json")
    for clip in read_manifest(metadata).clips:
        effect = ReferenceFilter(kind="blur")
        expected = np.stack(list(apply_filter(effect, frames_of(clip.media))))
        assert np.array_equal(frames_of(clip.reference), expected)
    graph.prompt[made.id]["inputs"]["low"] = 0.9
    assert "low: 0.9 is above high 0.2" in failure(host, graph.prompt)


def test_raw_videos_are_split_and_described(host: Host) -> None:
    """From one long video to captions, which a second run keeps."""
    film = np.full((40, 64, 96, 3), (30, 60, 150), np.uint8)
    film[20:] = (200, 180, 40)
    write_video(host.base / "input/raw/film.mp4", film, fps=10)
    write_tiny_captioner(host.base / "models/captioner")
    graph = Graph()
    scenes = add(graph, host, "LTXVTrainSplitScenes", videos_path="raw", min_seconds=1.0)
    captioned = add(
        graph,
        host,
        "LTXVTrainDatasetCaption",
        dataset_path=scenes,
        model=str(host.base / "models/captioner"),
        max_new_tokens=4,
    )
    path = graph.probe(captioned)
    outcome = run(host, graph.prompt)
    metadata = Path(seen(outcome, path))
    assert metadata == host.base / "input/raw-scenes/dataset-captioned.json"
    clips = read_manifest(metadata).clips
    assert [clip.name for clip in clips] == [
        "film.mp4-000000-000020.mp4",
        "film.mp4-000020-000040.mp4",
    ]
    assert outcome.outputs[captioned.id]["text"][0].startswith("2 written, 0 reused")
    graph.prompt[captioned.id]["inputs"]["max_new_tokens"] = 5
    outcome = run(host, graph.prompt)
    assert outcome.outputs[captioned.id]["text"][0].startswith("0 written, 2 reused")
    assert read_manifest(metadata).clips == clips


def test_captions_that_people_edit_reach_what_follows(host: Host) -> None:
    folder = host.base / "input/edited"
    write_video(folder / "a.mp4", np.zeros((9, 64, 96, 3), np.uint8), fps=10)
    (folder / "a.txt").write_text("from a file", encoding="utf-8")
    graph = Graph()
    captioned = add(graph, host, "LTXVTrainDatasetCaption", dataset_path="edited")
    root = graph.probe(preprocess(graph, host, captioned))
    first = seen(run(host, graph.prompt), root)
    assert [item.caption.text for item in read_index(Path(first)).items] == ["from a file"]
    rows = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    rows[0]["caption"] = "edited"
    (folder / "dataset.json").write_text(json.dumps(rows), encoding="utf-8")
    run(host, graph.prompt).succeeded()
    assert [item.caption.text for item in read_index(Path(first)).items] == ["edited"]


@pytest.mark.comfyui
@pytest.mark.parametrize("host", ["comfyui"], indirect=True)
def test_stock_nodes_make_canny_references_for_an_ic_lora(host: Host) -> None:
    """A VIDEO of ComfyUI's own, its list handling, and its Canny node, up to a trained IC-LoRA."""
    graph = Graph()
    demo = add(graph, host, "LTXVTrainDemoDataset", task="stripes", clips=3, seed=1)
    stock = graph.add("CreateVideo", images=demo[2], fps=24.0)
    dataset = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        videos=stock,
        captions="from a stock video",
        folder="canny/set",
        add_to=demo,
    )
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=dataset)
    edges = graph.add("Canny", image=loaded, low_threshold=0.1, high_threshold=0.3)
    joined = add(
        graph,
        host,
        "LTXVTrainDatasetWithReferences",
        references=edges,
        dataset_path=loaded[4],
        names=loaded[1],
    )
    data = preprocess(graph, host, joined, resolution_buckets="96x96x17")
    path, root = graph.probe(joined), graph.probe(data)
    outcome = run(host, graph.prompt)
    pairs = read_manifest(Path(seen(outcome, path))).clips
    assert len(pairs) == 4
    assert probe(pairs[-1].media).fps == 24.0
    for clip in pairs:
        edge = frames_of(clip.reference)
        assert edge.shape == frames_of(clip.media).shape
        assert set(np.unique(edge)) == {0, 255}
        assert 0.005 < (edge > 0).mean() < 0.5
    items = read_index(Path(seen(outcome, root))).items
    assert all("reference" in item.streams["video"] for item in items)
