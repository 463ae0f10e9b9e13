"""Lean blocks compute what diffusers' own do, forwards and backwards, and keep half as much."""

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.events import ignore
from ltxv_train_core.families.ltxv.recompute import use_recomputing_blocks
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.offload import offload, spread_blocks
from ltxv_train_core.models.memory.quantize import quantize_base
from ltxv_train_core.training.trainable import load_trainable
from tests.helpers.activation_bytes import kept_bytes, small_transformer

TOKENS, WIDTH, TEXT, TEXT_WIDTH = 48, 64, 12, 40
CPU = torch.device("cpu")


def build(lean: bool) -> LTXVideoTransformer3DModel:
    transformer = small_transformer(width=WIDTH, text_width=TEXT_WIDTH)
    if lean:
        use_recomputing_blocks(transformer)
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


HALVES = [torch.bfloat16, torch.float16]
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.2", "time_embed.*", "proj_in")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_in_half_precision_gradients_are_as_near_to_float32_as_those_of_diffusers(mode, half):
    """The base of a LoRA is held in it; all weights of a full training are in float32."""

    def gradient(lean: bool, dtype: torch.dtype) -> torch.Tensor:
        transformer = build(lean)
        if mode == "lora":
            transformer.to(dtype)
            config = LoRAConfig(rank=8, alpha=8, target_modules=TARGETS)
            for parameter in add_lora(transformer, config, 0):
                torch.manual_seed(parameter.numel())
                torch.nn.init.normal_(parameter, std=0.05)
        with torch.autocast("cpu", half, enabled=dtype == half):
            _, found = run(transformer, inputs())
        return torch.cat([found[name].flatten() for name in sorted(found)])

    exact = gradient(False, torch.float32)
    theirs, ours = ((gradient(lean, half) - exact).norm() / exact.norm() for lean in (False, True))
    assert ours < {torch.bfloat16: 0.03, torch.float16: 0.004}[half]
    assert ours < 1.1 * theirs


@pytest.mark.parametrize("kind", ["int8-quanto", "fp8-quanto"])
@pytest.mark.parametrize("offloaded", [0, 2])
def test_a_quantized_base_with_dropout_gives_the_same_gradients(kind, offloaded):
    results = []
    for lean in (False, True):
        transformer = quantize_base(build(False), kind, CPU)
        if lean:
            use_recomputing_blocks(transformer)
        lora = LoRAConfig(rank=8, alpha=8, target_modules=TARGETS, dropout=0.3)
        add_lora(transformer, lora, 0)
        if offloaded:
            offload(transformer, CPU, spread_blocks(2, offloaded))
        torch.manual_seed(2)
        results.append(run(transformer, inputs())[1])
    gradients, lean_gradients = results
    for name, gradient in gradients.items():
        torch.testing.assert_close(lean_gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_compiler_sees_a_block_as_one_graph():
    block = build(lean=True).transformer_blocks[0].requires_grad_(False)
    hidden = torch.randn(2, 16, WIDTH, requires_grad=True)
    temb, text = torch.randn(2, 16, 6 * WIDTH), torch.randn(2, TEXT, WIDTH)
    rotation = (torch.randn(2, 16, WIDTH), torch.randn(2, 16, WIDTH))
    given = (hidden, text, temb, rotation, torch.zeros(2, 1, TEXT))
    torch._dynamo.reset()
    compiled = torch.compile(lambda *given: block(*given), backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [call(*given) for call in (block, compiled)]
    gradients = [torch.autograd.grad(output.square().sum(), hidden)[0] for output in outputs]
    assert torch.equal(*outputs)
    assert torch.equal(*gradients)


def test_a_block_that_is_built_otherwise_stays_as_it_is():
    transformer = build(lean=False)
    first, second = transformer.transformer_blocks
    first.norm1.weight = torch.nn.Parameter(torch.ones(WIDTH))
    use_recomputing_blocks(transformer)
    assert "forward" not in vars(first)
    assert "forward" in vars(second)


@pytest.mark.parametrize(("mode", "most"), [("lora", 0.65), ("full", 0.85)])
def test_runs_train_lean_blocks(training_config, mode, most):
    """Of a miniature, whose few blocks share much; all weights need more for their gradients."""
    config = training_config(
        model={"training_mode": mode}, acceleration={"mixed_precision_mode": "bf16"}
    )
    source = open_model(MINIATURE)
    lean = load_trainable(config, source, torch.device("cpu"), ignore).denoiser.transformer
    plain = source.load_transformer(lean.dtype).train()
    if mode == "lora":
        add_lora(plain, config.lora, 0)
    assert kept_bytes(lean) < most * kept_bytes(plain, lean=False)
