"""A preprocessed data set of the canvas as the files of Lightricks' trainers."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from ltxv_train_core.families.ltx2.miniature.datasets import generate
from tests.core.preprocessing.test_from_ltx_trainer import whole
from tests.graph import Graph, Node, seen
from tests.helpers.ltx2 import AUDIO_WIDTH, WIDTH
from tests.host import Host, failure, run
from tests.nodes.workflows import add

__all__ = ["whole"]


def preprocessed(graph: Graph, host: Host, clips: Path, model: Node) -> Node:
    return add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=str(clips),
        model=model,
        resolution_buckets="96x96x17",
    )


@pytest.mark.long
def test_it_has_the_counts_and_the_form_of_the_core(host: Host, whole: dict[str, str]) -> None:
    clips = generate("mirror_with_sound", host.base / "input" / "exported clips", clips=3).metadata
    graph = Graph()
    mine = {
        name: shutil.copy(path, host.base / "input" / Path(path).name)
        for name, path in whole.items()
    }
    model = add(graph, host, "LTXVTrainModelConfig", **{n: str(p) for n, p in mine.items()})
    data = preprocessed(graph, host, clips, model)
    exported = add(
        graph,
        host,
        "LTXVTrainDatasetExport",
        preprocessed_data_root=data,
        model=model,
        folder="theirs/.precomputed",
    )
    again = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=exported,
        model=model,
        resolution_buckets="96x96x17",
        output_dir="theirs/back",
    )
    path, summary = graph.probe(exported), graph.probe(again[1])
    outcome = run(host, graph.prompt)
    root = Path(seen(outcome, path))
    assert root == host.base / "input" / "theirs" / ".precomputed"
    counts = {place.name: len(list(place.rglob("*.pt"))) for place in root.iterdir()}
    folders = ["latents", "audio_latents", "conditions"]
    folders += ["reference_latents", "reference_audio_latents"]
    assert counts == dict.fromkeys(folders, 3)
    first = next((root / "conditions").rglob("*.pt"))
    stored = torch.load(first, weights_only=True)
    assert stored["video_prompt_embeds"].shape == (1024, WIDTH)
    assert stored["audio_prompt_embeds"].shape == (1024, AUDIO_WIDTH)
    assert stored["video_prompt_embeds"].dtype == torch.bfloat16
    assert "3 clips ready, 0 skipped" in seen(outcome, summary)


def test_the_format_of_the_older_trainer_needs_no_model(host: Host) -> None:
    graph = Graph()
    clips = add(graph, host, "LTXVTrainDemoDataset", task="plain", clips=2, folder="plain_clips")
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=clips,
        model_source="LTXV_MINIATURE",
        resolution_buckets="96x96x17",
    )
    options = {"format": "reference", "folder": "older/.precomputed"}
    exported = add(graph, host, "LTXVTrainDatasetExport", preprocessed_data_root=data, **options)
    path = graph.probe(exported)
    root = Path(seen(run(host, graph.prompt), path))
    counts = {place.name: len(list(place.rglob("*.pt"))) for place in root.iterdir()}
    assert counts == {"latents": 2, "conditions": 2}


def test_what_is_missing_is_said_before_anything_runs(host: Host) -> None:
    graph = Graph()
    linked = add(graph, host, "LTXVTrainDemoDataset", task="plain", clips=1, folder="nothing")
    exported = add(graph, host, "LTXVTrainDatasetExport", preprocessed_data_root=linked)
    graph.probe(exported)
    assert "connect Configure LTXV Model to model" in failure(host, graph.prompt)
    written = graph.prompt[exported.id]["inputs"]
    written |= {"format": "reference", "preprocessed_data_root": "no such folder"}
    assert "no such" in failure(host, graph.prompt)


def test_another_data_set_in_the_folder_is_not_mixed_with(host: Host) -> None:
    graph = Graph()
    clips = add(graph, host, "LTXVTrainDemoDataset", task="plain", clips=2, folder="mixed_clips")
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=clips,
        model_source="LTXV_MINIATURE",
        resolution_buckets="96x96x17",
    )
    other = host.base / "input" / "taken" / "latents"
    other.mkdir(parents=True)
    torch.save({}, other / "somebody's.pt")
    options = {"format": "reference", "folder": "taken"}
    graph.probe(add(graph, host, "LTXVTrainDatasetExport", preprocessed_data_root=data, **options))
    assert "holds another clip" in failure(host, graph.prompt)
    assert json.dumps(sorted(path.name for path in other.iterdir())) == '["somebody\'s.pt"]'
