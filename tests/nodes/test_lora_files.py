"""LoRAs converted, made smaller, merged and extracted on the canvas."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.graph import Graph, seen
from tests.host import Host, failure, models_folder, run

LAYER = "transformer_blocks.0.attn1.to_q"


def write(host: Host, kind: str, name: str, tensors: dict[str, torch.Tensor]) -> str:
    folder = models_folder(host, kind)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / name))
    return name


def test_from_two_checkpoints_to_a_merged_one(host: Host) -> None:
    """Extract, resize and merge in one prompt: the difference is put back, half of it lost."""
    key = f"model.diffusion_model.{LAYER}.weight"
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    base = write(host, "checkpoints", "files-base.safetensors", {key: weight})
    tuned = write(host, "checkpoints", "files-tuned.safetensors", {key: weight + torch.eye(4)})
    graph = Graph()
    found = graph.add("LTXVTrainExtractLoRA", base_name=base, tuned_name=tuned, rank=4)
    small = graph.add("LTXVTrainResizeLoRA", lora_name=found, rank=2, energy=0.99)
    merged = graph.add("LTXVTrainMergeLoRA", model_name=base, lora_name=small, strength=1.0)
    errors = [graph.probe(node[1]) for node in (found, small)]
    names = [graph.probe(node) for node in (found, small, merged)]
    outcome = run(host, graph.prompt)
    exact, half = (seen(outcome, probe) for probe in errors)
    assert exact < 1e-5
    assert abs(half - 0.5**0.5) < 1e-4
    assert "rank 2, error 0.7071" in outcome.outputs[small.id]["text"][0]
    name = seen(outcome, names[2])
    assert Path(name).parent.name == "ltxv_train"
    (result,) = load_file(models_folder(host, "checkpoints") / name).values()
    assert abs((result - weight).square().sum().item() - 2) < 1e-4

    again = Graph()
    probe = again.probe(
        again.add(
            "LTXVTrainMergeLoRA", model_name=base, lora_name=seen(outcome, names[1]), strength=1
        )
    )
    assert seen(run(host, again.prompt), probe) == name


def test_a_converted_file_loads_and_foreign_keys_are_named(host: Host) -> None:
    tensors = {f"diffusion_model.{LAYER}.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}
    foreign = "text_encoder.layer.lora_A.weight"
    source = write(host, "loras", "files.safetensors", {**tensors, foreign: torch.ones(1)})
    graph = Graph()
    converted = graph.add("LTXVTrainConvertLoRA", lora_name=source, form="diffusers")
    loaded = graph.add(
        "LTXVTrainLoadLoRA", model=graph.add("ProbeModel"), lora_name=converted, strength=1.0
    )
    name, probe = graph.probe(converted), graph.probe(loaded)
    outcome = run(host, graph.prompt)
    assert foreign in outcome.outputs[converted.id]["text"][0]
    file = load_file(models_folder(host, "loras") / seen(outcome, name))
    assert set(file) == {f"transformer.{LAYER}.lora_{x}.weight" for x in "AB"}
    assert seen(outcome, probe)["patches"] == [f"diffusion_model.{LAYER}.weight"]


def test_files_that_do_not_fit_are_named(host: Host) -> None:
    base = write(host, "checkpoints", "no-model.safetensors", {"x": torch.ones(1)})
    tensors = {f"diffusion_model.{LAYER}.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}
    lora = write(host, "loras", "fits-nothing.safetensors", tensors)
    graph = Graph()
    graph.add("LTXVTrainMergeLoRA", model_name=base, lora_name=lora, strength=1.0)
    error = failure(host, graph.prompt)
    assert "no-model.safetensors: holds no transformer of LTX-Video" in error
