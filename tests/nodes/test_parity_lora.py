"""A LoRA does the same in training, in ComfyUI and in diffusers.

Each case is a run that starts from a LoRA with an effect and makes one step that changes nothing; the
files that it writes are then loaded by the others, over the noisy tokens of that step.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTXPipeline

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.lora.adapter_shapes import PLAIN
from ltxv_train_core.lora.file import lora_tensors, write_adapter_file, write_lora_file
from ltxv_train_core.lora.initialize import adapted_layers
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.quantize import quantize_base
from tests.host import Host, models_folder
from tests.nodes.forward import OneClip, Trained, answer, sampled

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

CLOSE = 1e-5
ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
AROUND_THE_BLOCKS = ("proj_in", "time_embed.linear", "caption_projection.*", "proj_out")


@dataclass(frozen=True)
class Case:
    rank: int
    alpha: int
    target_modules: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)


CASES = {
    "alpha = rank": Case(4, 4, ATTENTION),
    "alpha != rank": Case(4, 12, ATTENTION),
    "feed-forward": Case(8, 4, ATTENTION + FEED_FORWARD),
    "around the blocks": Case(4, 12, AROUND_THE_BLOCKS),
}

OTHERS = {
    "rslora": Case(4, 12, ATTENTION, adapter={"adapter": "rslora"}),
    "dora": Case(4, 12, ATTENTION + FEED_FORWARD, adapter={"adapter": "dora"}),
    "lokr": Case(4, 12, ATTENTION + FEED_FORWARD, adapter={"adapter": "lokr"}),
    "whole lokr": Case(64, 32, ATTENTION, adapter={"adapter": "lokr", "lokr_factor": 8}),
    "loha": Case(8, 32, ATTENTION + FEED_FORWARD, adapter={"adapter": "loha"}),
    "oft": Case(16, 16, ATTENTION + FEED_FORWARD, adapter={"adapter": "oft"}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> OneClip:
    return OneClip.make("stripes", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def checkpoint(host: Host) -> Path:
    return export(models_folder(host, "checkpoints") / "parity-lora.safetensors")


def train(case: Case, clip: OneClip, checkpoint: Path, folder: Path) -> Trained:
    config = LoRAConfig(
        rank=case.rank, alpha=case.alpha, target_modules=case.target_modules, **case.adapter
    )
    transformer = load_transformer()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in add_lora(transformer, config, seed=0):
            drawn = torch.randn(parameter.shape, generator=generator) * 0.03
            parameter.copy_(drawn if config.adapter in PLAIN else parameter + drawn)
    start = folder / "start.safetensors"
    if config.adapter in PLAIN:
        write_lora_file(start, lora_tensors(transformer), case.rank, config.scale * case.rank, {})
    else:
        layers = adapted_layers(transformer)
        write_adapter_file(start, {name: each.as_layer() for name, each in layers.items()}, {})
    return clip.train(
        folder / "runs",
        str(checkpoint),
        model={"load_checkpoint": str(start)},
        lora=config.model_dump(),
        acceleration=case.options,
        checkpoints={"write_kohya": True, "write_diffusers": config.adapter in PLAIN},
    )


def in_comfyui(host: Host, trained: Trained, checkpoint: Path, form: str) -> torch.Tensor:
    """The prediction with a form of the run's LoRA: diffusers' through our loader, the others
    through the stock one; "none" is without."""
    file = trained.result.lora_file
    name = f"{file.stem}-{form}.safetensors"
    lora = None
    if form != "none":
        source = file if form in ("comfy", "ours") else file.with_name(name)
        target = models_folder(host, "loras") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        lora = {
            "node": "LoraLoaderModelOnly",
            "inputs": {"lora_name": name, "strength_model": 1.0},
        }
        if form in ("diffusers", "ours"):
            inputs = {"lora_name": name, "strength": 1.0}
            lora = {"node": "LTXVTrainLoadLoRA", "inputs": inputs}
    return sampled(host, trained, checkpoint.name, Path(name).stem, lora).prediction


def in_diffusers(trained: Trained, form: str) -> torch.Tensor:
    """The prediction with a form of the run's LoRA, loaded as diffusers' pipeline loads it."""
    file = trained.result.lora_file
    path = file if form == "comfy" else file.with_name(f"{file.stem}-{form}.safetensors")
    transformer = load_transformer()
    state, metadata = LTXPipeline.lora_state_dict(str(path), return_lora_metadata=True)
    LTXPipeline.load_lora_into_transformer(state, transformer, metadata=metadata)
    return answer(transformer.eval(), trained)


def largest(difference: torch.Tensor) -> float:
    return difference.abs().max().item()


@pytest.mark.parametrize("name", CASES)
def test_every_form_does_what_it_did_in_training(
    host: Host, clip: OneClip, checkpoint: Path, tmp_path: Path, name: str
) -> None:
    trained = train(CASES[name], clip, checkpoint, tmp_path)
    ours = trained.forward.prediction
    effect = largest(ours - answer(load_transformer(), trained))
    errors = {
        **{
            f"ComfyUI, {form}": largest(in_comfyui(host, trained, checkpoint, form) - ours)
            for form in ("comfy", "kohya", "diffusers")
        },
        **{
            f"diffusers, {form}": largest(in_diffusers(trained, form) - ours)
            for form in ("comfy", "diffusers")
            if (name, form) != ("around the blocks", "comfy")
        },
    }
    print(f"{name}: effect {effect:.3f}", {k: f"{error:.1e}" for k, error in errors.items()})
    assert effect > 0.05
    assert max(errors.values()) <= CLOSE, errors


@pytest.mark.parametrize("name", OTHERS)
def test_every_adapter_does_what_it_did_in_training(
    host: Host, clip: OneClip, checkpoint: Path, tmp_path: Path, name: str
) -> None:
    """By the stock loader, and by ours."""
    trained = train(OTHERS[name], clip, checkpoint, tmp_path)
    ours = trained.forward.prediction
    effect = largest(ours - answer(load_transformer(), trained))
    errors = {
        form: largest(in_comfyui(host, trained, checkpoint, form) - ours)
        for form in ("comfy", "kohya", "ours")
    }
    print(f"{name}: effect {effect:.3f}", {k: f"{error:.1e}" for k, error in errors.items()})
    assert effect > 0.05
    assert max(errors.values()) <= CLOSE, errors


def test_on_a_quantized_base_within_its_error(
    host: Host, clip: OneClip, checkpoint: Path, tmp_path: Path
) -> None:
    """Trained on 8 bits, sampled on the whole weights: the LoRA's effect differs by less than what
    the bits change without it."""
    case = Case(4, 12, ATTENTION, {"quantization": "int8-quanto"})
    trained = train(case, clip, checkpoint, tmp_path)
    quantized = quantize_base(load_transformer(), "int8-quanto", torch.device("cpu"))
    base = answer(quantized, trained)
    effect = trained.forward.prediction - base
    theirs_base = in_comfyui(host, trained, checkpoint, "none")
    theirs = in_comfyui(host, trained, checkpoint, "comfy") - theirs_base
    error, allowed = largest(theirs - effect), largest(theirs_base - base)
    print(f"quantized: effect {largest(effect):.3f}, error {error:.1e}, base's {allowed:.1e}")
    assert largest(effect) > 0.05
    assert error < allowed < 0.1
    assert (theirs - effect).norm() < 0.02 * effect.norm()
