"""The forward pass that runs make of LTX-Video 0.9.x gives what diffusers' own gives, without what a step doesn't
need."""

from dataclasses import replace

import pytest
import torch

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.base import LevelRows, StreamInput, Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.names import PROMPT, VIDEO
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.offload import offload, spread_blocks
from ltxv_train_core.models.memory.quantize import quantize_base
from tests.helpers.activation_bytes import kept_bytes, small_transformer

TOKENS, REFERENCE, TEXT_WIDTH = 24, 10, 40
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "time_embed.*")
CPU = torch.device("cpu")


def given(frames: int, references: int = 0, padded: bool = True) -> tuple[StreamInput, Text]:
    """Two samples, of the first of which so many tokens are clean."""
    torch.manual_seed(1)
    levels = torch.tensor([[0.7], [0.3]]).repeat(1, TOKENS)
    levels[0, :frames] = 0
    seen = StreamInput(torch.randn(2, TOKENS, 128), levels, 300 * torch.rand(2, 3, TOKENS))
    if references:
        clean = torch.zeros(2, references)
        places = 300 * torch.rand(2, 3, references)
        seen = seen.followed_by(StreamInput(torch.randn(2, references, 128), clean, places))
    words = [torch.randn(length, TEXT_WIDTH) for length in ((5 if padded else 9), 9)]
    return seen, Text.padded([{PROMPT: each} for each in words])


def build(kind: str | None = None, dropout: float = 0.0, targets: tuple[str, ...] = TARGETS):
    transformer = small_transformer(text_width=TEXT_WIDTH)
    if kind:
        quantize_base(transformer, kind, CPU)
    config = LoRAConfig(rank=8, alpha=4, target_modules=targets, dropout=dropout)
    for parameter in add_lora(transformer, config, 0):
        torch.manual_seed(parameter.numel())
        torch.nn.init.normal_(parameter, std=0.05)
    return transformer


def gradients(transformer, output):
    (output.float() * torch.linspace(-1, 1, 128)).square().mean().backward()
    named = transformer.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def ours(transformer, seen, text):
    output = LTXVideoDenoiser(transformer, True).denoise({VIDEO: seen}, text)[VIDEO]
    return output.detach(), gradients(transformer, output)


def theirs(transformer, seen, text):
    output = transformer(
        hidden_states=seen.tokens.to(transformer.dtype),
        encoder_hidden_states=text.tensors[PROMPT].to(transformer.dtype),
        timestep=seen.levels * 1000,
        encoder_attention_mask=text.mask,
        video_coords=seen.positions,
        return_dict=False,
    )[0][:, :TOKENS]
    return output.detach(), gradients(transformer, output)


@pytest.mark.parametrize("way", ["plain", "checkpointing", "offload", "int8-quanto"])
@pytest.mark.parametrize(("frames", "references"), [(0, 0), (6, 0), (6, REFERENCE)])
def test_it_is_diffusers_own(frames, references, way):
    results = []
    for pass_ in (theirs, ours):
        transformer = build("int8-quanto" if way == "int8-quanto" else None)
        if pass_ is ours and way == "checkpointing":
            transformer.enable_gradient_checkpointing()
        if pass_ is ours and way == "offload":
            LTXVideoDenoiser(transformer, True)
            offload(transformer, CPU, spread_blocks(2, 2))
        results.append(pass_(transformer, *given(frames, references)))
    (expected, exact), (output, found) = results
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert found.keys() == exact.keys()
    for name, gradient in exact.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_dropout_leaves_out_the_same_of_what_is_seen_in_the_same_shape():
    """Of timesteps fewer are seen."""
    results = []
    for pass_ in (theirs, ours):
        results.append(pass_(build(dropout=0.3, targets=TARGETS[:-1]), *given(6)))
    (expected, exact), (output, found) = results
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    for name, gradient in exact.items():
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weight", ["even", "uneven"])
def test_in_half_precision_gradients_are_as_near_to_float32(half, weight):
    """Also where a norm lets so little of some channels through that its output can't tell its input."""

    def gradient(pass_, dtype):
        transformer = build()
        if weight == "uneven":
            for block in transformer.transformer_blocks:
                block.attn1.norm_q.weight.data[::8] = 1e-4
        for name, parameter in transformer.named_parameters():
            parameter.data = parameter.data.to(torch.float32 if "lora_" in name else dtype)
        with torch.autocast("cpu", half, enabled=dtype == half):
            found = pass_(transformer, *given(6, REFERENCE))[1]
        return torch.cat([found[name].flatten() for name in sorted(found)])

    exact = gradient(theirs, torch.float32)
    plain, lean = ((gradient(each, half) - exact).norm() / exact.norm() for each in (theirs, ours))
    assert lean < {torch.bfloat16: 0.03, torch.float16: 0.004}[half]
    assert lean < 1.1 * plain


def test_a_text_without_padding_has_no_mask(monkeypatch):
    masks = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def noted(*args, attn_mask=None, **options):
        masks.append(attn_mask)
        return attention(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    denoiser = LTXVideoDenoiser(small_transformer(text_width=TEXT_WIDTH), True)
    for padded in (True, False):
        masks.clear()
        seen, text = given(0, padded=padded)
        denoiser.denoise({VIDEO: seen}, text)
        assert [mask is not None for mask in masks] == [False, padded] * 2


def test_a_lora_keeps_less_than_half_of_what_diffusers_own_keeps():
    """By block, of the sizes of the 2B model an eighth."""
    kept = []
    for lean in (True, False):
        counts = []
        for layers in (1, 2):
            transformer = small_transformer(layers, width=256, head=64).bfloat16()
            add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
            counts.append(kept_bytes(transformer, lean=lean))
        kept.append(counts[1] - counts[0])
    assert kept[0] < 0.47 * kept[1]


def test_rows_are_the_levels_that_differ():
    seen, _ = given(6, REFERENCE)
    rows = seen.level_rows
    assert rows.levels.tolist() == [[0, pytest.approx(0.7)], [0, pytest.approx(0.3)]]
    assert rows.row_of is not None
    assert torch.equal(rows.levels.gather(1, rows.row_of), seen.levels)
    assert seen.to(CPU).rows is not None
    assert replace(seen, rows=rows).level_rows is rows
    uniform = LevelRows.of(torch.full((3, 5), 0.5))
    assert (uniform.levels.shape, uniform.row_of) == ((3, 1), None)


def test_parts_of_the_tokens_give_what_all_give_at_once(monkeypatch):
    from ltxv_train_core.models.memory import recompute

    results = []
    for numbers in (2**30, 1):
        monkeypatch.setattr(recompute, "NUMBERS_AT_ONCE", numbers)
        results.append(ours(build(), *given(6, REFERENCE)))
    (whole, expected), (parts, found) = results
    assert torch.equal(whole, parts)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
