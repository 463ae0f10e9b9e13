"""Model files of ComfyUI's folders, chosen from a list or by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from tests.graph import Graph, seen
from tests.host import Host, PromptRefused, models_folder, run
from tests.nodes.test_config_nodes import configured
from tests.nodes.workflows import add, configure

NODES = ("LTXVTrainModelConfig", "LTXVTrainDatasetPreprocess")
NAME = "model_files/any name.safetensors"


@pytest.fixture(scope="module")
def checkpoint(host: Host) -> Iterator[Path]:
    path = export(models_folder(host, "checkpoints") / NAME)
    yield path
    path.unlink()


@pytest.mark.parametrize("node", NODES)
def test_the_lists_hold_the_files(host: Host, checkpoint: Path, node: str) -> None:
    inputs = host.object_info()[node]["input"]["required"]
    lists = [name for name in inputs if name.endswith("_file")]
    later = ["audio_vae_file", "text_projection_file"]
    assert lists == ["model_file", "text_encoder_file", "vae_file", *later]
    for name in lists:
        choices = inputs[name][1]["options"]
        assert choices[0] == inputs[name][1]["default"] == "none"
        assert (f"checkpoints/{NAME}" in choices) is (name != "text_encoder_file")


def test_an_absolute_path_is_no_name_of_a_listed_file(host: Host, checkpoint: Path) -> None:
    written = str(host.base / "output" / NAME)
    node = "LTXVTrainModelConfig"
    assert configured(host, node, model_source=written)["model_source"] == written


def test_a_chosen_file_stands_for_what_is_written(host: Host, checkpoint: Path) -> None:
    node = "LTXVTrainModelConfig"
    values = configured(
        host,
        node,
        model_file=f"checkpoints/{NAME}",
        vae_file=f"checkpoints/{NAME}",
        text_encoder_source="LTXV_MINIATURE",
    )
    assert Path(values["model_source"]).samefile(checkpoint)
    assert Path(values["vae_source"]).samefile(checkpoint)
    assert values["text_encoder_source"] == "LTXV_MINIATURE"
    for written in (NAME, f"checkpoints/{NAME}", str(checkpoint)):
        named = configured(host, node, model_source=written)["model_source"]
        assert Path(named).samefile(checkpoint)
    untouched = configured(host, node)
    assert untouched["model_source"] == "LTXV_13B_097_DEV"
    assert untouched["text_encoder_source"] is None


@pytest.mark.parametrize("node", NODES)
def test_a_file_that_is_not_there_is_named(host: Host, checkpoint: Path, node: str) -> None:
    graph = Graph()
    changes = {"model_file": "diffusion_models/gone.safetensors"}
    if node == NODES[1]:
        changes["dataset_path"] = "somewhere"
    graph.probe(add(graph, host, node, **changes))
    with pytest.raises(PromptRefused) as refused:
        host.start(graph.prompt)
    assert "model_file: there is no diffusion_models/gone.safetensors" in str(refused.value)
    assert "checkpoints/" in str(refused.value), "it says what there is"


@pytest.mark.long
def test_preprocessing_and_training_from_a_file(host: Host, checkpoint: Path) -> None:
    graph = Graph()
    parts = {"text_encoder_source": "LTXV_MINIATURE", "model_file": f"checkpoints/{NAME}"}
    dataset = add(graph, host, "LTXVTrainDemoDataset", clips=4, seed=11)
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        resolution_buckets="96x96x17",
        **parts,
    )
    config = configure(graph, host, data, steps=2, name="file", model=parts)
    probe = graph.probe(graph.add("LTXVTrainLoRA", config=config))
    assert seen(run(host, graph.prompt), probe).endswith(".safetensors")


def test_the_miniatures_checkpoint_can_be_linked(host: Host) -> None:
    graph = Graph()
    name = graph.add("LTXVTrainMiniatureCheckpoint")
    probe = graph.probe(add(graph, host, "LTXVTrainModelConfig", model_source=name))
    values = seen(run(host, graph.prompt), probe)
    assert Path(values["model_source"]).is_file()


def test_a_file_is_inspected(host: Host, checkpoint: Path) -> None:
    graph = Graph()
    node = graph.add("LTXVTrainInspectFile", file=f"checkpoints/{NAME}")
    text, facts = graph.probe(node), graph.probe(node[1])
    outcome = run(host, graph.prompt)
    assert "kind: checkpoint" in seen(outcome, text)
    assert json.loads(seen(outcome, facts))["transformer"]["num_layers"] == 4


def test_a_configuration_file_may_name_a_listed_file(host: Host, checkpoint: Path) -> None:
    text = f"model: {{model_source: '{NAME}'}}\ndata: {{preprocessed_data_root: somewhere}}"
    graph = Graph()
    probe = graph.probe(graph.add("LTXVTrainLoadConfig", file="", text=text))
    model = seen(run(host, graph.prompt), probe)["model"]
    assert Path(model["model_source"]).samefile(checkpoint)
    assert model["text_encoder_source"] is None
