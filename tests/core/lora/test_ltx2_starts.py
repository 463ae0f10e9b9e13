"""Training of LTX-2 continues from LoRAs of other programs, by the names that each of them writes.

ltx-trainer: ComfyUI's layer names behind `diffusion_model.`, no alpha (its trainer.py, 400fd31). musubi-tuner: kohya's
flat names with an alpha of each layer. ComfyUI saves and reads both, also with lora_up and lora_down behind
`diffusion_model.`, and SimpleTuner's `lycoris_`. diffusers: its own layer names behind `transformer.`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.open import open_model
from ltxv_train_core.families.registry import comfy_name
from ltxv_train_core.lora.file import add_trained_lora
from ltxv_train_core.training.trainer import train
from tests.core.training.test_joint_run import clips, configured, root
from tests.helpers.ltx2 import transformer_of

__all__ = ["clips", "root"]

RANK, ALPHA = 4, 2.0
LAYERS = (
    "transformer_blocks.0.attn1.to_q",
    "transformer_blocks.1.audio_attn1.to_out.0",
    "transformer_blocks.0.audio_attn2.to_v",
    "transformer_blocks.1.audio_to_video_attn.to_k",
    "transformer_blocks.0.video_to_audio_attn.to_q",
    "transformer_blocks.1.ff.net.0.proj",
    "transformer_blocks.0.audio_ff.net.2",
    "proj_in",
    "audio_proj_in",
)

Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]


def pairs_of(transformer: torch.nn.Module, layers: tuple[str, ...] = LAYERS) -> Pairs:
    torch.manual_seed(7)
    found = {}
    for name in layers:
        out, into = transformer.get_submodule(name).weight.shape
        found[name] = torch.randn(RANK, into) * 0.1, torch.randn(out, RANK) * 0.1
    return found


def ltx_trainer(pairs: Pairs) -> dict[str, torch.Tensor]:
    return {
        f"diffusion_model.{comfy_name(name)}.lora_{side}.weight": tensor
        for name, pair in pairs.items()
        for side, tensor in zip("AB", pair, strict=True)
    }


def _flat(prefix: str, pairs: Pairs) -> dict[str, torch.Tensor]:
    found = {}
    for name, (down, up) in pairs.items():
        key = prefix + comfy_name(name).replace(".", "_")
        found |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        found[f"{key}.alpha"] = torch.tensor(ALPHA)
    return found


def musubi(pairs: Pairs) -> dict[str, torch.Tensor]:
    return _flat("lora_unet_", pairs)


def simpletuner(pairs: Pairs) -> dict[str, torch.Tensor]:
    return _flat("lycoris_", pairs)


def comfyui(pairs: Pairs) -> dict[str, torch.Tensor]:
    found = {}
    for name, (down, up) in pairs.items():
        key = f"diffusion_model.{comfy_name(name)}"
        found |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        found[f"{key}.alpha"] = torch.tensor(ALPHA)
    return found


def diffusers(pairs: Pairs) -> dict[str, torch.Tensor]:
    return {
        f"transformer.{name}.lora_{side}.weight": tensor
        for name, pair in pairs.items()
        for side, tensor in zip("AB", pair, strict=True)
    }


FORMS: dict[str, tuple[Callable[[Pairs], dict[str, torch.Tensor]], float]] = {
    "ltx-trainer": (ltx_trainer, 1.0),
    "musubi-tuner": (musubi, ALPHA / RANK),
    "simpletuner": (simpletuner, ALPHA / RANK),
    "comfyui": (comfyui, ALPHA / RANK),
    "diffusers": (diffusers, 1.0),
}
"""What each writes, and by what its loaders scale it."""


@pytest.mark.parametrize("form", FORMS)
def test_every_layer_is_found_and_scaled(form: str, tmp_path: Path) -> None:
    write, scale = FORMS[form]
    transformer = transformer_of("2.3")
    pairs, before = pairs_of(transformer), transformer_of("2.3")
    save_file(write(pairs), tmp_path / "lora.safetensors")
    add_trained_lora(transformer, tmp_path / "lora.safetensors")
    with torch.no_grad():
        for name, (down, up) in pairs.items():
            layer, plain = transformer.get_submodule(name), before.get_submodule(name)
            seen = torch.randn(3, down.shape[1])
            expected = plain(seen) + scale * (seen @ down.T @ up.T)
            torch.testing.assert_close(layer(seen), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_run_begins_with_its_effect(form: str, root: Path, tmp_path: Path) -> None:
    """A step without effect writes what was read, in ComfyUI's form."""
    write, scale = FORMS[form]
    layers = tuple(name for name in LAYERS if "proj_in" not in name)
    transformer = open_model(MINIATURE).load_transformer(torch.float32)
    pairs = pairs_of(transformer, layers)
    save_file(write(pairs), tmp_path / "start.safetensors")
    config = configured(
        root,
        tmp_path,
        model={"load_checkpoint": str(tmp_path / "start.safetensors")},
        lora={"rank": RANK, "alpha": RANK, "target_modules": list(layers)},
        optimization={"steps": 1, "learning_rate": 1e-12},
    )
    written = load_file(train(config).lora_file)
    assert len(written) == 2 * len(layers)
    for name, (down, up) in pairs.items():
        key = f"diffusion_model.{comfy_name(name)}.lora_"
        found = written[f"{key}B.weight"] @ written[f"{key}A.weight"]
        torch.testing.assert_close(found, scale * (up @ down), rtol=1e-4, atol=1e-5)


def test_a_file_with_a_layer_that_it_has_not_is_named(root: Path, tmp_path: Path) -> None:
    tensors = {
        f"lora_unet_transformer_blocks_0_audio_attn9_to_q.lora_{side}.weight": torch.ones(4, 4)
        for side in ("down", "up")
    }
    save_file(tensors, tmp_path / "start.safetensors")
    start = {"load_checkpoint": str(tmp_path / "start.safetensors")}
    with pytest.raises(LTXVTrainError, match=r"audio_attn9_to_q"):
        train(configured(root, tmp_path, model=start))
