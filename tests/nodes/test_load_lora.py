"""A LoRA file put into a model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.graph import Graph, Node, seen
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
    assert "7 of 8 modules don't exist in this model" in error
    assert "transformer.block_0.to_q" in error
    assert "and 2 more" in error


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("lycoris_transformer_blocks_0_attn1_to_q.lokr_t2", "is a LoKr"),
        ("diffusion_model.transformer_blocks.0.audio_attn1.to_q.lora_A.weight", "LoRA of LTX-2"),
    ],
)
def test_what_is_no_lora_for_the_model_is_named_for_what_it_is(host, key, named) -> None:
    folder = models_folder(host, "loras")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.ones(2, 2)}, str(folder / "kind.safetensors"))
    graph = Graph()
    model = graph.add("ProbeModel")
    graph.probe(
        graph.add("LTXVTrainLoadLoRA", model=model, lora_name="kind.safetensors", strength=1.0)
    )
    assert named in _error(run(host, graph.prompt))


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


Q = "transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("down", "up", "alpha"),
    [
        (f"transformer.{Q}.lora_A.weight", f"transformer.{Q}.lora_B.weight", None),
        (
            "lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight",
            "lora_unet_transformer_blocks_0_attn1_to_q.lora_up.weight",
            "lora_unet_transformer_blocks_0_attn1_to_q.alpha",
        ),
    ],
    ids=["diffusers", "kohya"],
)
def test_other_forms_find_their_places(host: Host, down: str, up: str, alpha: str | None) -> None:
    tensors = {down: torch.ones(2, 4), up: torch.ones(4, 2)}
    if alpha:
        tensors[alpha] = torch.tensor(1.0)
    file_name = f"form-{bool(alpha)}.safetensors"
    models_folder(host, "loras").mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(models_folder(host, "loras") / file_name))
    graph = Graph()
    loaded = graph.add(
        "LTXVTrainLoadLoRA", model=graph.add("ProbeModel"), lora_name=file_name, strength=1.0
    )
    model, name, weights = (graph.probe(loaded[output]) for output in range(3))
    outcome = run(host, graph.prompt)
    assert seen(outcome, model)["patches"] == [f"diffusion_model.{Q}.weight"]
    assert seen(outcome, name) == file_name
    given = seen(outcome, weights)
    ups = [value["mean"] for key, value in given.items() if "_B." in key or "_up." in key]
    alphas = [value["mean"] for key, value in given.items() if key.endswith("alpha")]
    assert len(ups) == 1
    assert ups[0] * (alphas[0] / 2 if alphas else 1) == (0.5 if alpha else 1)


def of_step(graph: Graph, lora_name: str, step: int) -> Node:
    return graph.add(
        "LTXVTrainLoadLoRA",
        model=graph.add("ProbeModel"),
        lora_name=lora_name,
        strength=1.0,
        step=step,
    )


def test_an_earlier_step_of_the_run(host: Host) -> None:
    """From the run's folder, whose file gets a name among ComfyUI's LoRAs, or from there."""
    run_folder = host.base / "output" / "ltxv_train" / "steps-abc" / "weights"
    published = models_folder(host, "loras") / "ltxv_train"
    for folder, step in ((published, 2), (published, 4), (run_folder, 2), (run_folder, 3)):
        folder.mkdir(parents=True, exist_ok=True)
        value = -1 if (folder, step) == (published, 2) else step  # of a run that was deleted
        tensors = {f"diffusion_model.to_q.lora_{x}.weight": torch.full((2, 2), value) for x in "AB"}
        save_file(tensors, str(folder / f"steps-abc-{step:06d}.safetensors"))
    last = str(Path("ltxv_train", "steps-abc-000004.safetensors"))
    graph = Graph()
    nodes = [of_step(graph, last, step) for step in (0, 2, 3)]
    probes = [graph.probe(node[1]) for node in nodes]
    outcome = run(host, graph.prompt)
    names = [seen(outcome, probe) for probe in probes]
    steps = [Path(name).stem.removeprefix("steps-abc-") for name in names]
    assert steps == ["000004", "000002-2", "000003"]
    for name, step in zip(names, (4, 2, 3), strict=True):
        weights = load_file(models_folder(host, "loras") / name)
        assert all((tensor == step).all() for tensor in weights.values())
    graph = Graph()
    graph.probe(of_step(graph, last, 5))
    assert "no LoRA of step 5. It has LoRAs of the steps 2, 3, 4" in _error(run(host, graph.prompt))


def test_a_file_of_no_run_has_no_steps(host: Host) -> None:
    load(host, "alone.safetensors", ["diffusion_model.to_q"])
    graph = Graph()
    graph.probe(of_step(graph, "alone.safetensors", 5))
    assert "set step to 0" in _error(run(host, graph.prompt))


def _error(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error
