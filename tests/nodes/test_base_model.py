"""The model is named once: a model section goes to preprocessing, to the recipe and to sampling."""

import time
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature.comfy_file import export, wide_vae
from tests.graph import Graph, Node, seen
from tests.host import Host, failure, models_folder, run
from tests.nodes.workflows import add

MINIATURE, PROMPT = "LTXV_MINIATURE", "a red circle moves right on a teal background"

on_comfyui = [pytest.mark.comfyui, pytest.mark.parametrize("host", ["comfyui"], indirect=True)]


def section(graph: Graph, host: Host, **values: Any) -> Node:
    return add(graph, host, "LTXVTrainModelConfig", **values)


def preprocessed(graph: Graph, host: Host, model: Node, clips: int = 3, **values: Any) -> Node:
    dataset = add(graph, host, "LTXVTrainDemoDataset", clips=clips, seed=5)
    given = {"resolution_buckets": "96x96x17", "model_source": "nobody/has-this"} | values
    return add(
        graph, host, "LTXVTrainDatasetPreprocess", dataset_path=dataset, model=model, **given
    )


def test_preprocessing_takes_the_connected_model_and_its_size_is_read(host: Host) -> None:
    graph = Graph()
    data = preprocessed(graph, host, section(graph, host, model_source=MINIATURE))
    small = preprocessed(
        graph,
        host,
        section(graph, host, model_source=MINIATURE),
        resolution_buckets="64x32x9",
        output_dir="named-once",
    )
    sizes = [
        graph.add("LTXVTrainDatasetSize", preprocessed_data_root=each) for each in (data, small)
    ]
    probes = [graph.probe(node[output]) for node in sizes for output in range(4)]
    outcome = run(host, graph.prompt).succeeded()
    assert [seen(outcome, probe) for probe in probes] == [96, 96, 17, 25.0, 64, 32, 9, 25.0]


def test_a_size_is_read_of_a_data_set_alone(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainDatasetSize", preprocessed_data_root="nowhere"))
    assert "nowhere: no such file or folder" in failure(host, graph.prompt)


@pytest.mark.parametrize("kind", ["LTXVTrainDatasetPreprocess", "LTXVTrainRecipe", "sampling"])
def test_a_model_that_is_nowhere_is_said_where_it_is_named(host: Host, kind: str) -> None:
    graph = Graph()
    model = section(graph, host, model_source="LTXV_2B")
    if kind == "sampling":
        graph.probe(graph.add("LTXVTrainLoadModel", model=model)[0])
    elif kind == "LTXVTrainRecipe":
        data = preprocessed(graph, host, section(graph, host, model_source=MINIATURE))
        add(graph, host, kind, preprocessed_data_root=data, model=model)
    else:
        preprocessed(graph, host, model)
    message = failure(host, graph.prompt)
    assert "model_source" in message
    assert "expected LTXV_MINIATURE, LTX2_MINIATURE, one of" in message
    assert "nobody/has-this" not in message


def sampled(graph: Graph, model: Any, vae: Any, positive: Any, negative: Any) -> Node:
    """The frames after two steps from fixed noise."""
    latents = graph.add("EmptyLTXVLatentVideo", width=96, height=96, length=17, batch_size=1)
    texts = graph.add("LTXVConditioning", positive=positive, negative=negative, frame_rate=25.0)
    result = graph.add(
        "KSampler",
        model=model,
        seed=4,
        steps=2,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
        positive=texts[0],
        negative=texts[1],
        latent_image=latents,
        denoise=1.0,
    )
    return graph.probe(graph.add("VAEDecode", samples=result, vae=vae))


def by_section(host: Host, **values: Any) -> Any:
    """What a loaded section samples."""
    graph = Graph()
    loaded = graph.add("LTXVTrainLoadModel", model=section(graph, host, **values))
    texts = [graph.add("CLIPTextEncode", clip=loaded[1], text=text) for text in (PROMPT, "")]
    probe = sampled(graph, loaded[0], loaded[2], *texts)
    return seen(run(host, graph.prompt), probe)


class TestLoadedOnComfyUI:
    pytestmark = on_comfyui

    @pytest.fixture
    def expected(self, host: Host) -> Any:
        """What the miniature's checkpoint samples through the stock loader."""
        graph = Graph()
        written = graph.add("LTXVTrainMiniatureCheckpoint")
        model = graph.add("CheckpointLoaderSimple", ckpt_name=written)
        texts = [graph.add("LTXVTrainMiniaturePrompt", text=text) for text in (PROMPT, "")]
        probe = sampled(graph, model[0], model[2], *texts)
        return seen(run(host, graph.prompt), probe)

    def test_the_miniature_samples_as_its_checkpoint_does(self, host: Host, expected: Any) -> None:
        assert expected["shape"] == [17, 96, 96, 3]
        assert by_section(host, model_source=MINIATURE) == expected

    def test_a_checkpoint_file_is_read_by_comfyui(self, host: Host, expected: Any) -> None:
        export(models_folder(host, "checkpoints") / "named-once.safetensors")
        found = by_section(
            host, model_file="checkpoints/named-once.safetensors", text_encoder_source=MINIATURE
        )
        assert found == expected

    def test_a_folder_in_the_diffusers_layout_is_loaded_in_bfloat16(
        self, host: Host, expected: Any
    ) -> None:
        folder = Path(host.base, "input", "named-once-folder")
        weights.load_transformer().save_pretrained(folder / "transformer")
        wide_vae().save_pretrained(folder / "vae")
        weights.load_text_encoder().save_pretrained(folder / "text_encoder")
        weights.load_tokenizer().save_pretrained(folder / "tokenizer")
        (folder / "model_index.json").write_text('{"_class_name": "LTXConditionPipeline"}')
        found = by_section(host, model_source=str(folder), text_encoder_source=MINIATURE)
        assert found["shape"] == expected["shape"]
        assert found["mean"] == pytest.approx(expected["mean"], abs=0.02)
        assert found != expected

    def test_a_missing_text_encoder_stops_only_who_needs_it(self, host: Host) -> None:
        export(models_folder(host, "checkpoints") / "named-once.safetensors")
        graph = Graph()
        model = section(graph, host, model_file="checkpoints/named-once.safetensors")
        loaded = graph.add("LTXVTrainLoadModel", model=model)
        texts = [graph.add("LTXVTrainMiniaturePrompt", text=text) for text in (PROMPT, "")]
        sampled(graph, loaded[0], loaded[2], *texts)
        run(host, graph.prompt).succeeded()
        graph.probe(graph.add("CLIPTextEncode", clip=loaded[1], text=PROMPT))
        before = len(host.sent())
        run(host, graph.prompt)
        until = time.monotonic() + 10  # the message may come after the prompt's end
        told: list[str] = []
        while not told and time.monotonic() < until:
            told = [
                each.data["exception_message"]
                for each in host.sent()[before:]
                if each.event == "execution_error"
            ]
            time.sleep(0.05)
        assert "holds no text encoder; give one in text_encoder_source" in told[-1]
