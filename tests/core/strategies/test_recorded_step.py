"""Steps that LTX-Video-Trainer (31b1273) has made, recorded, against ours with its switch.

Weights and inputs are hashes of their names and torch's own random numbers, so that the numbers in
`recorded_step.json` are all that is needed: losses and the norms of gradients.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ltxv_train_core.config import LoRAConfig, TrainingConfig, build
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.precision import autocast
from ltxv_train_core.strategies import STRATEGIES

RECORDED = json.loads(Path(__file__).with_name("recorded_step.json").read_text())
SHAPE, TOKENS, FPS, RANK, WORDS = (3, 4, 6), 72, 25.0, 4, 512
TARGETS = ("to_k", "to_q", "to_v", "to_out.0")
CPU = torch.device("cpu")


def uniform(name: str, numbers: int, first: int = 1) -> np.ndarray:
    """Numbers from 0 to 1: splitmix64, whose seed is the hash of a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(first, first + numbers, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def spread(name: str, shape, width: float, around: float = 0.0) -> torch.Tensor:
    """Uniform numbers of a standard deviation, around one number."""
    numbers = (uniform(name, int(np.prod(shape))) * 2 - 1) * (width * 3**0.5)
    return torch.from_numpy((around + numbers.astype(np.float32)).reshape(shape)).float()


def normal(name: str, shape) -> torch.Tensor:
    count = int(np.prod(shape))
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(name, count)))
    angle = np.cos(2 * np.pi * uniform(name, count, first=count + 1))
    return torch.from_numpy((radius * angle).astype(np.float32).reshape(shape)).bfloat16()


class Recorded(SampleDraws):
    """The random numbers of the recorded steps, which torch makes of the seed 1234: z, then noise."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1234)
        noise_shape = (2, TOKENS, 128)
        self.numbers = [
            torch.randn(2, generator=generator),
            torch.randn(noise_shape, generator=generator, dtype=torch.bfloat16).float(),
        ]

    def normal(self, *shape):
        return self.numbers.pop(0)

    def uniform(self, *shape):
        return torch.zeros(2, *shape)

    def shared(self):
        return self


@pytest.fixture(scope="module")
def weights():
    """Of the small transformer, in bfloat16."""
    model = transformer()
    for name, parameter in model.named_parameters():
        shape, width, around = parameter.shape, float(np.prod(parameter.shape[1:])) ** -0.5, 0.0
        if parameter.ndim <= 1:
            around, width = (1.0, 0.05) if name.endswith("weight") else (0.0, 0.02)
        elif name.endswith("scale_shift_table"):
            width = shape[-1] ** -0.5
        parameter.data.copy_(spread(f"tr-micro/{name}", shape, width, around))
    return model.bfloat16().state_dict()


def transformer():
    from diffusers import LTXVideoTransformer3DModel

    return LTXVideoTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=64,
        num_layers=3,
        cross_attention_dim=256,
        caption_channels=WORDS,
    )


def step(weights, case: str, kind: str):
    """Loss, norm of all gradients, and norms by the recorded order of layers."""
    mode = "reference_video" if case.startswith("ic") else "none"
    config = build(
        TrainingConfig,
        {
            "data": {"preprocessed_data_root": "x"},
            "flow_matching": {"compat": "ltx-video-trainer"},
            "conditioning": {
                "mode": mode,
                "first_frame_conditioning_p": float(case.endswith("first_frame")),
            },
        },
    )
    dtype = torch.float32 if kind == "fp32" else torch.bfloat16
    model = transformer().to(dtype)
    model.load_state_dict(weights)
    add_lora(model, LoRAConfig(rank=RANK, alpha=RANK, target_modules=TARGETS), 0)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        given = spread(f"golden/{name}", parameter.shape, 0.03).bfloat16()
        parameter.data.copy_(given)
    strategy = STRATEGIES[mode](config, LTXVideoDenoiser(model, causal_positions=True).streams)
    latents = {
        name: normal(f"golden/{of}", (2, TOKENS, 128)).transpose(1, 2).unflatten(2, SHAPE).float()
        for name, of in (("latents", "x0"), ("reference", "ref"))
    }
    words = spread("golden/text", (2, 256, WORDS), 0.2).bfloat16().to(dtype)
    mask = torch.arange(256)[None] < torch.tensor([[17], [60]])
    text = Text({"prompt_embeds": words}, mask)
    batch = Batch({"video": latents}, torch.tensor([FPS] * 2), text, ("a", "b"))
    inputs = strategy.prepare(batch, Recorded())
    with autocast("no" if kind == "fp32" else "bf16", CPU):
        predicted = LTXVideoDenoiser(model, True).denoise(inputs.seen, text)
    loss = inputs.loss(predicted)
    loss.backward()
    norms = [trained[f"{name}.default.weight"].grad.norm().item() for name in RECORDED["layers"]]
    total = torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
    return loss.item(), total.item(), torch.tensor(norms)


@pytest.mark.long
@pytest.mark.parametrize("name", RECORDED["cases"])
def test_recorded_steps_are_reproduced(weights, name):
    """In float32 within rounding. In bfloat16 as near as the recorded steps, whose LoRA is in bfloat16 as well, are
    to their own float32."""
    case, kind = name.split()
    recorded = RECORDED["cases"][name]
    loss, total, norms = step(weights, case, kind)
    of_loss, of_norms = (1e-6, 1e-5) if kind == "fp32" else (2e-4, 1e-2)
    assert loss == pytest.approx(recorded["loss"], rel=of_loss)
    assert total == pytest.approx(recorded["norm"], rel=of_norms)
    torch.testing.assert_close(norms, torch.tensor(recorded["norms"]), rtol=of_norms, atol=0)
