"""Lean blocks compute what diffusers' own do, forwards and backwards, and keep half as much."""

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.adapters.inject import add_lora
from ltxv_train_core.adapters.trainable import load_trainable
from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.events import ignore
from ltxv_train_core.models.lean import make_lean
from ltxv_train_core.models.source import MINIATURE, open_model
from tests.core.kept import kept_bytes, small_transformer

TOKENS, WIDTH, TEXT, TEXT_WIDTH = 48, 64, 12, 40


def build(lean: bool) -> LTXVideoTransformer3DModel:
    transformer = small_transformer(width=WIDTH, text_width=TEXT_WIDTH)
    if lean:
        make_lean(transformer)
    return transformer


def inputs(timesteps: int = TOKENS, tokens: int = TOKENS) -> dict[str, torch.Tensor]:
    """Of two samples; the first one's text is padded."""
    torch.manual_seed(1)
    mask = torch.ones(2, TEXT)
    mask[0, 7:] = 0
    return {
        "hidden_states": torch.randn(2, tokens, 128),
        "encoder_hidden_states": torch.randn(2, TEXT, TEXT_WIDTH),
        "timestep": torch.rand(2, timesteps) * 1000,
        "encoder_attention_mask": mask,
        "video_coords": torch.rand(2, 3, tokens) * torch.tensor([2.0, 300.0, 300.0])[:, None],
    }


def run(transformer: LTXVideoTransformer3DModel, given: dict) -> tuple[torch.Tensor, dict]:
    """The output, and the gradients of a loss by the parameters' names."""
    output = transformer(**given, return_dict=False)[0]
    (output.float() * torch.linspace(-1, 1, 128)).square().mean().backward()
    named = transformer.named_parameters()
    return output.detach(), {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("timesteps", [1, TOKENS])
def test_outputs_and_all_gradients_are_those_of_diffusers(timesteps, checkpointing):
    results = []
    for lean in (False, True):
        transformer = build(lean)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        results.append(run(transformer, inputs(timesteps)))
    (theirs, gradients), (ours, lean_gradients) = results
    assert (ours - theirs).abs().max() < 1e-5
    assert lean_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        error = (lean_gradients[name] - gradient).norm() / gradient.norm()
        assert error < 1e-4, f"{name}: {error}"


def test_in_bfloat16_gradients_are_as_near_to_float32_as_those_of_diffusers():
    def gradient(lean: bool, dtype: torch.dtype) -> torch.Tensor:
        transformer = build(lean).to(dtype)
        add_lora(transformer, LoRAConfig(rank=8, alpha=8), 0)
        with torch.no_grad():
            for parameter in transformer.parameters():
                if parameter.requires_grad:
                    torch.manual_seed(parameter.numel())
                    parameter.normal_(0, 0.05)
        given = inputs()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            _, found = run(transformer, given | {"hidden_states": given["hidden_states"].to(dtype)})
        return torch.cat([found[name].flatten() for name in sorted(found)])

    exact = gradient(False, torch.float32)
    theirs, ours = (
        (gradient(lean, torch.bfloat16) - exact).norm() / exact.norm() for lean in (False, True)
    )
    assert ours < 0.03
    assert ours < 1.1 * theirs


def test_a_block_that_is_built_otherwise_stays_as_it_is():
    transformer = build(lean=False)
    first, second = transformer.transformer_blocks
    first.norm1.weight = torch.nn.Parameter(torch.ones(WIDTH))
    make_lean(transformer)
    assert "forward" not in vars(first)
    assert "forward" in vars(second)


@pytest.mark.parametrize(("mode", "most"), [("lora", 0.65), ("full", 0.85)])
def test_runs_train_lean_blocks(training_config, mode, most):
    """Of a miniature, whose few blocks share much; all weights need more for their gradients."""
    config = training_config(
        model={"training_mode": mode}, acceleration={"mixed_precision_mode": "bf16"}
    )
    source = open_model(MINIATURE)
    lean = load_trainable(config, source, torch.device("cpu"), ignore).transformer
    plain = source.load_transformer(lean.dtype).train()
    if mode == "lora":
        add_lora(plain, config.lora, 0)
    assert kept_bytes(lean) < most * kept_bytes(plain)
