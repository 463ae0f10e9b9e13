"""A sweep on the canvas: its table, the best LoRA and configuration, and wrong values."""

from typing import Any

import pytest

from tests.graph import Graph, Node, seen
from tests.host import Host, failure, models_folder, run
from tests.nodes.workflows import add, configure, prepare

NODE = "LTXVTrainSweep"


def sweep(graph: Graph, host: Host, held_out: int = 2, **values: Any) -> Node:
    _, data = prepare(graph, host)
    config = configure(graph, host, data, steps=4, name="sweep")
    section = {"preprocessed_data_root": data, "held_out_clips": held_out}
    aside = add(graph, host, "LTXVTrainDataConfig", **section, num_dataloader_workers=0)
    graph.prompt[config.id]["inputs"]["data"] = aside[0]
    return add(graph, host, NODE, config=config, **values)


@pytest.mark.long
def test_the_best_of_several_runs_comes_out(host: Host) -> None:
    graph = Graph()
    node = sweep(graph, host, vary="optimization.learning_rate: 1e-12, 3e-3")
    name, text, chart, best = (graph.probe(node[output]) for output in (0, 2, 3, 4))
    trained = graph.add("LTXVTrainLoRA", config=node[1])
    again = graph.probe(trained[4])
    outcome = run(host, graph.prompt).succeeded()
    table = seen(outcome, text)
    rows = [line for line in table.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert [row.split(" | ")[1] for row in rows] == ["0.003", "1e-12"]
    lora, run_name = seen(outcome, name), seen(outcome, best)
    assert (models_folder(host, "loras") / lora).is_file()
    assert rows[0].endswith(f"| {run_name} |")
    assert lora.split("/")[-1].startswith(run_name)
    assert seen(outcome, again) == run_name, "its configuration is that of the same run"
    assert seen(outcome, chart)["shape"] == [1, 360, 640, 3]
    (folder,) = (host.base / "output" / "ltxv_train" / "sweeps").glob("sweep-*")
    assert (folder / "sweep.md").read_text("utf-8") == table
    (shown,) = outcome.outputs[node.id]["text"]
    assert str(host.base) not in shown


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"vary": "lora.nothing: 1"}, "there is no such option"),
        ({"vary": "lora.rank: 4 to 8"}, "a grid needs listed values"),
        ({"method": "random"}, "expected 1 to 256"),
    ],
)
def test_wrong_values_are_said_before_anything_runs(host: Host, values: dict, told: str) -> None:
    graph = Graph()
    sweep(graph, host, **values)
    assert told in failure(host, graph.prompt)


def test_without_held_out_clips_nothing_is_compared(host: Host) -> None:
    graph = Graph()
    sweep(graph, host, held_out=0)
    assert "data.held_out_clips: a sweep compares" in failure(host, graph.prompt)
