"""Whole configurations from and to YAML."""

from pathlib import Path

import pytest
import yaml

from ltxv_train_core.config import yaml_file
from tests.graph import Graph, Node, seen
from tests.host import Host, failure, run
from tests.nodes.workflows import configure, defaults

TEXT = """
# pasted
name: pasted
model: {model_source: LTXV_MINIATURE, load_checkpoint: null}
data: {preprocessed_data_root: clips}
conditioning: {mode: reference_video}
validation: {prompts: [a ring], reference_videos: [references/ring.mp4]}
wandb: {enabled: false, project: shapes, entity: null, tags: []}
output_dir: elsewhere
"""


def load(host: Host, **values: str) -> tuple[Graph, Node]:
    graph = Graph()
    return graph, graph.add("LTXVTrainLoadConfig", **{"file": "", "text": "", **values})


def error_of(host: Host, graph: Graph) -> str:
    return failure(host, graph.prompt)


def test_pasted_text_becomes_a_configuration(host: Host) -> None:
    graph, node = load(host, text=TEXT)
    probe = graph.probe(node)
    values = seen(run(host, graph.prompt), probe)
    folder = host.base / "input"
    assert values["name"] == "pasted"
    assert values["data"]["preprocessed_data_root"] == str(folder / "clips")
    assert values["validation"]["reference_videos"] == [str(folder / "references" / "ring.mp4")]
    assert values["trackers"]["project"] == "shapes"
    assert values["output_dir"] == str(host.base / "output" / "ltxv_train")


def test_a_changed_file_is_read_again(host: Host) -> None:
    file = host.base / "input" / "training.yaml"
    for steps in (5, 6):
        text = f"{TEXT}optimization: {{steps: {steps}}}\n"
        file.write_text(text, encoding="utf-8")
        graph, node = load(host, file="training.yaml")
        probe = graph.probe(node)
        assert seen(run(host, graph.prompt), probe)["optimization"]["steps"] == steps


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "both are empty"),
        ({"file": "a.yaml", "text": TEXT}, "both are given"),
        ({"file": "missing.yaml"}, "missing.yaml"),
        ({"text": "lora: {rank: 0}\noptimization: {stps: 1}"}, "optimization.stps: no such option"),
        ({"text": "lora: {rank: 0}"}, "lora.rank"),
    ],
)
def test_what_can_not_be_read_is_said(host: Host, values: dict[str, str], message: str) -> None:
    graph, node = load(host, **values)
    graph.probe(node)
    assert message in error_of(host, graph)


def test_what_is_saved_loads_again_and_is_never_overwritten(host: Host) -> None:
    files = []
    for steps in (3, 4, 3):
        graph = Graph()
        config = configure(graph, host, "clips", steps, name="saved")
        save = graph.add("LTXVTrainSaveConfig", config=config, file_name="kept")
        probe = graph.probe(save)
        files.append(Path(seen(run(host, graph.prompt), probe)))
    assert files[0] == files[2] == host.base / "output" / "ltxv_train" / "kept.yaml"
    assert files[1].name == "kept-2.yaml"
    whole = yaml_file.load(files[1])
    assert (whole.name, whole.optimization.steps) == ("saved", 4)
    assert "ltxv_train" not in yaml.safe_load(files[0].read_text(encoding="utf-8"))
    graph, node = load(host, file=str(files[1]))
    probe = graph.probe(node)
    values = seen(run(host, graph.prompt), probe)
    assert values == whole.model_dump(mode="json")


def test_a_loaded_configuration_reaches_the_training_node(host: Host) -> None:
    graph, node = load(host, text=TEXT)
    graph.add("LTXVTrainICLoRA", config=node)
    assert "clips" in error_of(host, graph)


def test_a_file_name_with_folders_is_refused(host: Host) -> None:
    graph = Graph()
    config = configure(graph, host, "clips", 3)
    graph.add("LTXVTrainSaveConfig", config=config, file_name="../kept")
    assert "without folders" in error_of(host, graph)
    assert defaults(host, "LTXVTrainSaveConfig")["file_name"] == "training_config"
