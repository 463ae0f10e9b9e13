"""Several data sets of one training on the canvas, joined and in stages."""

from typing import Any

import pytest

from tests.graph import Graph, Node, seen
from tests.host import Host, failure, run
from tests.nodes.workflows import SIZE, add, configure, prepare

NODE = "LTXVTrainAddDataset"


def second(graph: Graph, host: Host) -> Node:
    """Preprocessed plain clips."""
    dataset = add(graph, host, "LTXVTrainDemoDataset", task="stripes", clips=3, seed=9)
    return add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE.replace("96", "64"),
    )


def training(graph: Graph, host: Host, more: Node | str, **options: Any) -> Node:
    _, data = prepare(graph, host)
    config = configure(graph, host, data, steps=4, name="several")
    section = {"preprocessed_data_root": data, "more_data_sets": more} | options
    aside = add(graph, host, "LTXVTrainDataConfig", **section, num_dataloader_workers=0)
    graph.prompt[config.id]["inputs"]["data"] = aside[0]
    return add(graph, host, "LTXVTrainLoRA", config=config)


@pytest.mark.long
def test_two_data_sets_are_trained_in_stages(host: Host) -> None:
    graph = Graph()
    added = add(
        graph,
        host,
        NODE,
        preprocessed_data_root=second(graph, host),
        repeats=2.0,
        first_stage=2,
        last_stage=2,
    )
    node = training(graph, host, added, stage_steps="2")
    name, folder = (graph.probe(node[output]) for output in (0, 3))
    outcome = run(host, graph.prompt).succeeded()
    assert seen(outcome, name).startswith("ltxv_train/several-")
    metrics = (host.base / "output" / "ltxv_train").glob("several-*/metrics.jsonl")
    (path,) = metrics
    lines = path.read_text("utf-8").splitlines()
    assert ['"stage": 1' in line for line in lines] == [True, True, False, False]
    assert seen(outcome, folder)
    told = host.get(f"/ltxv_train/runs/{path.parent.name}")
    assert len(set(told["data_sets"])) == 2
    columns = host.get(f"/ltxv_train/runs/{path.parent.name}/metrics")["columns"]
    first, other = ([loss is not None for loss in each] for each in columns["loss_by_data_set"])
    assert (first, other) == ([True, True, False, False], [False, False, True, True])


def test_a_chain_of_nodes_is_a_line_for_each(host: Host, tmp_path) -> None:
    graph = Graph()
    one = second(graph, host)
    first = add(graph, host, NODE, preprocessed_data_root=one, weight=0.5)
    other = add(
        graph,
        host,
        NODE,
        preprocessed_data_root=one,
        caption_dropout=0.25,
        last_stage=3,
        more_data_sets=first,
    )
    held = add(graph, host, NODE, preprocessed_data_root=one, held_out=True, more_data_sets=other)
    lines = graph.probe(held)
    found = seen(run(host, graph.prompt), lines).splitlines()
    assert [line.rpartition(": ")[2] for line in found] == [
        "weight 0.5",
        "caption_dropout 0.25, stages 1-3",
        "held_out",
    ]


def test_what_is_wrong_is_said_before_anything_runs(host: Host) -> None:
    graph = Graph()
    training(graph, host, "nowhere: repeats 2")
    assert "nowhere" in failure(host, graph.prompt)
    graph = Graph()
    training(graph, host, "a: repeat 2")
    assert "'repeat 2' is unknown" in failure(host, graph.prompt)
    graph = Graph()
    add_one = add(graph, host, NODE, preprocessed_data_root="x", first_stage=3, last_stage=2)
    graph.probe(add_one)
    assert "go backwards" in failure(host, graph.prompt)
