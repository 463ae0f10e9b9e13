"""A LoRA file put into a model."""

import torch
from safetensors.torch import save_file

from tests.graph import Graph, seen
from tests.host import Host, Outcome, models_folder, run


def load(host: Host, file_name: str, modules: list[str], strength: float = 1.0) -> tuple:
    """Writes a LoRA of rank 2 for these modules and loads it; returns outcome and probe."""
    folder = models_folder(host, "loras")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{module}.lora_{part}.weight": torch.ones(shape)
        for module in modules
        for part, shape in (("A", (2, 4)), ("B", (4, 2)))
    }
    save_file(tensors, str(folder / file_name), {"rank": "2"})
    graph = Graph()
    loaded = graph.add(
        "LTXVTrainLoadLoRA", model=graph.add("ProbeModel"), lora_name=file_name, strength=strength
    )
    probe = graph.probe(loaded)
    return run(host, graph.prompt), probe


def test_every_weight_finds_its_place(host: Host) -> None:
    modules = ["diffusion_model.to_q", "diffusion_model.to_k"]
    outcome, probe = load(host, "fits.safetensors", modules, strength=0.5)
    assert seen(outcome, probe) == {
        "patches": ["diffusion_model.to_k.weight", "diffusion_model.to_q.weight"],
        "strength": 0.5,
        "lora_metadata": {"rank": "2"},
    }


def test_weights_without_a_place_are_an_error_that_names_them(host: Host) -> None:
    modules = ["diffusion_model.to_q", *(f"transformer.block_{n}.to_q" for n in range(7))]
    error = _error(load(host, "other.safetensors", modules)[0])
    assert "7 of 8 modules have no place" in error
    assert "transformer.block_0.to_q" in error
    assert "and 2 more" in error


def test_a_file_that_is_no_lora_is_named(host: Host) -> None:
    folder = models_folder(host, "loras")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"not a LoRA")
    graph = Graph()
    graph.probe(
        graph.add(
            "LTXVTrainLoadLoRA",
            model=graph.add("ProbeModel"),
            lora_name="broken.safetensors",
            strength=1.0,
        )
    )
    assert "broken.safetensors: is no readable" in _error(run(host, graph.prompt))


def test_a_replaced_file_is_read_again(host: Host) -> None:
    outcome, probe = load(host, "replaced.safetensors", ["diffusion_model.to_q"])
    assert seen(outcome, probe)["patches"] == ["diffusion_model.to_q.weight"]
    outcome, probe = load(host, "replaced.safetensors", ["diffusion_model.to_k"])
    assert seen(outcome, probe)["patches"] == ["diffusion_model.to_k.weight"]


def _error(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error
