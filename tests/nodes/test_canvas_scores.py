"""The miniature's promises, kept on the canvas: trained and sampled by ComfyUI, then scored."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from ltxv_train_core.config import SECTIONS, TrainingConfig, to_widgets
from ltxv_train_core.demo import recipe
from ltxv_train_core.families.ltxv.miniature.clips import FPS
from ltxv_train_core.families.ltxv.miniature.datasets import EvalItem, evaluation_items
from ltxv_train_core.families.ltxv.miniature.scores import Score, score
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.media.tensors import tensor_to_frames
from ltxv_train_core.media.write import write_video
from tests.graph import Graph, Node
from tests.host import Host, run
from tests.nodes.workflows import SIZE, add

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

NODE_NAMES = {"lora": "LoRA", "flow_matching": "FlowMatching"}


def train(graph: Graph, host: Host, task: str) -> Node:
    """The demo's own recipe, every section through its node; gives the LoRA's name."""
    dataset = add(graph, host, "LTXVTrainDemoDataset", task=task)
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model_source=MINIATURE,
        resolution_buckets=SIZE,
        id_token=recipe.TRIGGER,
    )
    wanted: TrainingConfig = recipe.training_config(task, Path("data"), Path("runs"), 0, MINIATURE)
    sections = {}
    for name in SECTIONS:
        values = to_widgets(getattr(wanted, name))
        if name == "data":
            values["preprocessed_data_root"] = data
        node = f"LTXVTrain{NODE_NAMES.get(name, name.capitalize())}Config"
        sections[name] = add(graph, host, node, **values)
    config = graph.add("LTXVTrainConfig", **sections, seed=0, name=wanted.name)
    return graph.add("LTXVTrainICLoRA" if task == "mirror" else "LTXVTrainLoRA", config=config)


def sample(graph: Graph, host: Host, model: object, vae: object, item: EvalItem, name: str) -> None:
    """Samples an evaluation prompt, as the quickstart does, into a .latent file."""
    positive = graph.add("LTXVTrainMiniaturePrompt", text=f"{recipe.TRIGGER} {item.prompt}")
    negative = graph.add("LTXVTrainMiniaturePrompt", text="")
    empty = graph.add("EmptyLTXVLatentVideo", width=96, height=96, length=17, batch_size=1)
    prompts: Node | list[Node] = [positive, negative]
    latent: object = empty
    if item.reference is not None:
        file = f"{name}.mp4"
        write_video(host.base / "input" / file, item.reference, FPS, crf=0)
        frames = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file=file))
        prompts = graph.add(
            "LTXVTrainApplyReference",
            positive=positive,
            negative=negative,
            vae=vae,
            latent=empty,
            reference=frames,
        )
        latent = prompts[2]
    sigmas = add(graph, host, "LTXVScheduler", steps=recipe.SAMPLING_STEPS, latent=empty)
    sampled: object = graph.add(
        "SamplerCustom",
        model=model,
        add_noise=True,
        noise_seed=1,
        cfg=recipe.GUIDANCE_SCALE,
        positive=prompts[0],
        negative=prompts[1],
        sampler=graph.add("KSamplerSelect", sampler_name="euler"),
        sigmas=sigmas,
        latent_image=latent,
    )
    if item.reference is not None:
        cropped = graph.add(
            "LTXVCropGuides", positive=prompts[0], negative=prompts[1], latent=sampled
        )
        sampled = cropped[2]
    graph.add("SaveLatent", samples=sampled, filename_prefix=name)


def scores(host: Host, task: str) -> tuple[Score, Score]:
    """Before and after training, over all evaluation prompts."""
    graph = Graph()
    checkpoint = graph.add("LTXVTrainMiniatureCheckpoint")
    model = graph.add("CheckpointLoaderSimple", ckpt_name=checkpoint)
    lora_name = train(graph, host, task)
    trained = graph.add("LTXVTrainLoadLoRA", model=model, lora_name=lora_name, strength=1.0)
    items = evaluation_items(task)
    for number, item in enumerate(items):
        sample(graph, host, model, model[2], item, f"{task}-before-{number:02d}")
        sample(graph, host, trained, model[2], item, f"{task}-after-{number:02d}")
    run(host, graph.prompt, seconds=1200).succeeded()
    codec = open_model(MINIATURE).load_vae()

    def videos(when: str) -> list[np.ndarray]:
        files = sorted((host.base / "output").glob(f"{task}-{when}-*.latent"))
        assert len(files) == len(items)
        return [tensor_to_frames(codec.decode(load_file(f)["latent_tensor"]))[0] for f in files]

    return score(task, videos("before"), items), score(task, videos("after"), items)


def test_stripes(host: Host) -> None:
    before, after = scores(host, "stripes")
    print(f"stripes on the canvas: {before.value:.3f} -> {after.value:.3f}, {after.fidelity}")
    assert abs(before.value) < 0.06
    assert after.value >= 0.30
    assert min(after.fidelity["background"], after.fidelity["colour"]) >= 0.8
    assert after.fidelity["motion"] >= 0.6


def test_mirror(host: Host) -> None:
    before, after = scores(host, "mirror")
    print(f"mirror on the canvas: {before.value:.3f} -> {after.value:.3f}, {after.details}")
    assert before.value < 0.40
    assert after.value >= 0.55
    assert after.details["centroid_error_px"] < 8
