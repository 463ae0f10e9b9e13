"""Sounds of the canvas in data sets, and sounds of data sets on the canvas: a tone keeps its place and pitch."""

from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.media.sound import read_sound_file
from tests.core.media.test_sound import heard
from tests.core.preprocessing import test_sounds as files
from tests.graph import Graph, Node, seen, seen_each
from tests.host import Host, failure, run
from tests.nodes.workflows import add

on_comfyui = [pytest.mark.comfyui, pytest.mark.parametrize("host", ["comfyui"], indirect=True)]
START, END, TONE_HZ = 0.5, 0.9, 1000.0


def tone(graph: Graph, rate: int, **form: Any) -> Node:
    return graph.add("ProbeSound", rate=rate, **form)


def frames(graph: Graph, count: int = 42) -> Node:
    return graph.add("ProbeFrames", frames=count, height=96, width=96)


def require_tone(path: Path, rate: int, seconds: float = 1.68) -> None:
    sound = read_sound_file(path, None, seconds)
    assert sound.rate == rate
    for side in sound.samples:
        begin, end, pitch, _ = heard(side, rate)
        assert begin == pytest.approx(START, abs=0.005)
        assert end == pytest.approx(END, abs=0.005)
        assert pitch == pytest.approx(TONE_HZ, abs=2)


@pytest.mark.parametrize(
    ("rate", "form"),
    [
        (8000, {"channels": 1}),
        (44100, {"channels": 2}),
        (192000, {"channels": 1}),
        (48000, {"channels": 6}),
    ],
)
def test_a_sound_goes_with_its_frames_and_comes_back(
    host: Host, rate: int, form: dict[str, int]
) -> None:
    graph = Graph()
    dataset = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        images=frames(graph),
        audio=tone(graph, rate, **form),
        captions="a tone",
        fps=25.0,
        folder=f"sounds/{rate}",
    )
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=dataset)
    probe = graph.add("ProbeHeard", audio=loaded[5])
    path = graph.probe(dataset)
    outcome = run(host, graph.prompt)
    (clip,) = read_manifest(Path(seen(outcome, path))).clips
    assert clip.audio is not None
    require_tone(clip.audio, rate)
    told = seen(outcome, probe)
    assert (told["shape"], told["rate"]) == ([1, 2, round(1.68 * rate)], rate)
    assert told["begin"] == pytest.approx(START, abs=0.005)
    assert told["end"] == pytest.approx(END, abs=0.005)
    assert told["pitch"] == pytest.approx(TONE_HZ, abs=5)


def test_sounds_alone_are_a_data_set_to_train_on(host: Host) -> None:
    graph = Graph()
    options = {"captions": "one\ntwo", "folder": "sounds/alone"}
    sounds = tone(graph, 16000, batch=2)
    dataset = add(graph, host, "LTXVTrainDatasetFromVideos", audio=sounds, **options)
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model_source=MINIATURE,
        resolution_buckets="96x96x41",
    )
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=dataset)
    probes = [graph.probe(node) for node in (data, loaded, loaded[2])]
    heard_again = graph.add("ProbeHeard", audio=loaded[5])
    outcome = run(host, graph.prompt)
    items = read_index(Path(seen(outcome, probes[0]))).items
    assert [(set(i.streams), i.size, i.caption.text) for i in items] == [
        ({"audio"}, "32x32x41", "one"),
        ({"audio"}, "32x32x41", "two"),
    ]
    assert seen_each(outcome, probes[2]) == ["one", "two"]
    assert seen(outcome, heard_again)["pitch"] == pytest.approx(TONE_HZ, abs=5)


def test_sounds_of_the_canvas_become_references(host: Host) -> None:
    graph = Graph()
    options = {"captions": "a tone", "fps": 25.0, "folder": "sounds/paired"}
    both = {"images": frames(graph), "audio": tone(graph, 16000)}
    dataset = add(graph, host, "LTXVTrainDatasetFromVideos", **both, **options)
    loaded = add(graph, host, "LTXVTrainDatasetVideos", dataset_path=dataset)
    paired = add(
        graph,
        host,
        "LTXVTrainDatasetWithReferences",
        dataset_path=loaded[4],
        names=loaded[1],
        kind="voice",
        reference_audio=tone(graph, 22050),
    )
    path = graph.probe(paired)
    (clip,) = read_manifest(Path(seen(run(host, graph.prompt), path))).clips
    assert clip.reference is None
    assert clip.audio is not None
    assert clip.reference_audio is not None
    require_tone(clip.reference_audio, 22050)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0}, "has 0 samples a second, expected 1 to 768000"),
        ({"rate": 8000, "channels": 9}, "has 9 channels of 13440 samples"),
        ({"rate": 8000, "level": float("1e39")}, "has samples that are not finite"),
        ({"rate": 8000, "batch": 3}, "3 sounds for 1 clips: give one for all, or one for each"),
    ],
)
def test_a_sound_that_cannot_be_used_is_refused(
    host: Host, given: dict[str, Any], message: str
) -> None:
    graph = Graph()
    dataset = add(
        graph,
        host,
        "LTXVTrainDatasetFromVideos",
        images=frames(graph),
        audio=tone(graph, **given),
        captions="a tone",
        folder="sounds/refused",
    )
    graph.probe(dataset)
    assert message in failure(host, graph.prompt)


def test_a_model_to_transcribe_with_is_downloaded_after_a_grant_alone(host: Host) -> None:
    pytest.importorskip("faster_whisper", reason='pip install "ltxv-train[transcription]"')
    files.write_sound(host.base / "input" / "said.wav", files.APART["wav"])
    source = files.metadata(host.base / "input", [{"audio": "said.wav", "caption": "a"}])
    graph = Graph()
    graph.probe(add(graph, host, "LTXVTrainDatasetTranscribe", dataset_path=source.name))
    assert "Systran/faster-whisper-large-v3" in failure(host, graph.prompt)
    assert "not allowed on this machine" in failure(host, graph.prompt)


class TestFilesOfComfyUI:
    """What ComfyUI's own nodes load."""

    pytestmark = on_comfyui

    @pytest.mark.parametrize(
        ("kind", "suffix"),
        [("mono", "mp4"), ("5.1", "mp4"), ("8 kHz", "mkv"), ("offset", "mp4"), ("192 kHz", "mkv")],
    )
    def test_a_video_keeps_its_sound(self, host: Host, kind: str, suffix: str) -> None:
        name = f"sound {kind}.{suffix}"
        files.write_clip(host.base / "input" / name, files.KINDS[kind])
        graph = Graph()
        dataset = add(
            graph,
            host,
            "LTXVTrainDatasetFromVideos",
            videos=graph.add("LoadVideo", file=name),
            captions="a tone",
            folder=f"sounds/of video {kind}",
        )
        path = graph.probe(dataset)
        (clip,) = read_manifest(Path(seen(run(host, graph.prompt), path))).clips
        assert clip.audio is not None
        require_tone(clip.audio, files.KINDS[kind].rate, files.FRAMES / files.FPS)

    def test_a_video_of_components_keeps_its_sound(self, host: Host) -> None:
        graph = Graph()
        video = graph.add(
            "CreateVideo", images=frames(graph), fps=25.0, audio=tone(graph, 44100, channels=2)
        )
        dataset = add(
            graph,
            host,
            "LTXVTrainDatasetFromVideos",
            videos=video,
            captions="a tone",
            folder="sounds/of components",
        )
        path = graph.probe(dataset)
        (clip,) = read_manifest(Path(seen(run(host, graph.prompt), path))).clips
        assert clip.audio is not None
        require_tone(clip.audio, 44100)

    @pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg"])
    def test_a_loaded_sound_is_a_clip(self, host: Host, name: str) -> None:
        files.write_sound(host.base / "input" / f"tone.{name}", files.APART[name])
        graph = Graph()
        dataset = add(
            graph,
            host,
            "LTXVTrainDatasetFromVideos",
            audio=graph.add("LoadAudio", audio=f"tone.{name}"),
            captions="a tone",
            folder=f"sounds/of {name}",
        )
        path = graph.probe(dataset)
        (clip,) = read_manifest(Path(seen(run(host, graph.prompt), path))).clips
        require_tone(clip.media, files.APART[name].rate, 1.5)
