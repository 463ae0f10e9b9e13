"""Full fine-tuning from the canvas."""

import shutil

import pytest

from tests.graph import Graph, seen
from tests.host import Host, failure, models_folder, run
from tests.nodes.test_on_canvas import Canvas
from tests.nodes.workflows import configure, prepare


def train(graph: Graph, host: Host, node: str = "LTXVTrainModel", **model: str):
    _, preprocessed = prepare(graph, host)
    section = {"model_source": "LTXV_MINIATURE", **model}
    optimization = {"steps": 2, "learning_rate": 1e-4, "batch_size": 1}
    config = configure(
        graph, host, preprocessed, 2, model=section, optimization=optimization, name="full"
    )
    return graph.add(node, config=config)


def test_the_trained_model_lies_where_loaders_list_it(host: Host) -> None:
    graph = Graph()
    name = graph.probe(train(graph, host))
    published = seen(run(host, graph.prompt), name)
    path = models_folder(host, "diffusion_models") / published
    assert path.parent.name == "ltxv_train"
    assert path.stat().st_size == pytest.approx(4 * 4.91e6, rel=0.01), "float32, all weights"


def test_a_lora_node_names_the_node_for_the_whole_model(host: Host) -> None:
    graph = Graph()
    train(graph, host, "LTXVTrainLoRA", training_mode="full")
    assert "LTXVTrainModel" in failure(host, graph.prompt)


@pytest.mark.comfyui
@pytest.mark.parametrize("host", ["comfyui"], indirect=True)
def test_stock_loaders_sample_with_the_trained_model(host: Host) -> None:
    canvas = Canvas()
    graph = canvas.graph
    name = graph.probe(train(graph, host))
    base = graph.probe(canvas.sample(canvas.model, canvas.prompts, canvas.latent))
    outcome = run(host, graph.prompt).succeeded()
    published, untrained = seen(outcome, name), seen(outcome, base)
    checkpoints = models_folder(host, "checkpoints")
    shutil.copyfile(
        models_folder(host, "diffusion_models") / published, checkpoints / "full.safetensors"
    )

    canvas = Canvas()
    loaded = canvas.graph.add("CheckpointLoaderSimple", ckpt_name="full.safetensors")
    probes = {"checkpoint": canvas.sample(loaded, canvas.prompts, canvas.latent)}
    version = host.get("/system_stats")["system"]["comfyui_version"]  # type: ignore[attr-defined]
    if tuple(map(int, version.split(".")[:2])) >= (0, 33):  # earlier ones don't read the sizes
        unet = canvas.graph.add("UNETLoader", unet_name=published, weight_dtype="default")
        probes["diffusion model"] = canvas.sample(unet, canvas.prompts, canvas.latent)
    shown = {key: canvas.graph.probe(sampled) for key, sampled in probes.items()}
    before = len(host.log())
    outcome = run(host, canvas.graph.prompt)
    sampled = {key: seen(outcome, probe)["samples"]["std"] for key, probe in shown.items()}
    assert all(value == sampled["checkpoint"] for value in sampled.values())
    assert sampled["checkpoint"] != untrained["samples"]["std"]
    assert "unet missing" not in host.log()[before:]
