"""A graph whose training can't run is refused whole: one problem, at the node and widget that has it."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.graph import Graph, Node
from tests.host import Host, Prompt, PromptRefused, run
from tests.nodes.workflows import add


def refused(host: Host, prompt: Prompt) -> list[tuple[str, str, str]]:
    """Node, widget and message of each problem; the HTTP status is 400."""
    body = json.dumps({"prompt": prompt}).encode()
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{host.url}/prompt", body, timeout=60)
    assert error.value.code == 400
    return [
        (node, problem["extra_info"]["input_name"], problem["details"])
        for node, errors in json.loads(error.value.read())["node_errors"].items()
        for problem in errors["errors"]
    ]


def whole(host: Host, **changes: dict[str, Any]) -> tuple[Graph, dict[str, Node]]:
    """A graph from clips to a trained LoRA; changes are by short names of nodes."""
    graph, nodes = Graph(), {}

    def node(short: str, kind: str, **inputs: Any) -> Node:
        nodes[short] = add(graph, host, kind, **inputs | changes.get(short, {}))
        return nodes[short]

    clips = node("clips", "LTXVTrainDemoDataset", clips=2, seed=5)
    encoded = node(
        "preprocess",
        "LTXVTrainDatasetPreprocess",
        dataset_path=clips,
        model_source="LTXV_MINIATURE",
        resolution_buckets="96x96x17",
    )
    sections = {
        "model": node("model", "LTXVTrainModelConfig", model_source="LTXV_MINIATURE"),
        "data": node("data", "LTXVTrainDataConfig", preprocessed_data_root=encoded),
        "lora": node("lora", "LTXVTrainLoRAConfig"),
        "conditioning": node("conditioning", "LTXVTrainConditioningConfig"),
        "optimization": node("optimization", "LTXVTrainOptimizationConfig", steps=1),
        "validation": node("validation", "LTXVTrainValidationConfig", video_dims="96x96x17"),
    }
    config = node("join", "LTXVTrainConfig", seed=1, name="checked", **sections)
    node("train", "LTXVTrainLoRA", config=config)
    return graph, nodes


WRONG = [
    ("validation", {"video_dims": "100x96x17"}, "video_dims", "the nearest is 96x96x17"),
    ("validation", {"prompts": "a", "images": "gone.png"}, "images", "gone.png: no such file"),
    ("validation", {"prompts": "a\nb", "images": "x"}, "images", "give one for each prompt"),
    ("join", {"name": "a/b"}, "name", "must be letters, digits, spaces"),
    ("model", {"load_checkpoint": "none.safetensors"}, "load_checkpoint", "no such file"),
    (
        "model",
        {"model_source": "LTXV_2B"},
        "model_source",
        "expected LTXV_MINIATURE, LTX2_MINIATURE, one of",
    ),
    ("model", {"text_encoder_source": "t5"}, "text_encoder_source", "t5: no such file"),
    ("data", {"preprocessed_data_root": "gone"}, "preprocessed_data_root", "gone: no such file"),
    ("data", {"preprocessed_data_root": "."}, "preprocessed_data_root", "is no preprocessed data"),
    ("data", {"prior_data_root": "gone"}, "prior_data_root", "gone: no such file"),
    ("data", {"prior_data_root": "."}, "prior_data_root", "is no preprocessed data"),
    ("preprocess", {"resolution_buckets": "96x96x16"}, "resolution_buckets", "the nearest is"),
    ("preprocess", {"resolution_buckets": "big"}, "resolution_buckets", "for example"),
    ("preprocess", {"dataset_path": "gone.csv"}, "dataset_path", "gone.csv: no such file"),
    ("preprocess", {"dataset_path": ""}, "dataset_path", "a path is empty: write one"),
    ("preprocess", {"vae_source": "x.safetensors"}, "vae_source", "there is no x.safetensors"),
    (
        "conditioning",
        {"prefix_conditioning_p": 0.5, "prefix_frames": 3},
        "prefix_frames",
        "3 latent frames stay clean, and the longest clip of Preprocess LTXV Dataset has 3",
    ),
    ("conditioning", {"mode": "reference_video"}, "mode", "use the node Train LTXV IC-LoRA"),
    ("optimization", {"steps": 0}, "steps", "must be at least 1 (given: 0)"),
]


@pytest.mark.parametrize(
    ("node", "inputs", "widget", "words"), WRONG, ids=[f"{w[0]}-{w[2]}-{w[3][:9]}" for w in WRONG]
)
def test_a_wrong_value_stops_the_whole_graph_with_one_problem(
    host: Host, node: str, inputs: dict[str, Any], widget: str, words: str
) -> None:
    graph, nodes = whole(host, **{node: inputs})
    probe = graph.probe("would run")
    (problem,) = refused(host, graph.prompt)
    assert problem[:2] == (nodes[node].id, widget)
    assert words in problem[2]
    assert "\n" not in problem[2]
    assert probe.id in graph.prompt


def test_a_wrong_value_that_nothing_needs_stops_nothing(host: Host) -> None:
    graph = Graph()
    add(graph, host, "LTXVTrainValidationConfig", video_dims="1x1x1")
    graph.probe("runs")
    assert run(host, graph.prompt).error is None


def test_problems_of_two_nodes_are_said_together(host: Host) -> None:
    graph, nodes = whole(host, lora={"rank": 0}, optimization={"steps": -1, "batch_size": 0})
    found = refused(host, graph.prompt)
    assert {(node, widget) for node, widget, _ in found} == {
        (nodes["lora"].id, "rank"),
        (nodes["optimization"].id, "steps"),
        (nodes["optimization"].id, "batch_size"),
    }


def test_only_the_wanted_outputs_are_looked_at(host: Host) -> None:
    graph, _ = whole(host, lora={"rank": 0})
    probe = graph.probe("wanted")
    body = json.dumps({"prompt": graph.prompt, "partial_execution_targets": [probe.id]}).encode()
    with urllib.request.urlopen(f"{host.url}/prompt", body, timeout=60) as reply:
        assert reply.status == 200
        host.wait(json.loads(reply.read())["prompt_id"])


def test_what_the_graph_gives_is_not_judged_before_it_runs(host: Host) -> None:
    """Reference videos come by a link: whether there is one for each prompt is known when it runs."""
    graph, nodes = whole(
        host, validation={"prompts": "a"}, conditioning={"mode": "reference_video"}
    )
    graph.prompt[nodes["train"].id]["class_type"] = "LTXVTrainICLoRA"
    found = refused(host, graph.prompt)
    assert [(node, widget) for node, widget, _ in found] == [
        (nodes["validation"].id, "reference_videos")
    ]
    inputs = graph.prompt[nodes["validation"].id]["inputs"]
    inputs["reference_videos"] = nodes["clips"][3]
    graph.prompt[nodes["train"].id]["inputs"]["config"] = [nodes["join"].id, 0]
    graph.prompt[nodes["lora"].id]["inputs"]["rank"] = 0
    assert [widget for _, widget, _ in refused(host, graph.prompt)] == ["rank"]


def test_yaml_is_read_when_the_graph_is_queued(host: Host) -> None:
    graph = Graph()
    config = graph.add("LTXVTrainLoadConfig", file="", text="lora:\n  rank: 0\ndata: {}\n")
    graph.add("LTXVTrainLoRA", config=config)
    found = refused(host, graph.prompt)
    assert [widget for _, widget, _ in found] == ["text", "text"]
    assert "lora.rank: must be at least 1 (given: 0)" in found[0][2]


def test_a_folder_that_may_not_be_read_waits_for_its_question(host: Host, tmp_path: Path) -> None:
    """The node asks for the permission when it runs; nothing is told of what lies there."""
    (tmp_path / "there.csv").write_text("media_path,caption\n", encoding="utf-8")
    for name in ("there.csv", "gone.csv"):
        graph, nodes = whole(host, preprocess={"dataset_path": str(tmp_path / name)})
        outcome = run(host, graph.prompt)
        assert outcome.error_node == nodes["preprocess"].id
        assert "is not allowed" in (outcome.error or "") or "allow" in (outcome.error or "")


def test_what_is_no_graph_is_comfyuis_to_judge(host: Host) -> None:
    for prompt in ({"1": {"class_type": "NoSuchNode", "inputs": {}}},):
        with pytest.raises(PromptRefused):
            host.start(prompt)
