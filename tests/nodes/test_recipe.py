"""A recipe on the canvas: what it gives, what it shows, and training by it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ltxv_train_core.config import ModelConfig
from ltxv_train_core.families.ltx2.miniature import datasets as sounds
from ltxv_train_core.families.ltx2.miniature.comfy_audio import (
    audio_description,
    audio_tensors,
)
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.recipes.propose import propose
from ltxv_train_core.recipes.request import RecipeRequest
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.units import GIB
from tests.graph import Graph, Node, seen
from tests.host import Host, failure, models_folder, run
from tests.nodes.workflows import SIZE, add, prepare

NODE = "LTXVTrainRecipe"
MINIATURE = "LTXV_MINIATURE"


@pytest.fixture(scope="module")
def data(host: Host) -> Path:
    """A preprocessed data set of five clips with references."""
    folder = host.base / "input" / "recipe"
    clips = generate("mirror", folder, clips=5)
    return preprocess(PreprocessSettings(clips.metadata, MINIATURE, SIZE)).root


def recipe(graph: Graph, host: Host, root: object, **values: Any) -> Node:
    given = {"model_source": MINIATURE, "card_memory": "24 GB"} | values
    root = str(root) if isinstance(root, Path) else root
    return add(graph, host, NODE, preprocessed_data_root=root, **given)


def proposed(host: Host, data: Path, **values: Any) -> dict[str, Any]:
    graph = Graph()
    probe = graph.probe(recipe(graph, host, data, **values))
    config: dict[str, Any] = seen(run(host, graph.prompt), probe)
    return config


def refusal(host: Host, root: object, **values: Any) -> str:
    graph = Graph()
    recipe(graph, host, root, **values)
    return failure(host, graph.prompt)


def test_files_of_ltx2_are_listed_and_count(host: Host) -> None:
    clips = sounds.generate("plain", host.base / "input" / "recipe-with-sound", clips=2)
    root = preprocess(PreprocessSettings(clips.metadata, "LTX2_MINIATURE", SIZE)).root
    file = models_folder(host, "vae") / "heard.safetensors"
    write_safetensors(file, audio_tensors(), {"config": json.dumps(audio_description())})
    config = proposed(
        host,
        root,
        model_source="LTX2_MINIATURE",
        audio_vae_file="vae/heard.safetensors",
        text_projection_file="none",
    )
    assert config["model"]["audio_vae_source"] == str(file)
    assert config["model"]["text_projection_source"] is None
    missing = refusal(host, root, audio_vae_file="vae/gone.safetensors")
    assert "gone.safetensors" in missing


def test_the_node_gives_what_the_core_proposes(host: Host, data: Path) -> None:
    graph = Graph()
    node = recipe(graph, host, data, goal="ic-lora", effort="draft", name=" mine ")
    probes = graph.probe(node), graph.probe(node[1])
    outcome = run(host, graph.prompt)
    config, text = (seen(outcome, probe) for probe in probes)
    expected = propose(
        RecipeRequest(
            goal="ic-lora",
            effort="draft",
            card_bytes=24 * GIB,
            data_root=str(data),
            model=ModelConfig(model_source=MINIATURE),
            device=torch.device("cpu"),
            name="mine",
            output_dir=str(host.base / "output" / "ltxv_train"),
        )
    )
    assert config == expected.configuration.model_dump(mode="json")
    assert (config["lora"]["rank"], config["optimization"]["steps"]) == (8, 30)
    assert text == expected.text
    assert outcome.outputs[node.id]["text"] == [text]
    told = [
        s.data["text"]
        for s in host.sent()
        if s.event == "progress_text" and s.data["node"] == node.id
    ]
    assert told[-1] == text
    lines = text.splitlines()
    assert lines[0].startswith(
        "goal ic-lora, draft effort: LTXV_MINIATURE, 5 clips, most of them 96x96x17"
    )
    assert lines[1].startswith("memory: about 26.6 MiB")
    assert lines[2].startswith("time: not known")


def test_the_memory_of_this_machine_is_detected(host: Host, data: Path) -> None:
    graph = Graph()
    probe = graph.probe(recipe(graph, host, data, card_memory="detected")[1])
    summary = seen(run(host, graph.prompt), probe).splitlines()[0]
    assert float(summary.split("a card of ")[1].removesuffix(" GiB")) > 0


def test_a_connected_section_counts_as_it_is(host: Host, data: Path) -> None:
    graph = Graph()
    sections = {
        "optimization": add(graph, host, "LTXVTrainOptimizationConfig", steps=7, batch_size=3),
        "model": add(graph, host, "LTXVTrainModelConfig", model_source=MINIATURE),
        "data": add(
            graph,
            host,
            "LTXVTrainDataConfig",
            preprocessed_data_root=str(data),
            num_dataloader_workers=0,
        ),
    }
    node = recipe(graph, host, "", model_source="LTXV_13B_097_DEV", **sections)
    probe, text = graph.probe(node), graph.probe(node[1])
    outcome = run(host, graph.prompt)
    config = seen(outcome, probe)
    assert (config["optimization"]["steps"], config["optimization"]["batch_size"]) == (7, 3)
    assert config["optimization"]["learning_rate"] == 1e-4
    assert config["model"]["model_source"] == MINIATURE
    assert config["data"]["num_dataloader_workers"] == 0
    assert config["lora"]["rank"] == 8
    assert "optimization." not in seen(outcome, text)


def test_prompts_are_sampled_in_the_clips_size(host: Host, data: Path) -> None:
    validation = proposed(host, data, prompts="a red circle\n\n a blue ring ")["validation"]
    assert validation["prompts"] == ["a red circle", "a blue ring"]
    assert validation["video_dims"] == [96, 96, 17]
    assert proposed(host, data)["validation"]["prompts"] == []


def test_a_file_of_the_list_is_the_model(host: Host, data: Path) -> None:
    path = export(models_folder(host, "checkpoints") / "recipe.safetensors")
    try:
        config = proposed(host, data, model_file="checkpoints/recipe.safetensors")
        assert Path(config["model"]["model_source"]).samefile(path)
        assert config["optimization"]["learning_rate"] == 2e-3
    finally:
        path.unlink()


def test_what_the_node_refuses(host: Host, data: Path) -> None:
    assert "connect the output of Preprocess LTXV Dataset" in refusal(host, " ")
    assert "no-such-folder: no such file or folder" in refusal(host, "no-such-folder")
    message = refusal(host, data, goal="full", model_source="LTXV_13B_097_DEV")
    assert "goal full with LTXV_13B_097_DEV takes at least" in message
    assert "What would fit: a LoRA: the goal style" in message
    assert "Configure LTXV Validation" in refusal(host, data, goal="ic-lora", prompts="a ring")


def test_another_data_set_at_the_same_path_is_proposed_for_again(host: Host, data: Path) -> None:
    copy = data.parent.parent / "recipe_again"
    shutil.copytree(data, copy)
    graph = Graph()
    node = recipe(graph, host, copy)
    probe = graph.probe(node[1])
    assert ", 5 clips" in seen(run(host, graph.prompt), probe)
    fewer = generate("mirror", copy.with_name("recipe_fewer"), clips=4)
    root = preprocess(PreprocessSettings(fewer.metadata, MINIATURE, SIZE)).root
    shutil.rmtree(copy)
    shutil.copytree(root, copy)
    assert ", 4 clips" in seen(run(host, graph.prompt), probe)


@pytest.mark.long
def test_training_by_a_recipe(host: Host) -> None:
    """From clips to a LoRA with two nodes beside the data set's; the second proposal knows the time."""
    graph = Graph()
    _, preprocessed = prepare(graph, host)
    steps = add(graph, host, "LTXVTrainOptimizationConfig", steps=9, learning_rate=2e-3)
    values = {"card_memory": "8 GB", "name": "by-recipe", "optimization": steps}
    probe = graph.probe(
        graph.add("LTXVTrainLoRA", config=recipe(graph, host, preprocessed, **values))
    )
    assert "by-recipe" in seen(run(host, graph.prompt), probe)
    again = Graph()
    _, preprocessed = prepare(again, host)
    steps = add(again, host, "LTXVTrainOptimizationConfig", steps=90, learning_rate=2e-3)
    text = again.probe(recipe(again, host, preprocessed, **values | {"optimization": steps})[1])
    line = seen(run(host, again.prompt), text).splitlines()[2]
    assert line.startswith("time: about ")
    assert "for 90 steps, as run by-recipe-" in line
