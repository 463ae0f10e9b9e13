"""A benchmark on the canvas: its table, its files, and wrong values."""

import json
from typing import Any

import pytest

from tests.graph import Graph, Node, seen
from tests.host import Host, failure, run
from tests.nodes.workflows import add

NODE = "LTXVTrainBenchmark"


def benchmark(graph: Graph, host: Host, **values: Any) -> Node:
    given = {"model": "LTXV_MINIATURE", "sizes": "64x64x9", "ranks": "4", "blocks": 1, "steps": 1}
    return add(graph, host, NODE, **{**given, **values})


@pytest.mark.long
def test_the_table_is_shown_and_written(host: Host) -> None:
    graph = Graph()
    node = benchmark(graph, host, options="none; checkpointing")
    probes = graph.probe(node), graph.probe(node[1])
    outcome = run(host, graph.prompt)
    text, numbers = (seen(outcome, probe) for probe in probes)
    rows = json.loads(numbers)["rows"]
    assert [(row["options"], row["outcome"]) for row in rows] == [
        ("none", "measured"),
        ("checkpointing", "measured"),
    ]
    assert len([line for line in text.splitlines() if line.startswith("| LTXV_MINIATURE")]) == 2
    (shown,) = outcome.outputs[node.id]["text"]
    assert shown.startswith(text)
    assert str(host.base) not in shown
    files = list((host.base / "output" / "ltxv_train" / "benchmarks").glob("*.md"))
    assert text.strip() in [file.read_text("utf-8").strip() for file in files]


def test_wrong_values_are_said_before_anything_runs(host: Host) -> None:
    for widget, value, told in (
        ("sizes", "100x64x9", "the nearest is 96x64x9"),
        ("ranks", "many", "expected a number"),
        ("options", "none; turbo", "expected some of none, checkpointing"),
        ("attention", "slow", "expected some of automatic, flash"),
    ):
        graph = Graph()
        benchmark(graph, host, **{widget: value})
        assert told in failure(host, graph.prompt), widget
