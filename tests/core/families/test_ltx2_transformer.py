"""The forward pass of LTX-2.x: its gradients, what it saves, and what else runs on it.

That it answers what ComfyUI answers, `tests/nodes/test_ltx2_parity.py` shows.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltx2 import block
from ltxv_train_core.families.ltx2.activation_bytes import saved_bytes
from ltxv_train_core.families.ltx2.denoiser import LTX2Denoiser
from ltxv_train_core.families.ltx2.formats import TEXT_TOKENS
from ltxv_train_core.families.ltx2.tensor_shapes import transformer_shapes
from ltxv_train_core.families.names import AUDIO, AUDIO_TEXT, VIDEO, VIDEO_TEXT
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.frozen_linear import FrozenLinear
from ltxv_train_core.models.memory.offload import offload, spread_blocks
from ltxv_train_core.models.memory.quantize import quantize_base
from tests.helpers.ltx2 import (
    CAPTION,
    GENERATIONS,
    given,
    transformer_of,
    write_checkpoint,
)

CPU = torch.device("cpu")
ALL = ("to_q", "to_k", "to_v", "to_out.0", "net.2")


def denoiser_of(transformer: Any) -> LTX2Denoiser:
    return LTX2Denoiser(transformer, connectors=dict)


def with_lora(transformer: Any) -> Any:
    """A LoRA on everything whose effect shows."""
    add_lora(transformer, LoRAConfig(rank=4, alpha=4, target_modules=ALL), 0)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.manual_seed(parameter.numel())
            torch.nn.init.normal_(parameter, std=0.1)
    return transformer


def gradients(denoiser: LTX2Denoiser, *sample: Any) -> tuple[dict, dict]:
    """Answers, and gradients of a loss by the parameters' names."""
    found = denoiser.denoise(*sample)
    loss = sum(
        (each.float() * torch.linspace(-1, 1, 128)).square().sum() for each in found.values()
    )
    loss.backward()
    named = denoiser.transformer.named_parameters()
    answers = {name: each.detach() for name, each in found.items()}
    return answers, {name: p.grad for name, p in named if p.grad is not None}


def plain(call: Callable[..., torch.Tensor]) -> type:
    return type("Plain", (), {"apply": staticmethod(call)})


def plain_rotary(x, weight, cos, sin, eps, halves=None, is_invertible=False):
    y = F.rms_norm(x, x.shape[-1:], weight, eps)
    if cos is None:
        return y
    first, second = y.unflatten(-1, (halves, 2, -1)).unbind(-2)
    turned = torch.stack([-second, first], dim=-2).flatten(-3)
    return y * cos + turned * sin


def plain_modulated(x, shift, token_shift, scale, token_scale, row_of, eps):
    normed = F.rms_norm(x, x.shape[-1:], None, eps)
    return normed * each_token(1 + scale + token_scale, row_of) + each_token(
        shift + token_shift, row_of
    )


def plain_gated(x, added, gate, token_gate, row_of):
    return x + added * each_token(gate + token_gate, row_of)


def each_token(rows, row_of):
    if row_of is None:
        return rows
    return torch.stack([own[numbers] for own, numbers in zip(rows, row_of, strict=True)])


@pytest.mark.parametrize("with_sound", [True, False], ids=["sound", "alone"])
@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_gradients_are_those_of_plain_autograd(generation, mode, with_sound, monkeypatch):
    caption = 96 if generation == "2.0" else None
    results = []
    for is_plain in (True, False):
        with monkeypatch.context() as patch:
            if is_plain:
                patch.setattr(block, "RotaryNorm", plain(plain_rotary))
                patch.setattr(block, "Modulated", plain(plain_modulated))
                patch.setattr(block, "Gated", plain(plain_gated))
            transformer = transformer_of(generation).train()
            if mode == "lora":
                with_lora(transformer)
            sample = given(with_sound=with_sound, caption=caption)
            results.append(gradients(denoiser_of(transformer), *sample))
    (theirs, expected), (ours, found) = results
    assert all((ours[name] - theirs[name]).abs().max() < 1e-5 for name in theirs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("with_sound", [True, False], ids=["sound", "alone"])
def test_what_nobody_reads_of_a_reference_changes_neither_output_nor_gradients(with_sound):
    seen, text = given(with_sound=with_sound)
    video = seen[VIDEO]
    video.levels[:, -4:] = 0
    references = {**seen, VIDEO: replace(video, reference_tokens=4)}
    results = []
    for inputs in (seen, references):
        denoiser = denoiser_of(with_lora(transformer_of("2.3").train()))
        outputs = denoiser.denoise(inputs, text)
        outputs[VIDEO] = outputs[VIDEO][:, : video.tokens.shape[1] - 4]
        sum(each.square().mean() for each in outputs.values()).backward()
        named = denoiser.transformer.named_parameters()
        gradients = {name: p.grad for name, p in named if p.grad is not None}
        results.append((outputs, gradients))
    (whole, expected), (ours, found) = results
    assert ours[VIDEO].shape == whole[VIDEO].shape
    for name, each in ours.items():
        torch.testing.assert_close(each, whole[name], rtol=0, atol=1e-5)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_samples_of_a_batch_do_not_see_each_other():
    """Gates and prompts take the largest level of a sample's own tokens."""
    denoiser = denoiser_of(transformer_of("2.3"))
    seen, text = given()
    with torch.no_grad():
        together = denoiser.denoise(seen, text)
        for number in range(2):
            one = slice(number, number + 1)
            alone = {
                name: StreamInput(each.tokens[one], each.levels[one], each.positions[one])
                for name, each in seen.items()
            }
            tensors = {name: tensor[one] for name, tensor in text.tensors.items()}
            answer = denoiser.denoise(alone, Text(tensors, text.mask[one], is_padded=False))
            for name, each in answer.items():
                torch.testing.assert_close(each, together[name][one], rtol=0, atol=1e-5)


def test_padding_of_texts_changes_nothing():
    denoiser = denoiser_of(transformer_of("2.3"))
    seen, text = given(count=1)
    embedding = {name: tensor[0] for name, tensor in text.tensors.items()}
    longer = {name: torch.cat([tensor, -tensor]) for name, tensor in embedding.items()}
    twice = {
        name: StreamInput(*(torch.cat([part] * 2) for part in (e.tokens, e.levels, e.positions)))
        for name, e in seen.items()
    }
    with torch.no_grad():
        alone = denoiser.denoise(seen, Text.padded([embedding]))
        padded = denoiser.denoise(twice, Text.padded([embedding, longer]))
    for name, each in alone.items():
        torch.testing.assert_close(padded[name][:1], each, rtol=0, atol=1e-5)
        assert (padded[name][1] - each[0]).abs().max() > 1e-2


def test_without_modulated_prompts_it_is_diffusers():
    """With nothing between the streams, whose order ComfyUI changes. ComfyUI can't run such a file."""
    transformer = transformer_of("2.5", use_prompt_adaln_single=False)
    for each in transformer.transformer_blocks:
        for attention in (each.audio_to_video_attn, each.video_to_audio_attn):
            torch.nn.init.zeros_(attention.to_out[0].weight)
            torch.nn.init.zeros_(attention.to_out[0].bias)
    seen, text = given()
    call = {
        "hidden_states": seen[VIDEO].tokens,
        "audio_hidden_states": seen[AUDIO].tokens,
        "encoder_hidden_states": text.tensors[VIDEO_TEXT],
        "audio_encoder_hidden_states": text.tensors[AUDIO_TEXT],
        "timestep": seen[VIDEO].levels * 1000,
        "audio_timestep": seen[AUDIO].levels * 1000,
        "video_coords": seen[VIDEO].positions,
        "audio_coords": seen[AUDIO].positions,
    }
    times = seen[VIDEO].positions[:, 0]
    marked = (times == times.amin(1, keepdim=True)).float()[..., None]
    with torch.no_grad():
        transformer.keyframes_abs_pos_embedding.normal_()
        theirs = transformer(**call, video_keyframes_mask=marked, return_dict=False)
        ours = denoiser_of(transformer).denoise(seen, text)
    for name, expected in zip((VIDEO, AUDIO), theirs, strict=True):
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("generation", ["2.0", "2.3"])
def test_the_sound_attends_to_the_video_that_has_attended_to_the_sound(generation):
    """In one block at equal levels nothing but that order differs from diffusers."""
    seen, text = given(caption=96 if generation == "2.0" else None)
    for each in seen.values():
        each.levels[:] = torch.tensor([[0.6], [0.3]])
    timesteps = {name: each.levels * 1000 for name, each in seen.items()}
    call = {
        "hidden_states": seen[VIDEO].tokens,
        "audio_hidden_states": seen[AUDIO].tokens,
        "encoder_hidden_states": text.tensors[VIDEO_TEXT],
        "audio_encoder_hidden_states": text.tensors[AUDIO_TEXT],
        "timestep": timesteps[VIDEO],
        "audio_timestep": timesteps[AUDIO],
        "sigma": timesteps[VIDEO][:, 0],
        "audio_sigma": timesteps[AUDIO][:, 0],
        "video_coords": seen[VIDEO].positions,
        "audio_coords": seen[AUDIO].positions,
    }

    def both(hears: bool) -> tuple[dict, dict]:
        transformer = transformer_of(generation, num_layers=1)
        if not hears:
            torch.nn.init.zeros_(
                transformer.transformer_blocks[0].audio_to_video_attn.to_out[0].weight
            )
            torch.nn.init.zeros_(
                transformer.transformer_blocks[0].audio_to_video_attn.to_out[0].bias
            )
        with torch.no_grad():
            video, audio = transformer(**call, return_dict=False)
            ours = denoiser_of(transformer).denoise(seen, text)
        return {VIDEO: video, AUDIO: audio}, ours

    theirs, ours = both(hears=True)
    torch.testing.assert_close(ours[VIDEO], theirs[VIDEO], rtol=0, atol=2e-5)
    assert (ours[AUDIO] - theirs[AUDIO]).abs().max() > 1e-3
    theirs, ours = both(hears=False)
    torch.testing.assert_close(ours[AUDIO], theirs[AUDIO], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "way", ["checkpointing", "offload", pytest.param("compile", marks=pytest.mark.long)]
)
def test_a_step_that_saves_memory_gives_equal_gradients(way):
    expected = gradients(denoiser_of(with_lora(transformer_of("2.3").train())), *given())[1]
    denoiser = denoiser_of(transformer_of("2.3").train())
    transformer = denoiser.transformer
    if way == "checkpointing":
        transformer.enable_gradient_checkpointing()
    if way == "compile":
        torch._dynamo.reset()
        for each in transformer.transformer_blocks:
            each.compile(backend="aot_eager")
    with_lora(transformer)
    if way == "offload":
        offload(transformer, CPU, spread_blocks(2, 1))
    found = gradients(denoiser, *given())[1]
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["int8-quanto", "int4-quanto", "fp8-quanto", "nf4"])
def test_a_quantized_base_trains(kind):
    exact = gradients(denoiser_of(with_lora(transformer_of("2.3").train())), *given())[1]
    quantized = quantize_base(transformer_of("2.3").train(), kind, CPU)
    found = gradients(denoiser_of(with_lora(quantized)), *given())[1]
    assert found.keys() == exact.keys()
    flat = [torch.cat([each[name].flatten() for name in exact]) for each in (exact, found)]
    near = F.cosine_similarity(*flat, dim=0)
    least = {"int8-quanto": 0.999, "int4-quanto": 0.8, "fp8-quanto": 0.98, "nf4": 0.8}
    assert near > least[kind]


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    "kind",
    ["int8-quanto", "int4-quanto", "fp8-quanto", "nf4"],
)
def test_a_quantized_base_answers_as_its_numbers_say(kind: str, generation: str) -> None:
    quantized = quantize_base(transformer_of(generation), kind, CPU)
    plain = transformer_of(generation)
    numbers = {
        f"{name}.weight": (
            layer(torch.eye(layer.in_features)) - (0 if layer.bias is None else layer.bias)
        ).T
        for name, layer in quantized.named_modules()
        if isinstance(layer, FrozenLinear)
    }
    assert len(numbers) > 40, "its layers in blocks are rounded"
    assert not any(torch.equal(numbers[name], plain.state_dict()[name]) for name in numbers)
    plain.load_state_dict({**plain.state_dict(), **numbers})
    inputs = given(caption=CAPTION if generation == "2.0" else None)
    with torch.no_grad():
        found, expected = (denoiser_of(each).denoise(*inputs) for each in (quantized, plain))
    for name in (VIDEO, AUDIO):
        scale = expected[name].abs().max()
        assert (found[name] - expected[name]).abs().max() <= 1e-5 * scale


def test_an_fp8_file_stays_in_fp8_and_answers_as_its_numbers_say(tmp_path: Path):
    from safetensors.torch import load_file

    from ltxv_train_core.storage.safetensors_header import read_header
    from ltxv_train_core.storage.tensors import write_safetensors

    whole = write_checkpoint(tmp_path / "whole.safetensors", "2.3")
    metadata = read_header(whole).metadata
    state = load_file(whole)
    eight = {
        name: tensor.to(torch.float8_e4m3fn)
        if ".attn1.to_" in name and tensor.ndim == 2
        else tensor
        for name, tensor in state.items()
    }
    write_safetensors(tmp_path / "eight.safetensors", eight, metadata)
    rounded = {name: tensor.float() for name, tensor in eight.items()}
    write_safetensors(tmp_path / "rounded.safetensors", rounded, metadata)
    answers = []
    for name in ("eight", "rounded"):
        model = open_model(str(tmp_path / f"{name}.safetensors"))
        assert model.facts.is_fp8 == (name == "eight")
        denoiser = model.transformer.denoiser(model.load_transformer(torch.float32))
        with torch.no_grad():
            answers.append(denoiser.denoise(*given()))
    for name in (VIDEO, AUDIO):
        torch.testing.assert_close(answers[0][name], answers[1][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_sound", [True, False], ids=["sound", "alone"])
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_what_a_step_saves_is_what_is_estimated(mode, with_sound):
    """Counted as autograd saves it, with a text as long as ComfyUI makes it.

    Of a full training only what more tokens add: weights in half precision are saved too.
    """
    counted, expected = zip(
        *(saved_and_estimated(mode, with_sound, count) for count in (256, 512)), strict=True
    )
    if mode == "lora":
        assert counted == pytest.approx(expected, rel=0.05)
    assert counted[1] - counted[0] == pytest.approx(expected[1] - expected[0], rel=0.05)


def saved_and_estimated(mode: str, with_sound: bool, count: int) -> tuple[int, int]:
    """Bytes of activations of a step with so many tokens of the video, and a quarter of the sound."""
    width = 256
    sizes = {"attention_head_dim": 64, "cross_attention_dim": width}
    sizes |= {"audio_attention_head_dim": 32, "audio_cross_attention_dim": width // 2}
    transformer = transformer_of("2.3", **sizes, num_layers=3).train()
    if mode == "lora":
        transformer.to(torch.bfloat16)
        targets = ("to_q", "to_k", "to_v", "to_out.0")
        add_lora(transformer, LoRAConfig(rank=2, alpha=2, target_modules=targets), 0)
    denoiser = denoiser_of(transformer)
    tokens = {VIDEO: count, AUDIO: count // 4} if with_sound else {VIDEO: count}
    seen = {
        name: StreamInput(
            torch.randn(1, number, 128),
            torch.full((1, number), 0.5),
            torch.rand(1, 3 if name == VIDEO else 1, number),
        )
        for name, number in tokens.items()
    }
    tensors = {
        VIDEO_TEXT: torch.randn(1, TEXT_TOKENS, width).to(denoiser.dtype),
        AUDIO_TEXT: torch.randn(1, TEXT_TOKENS, width // 2).to(denoiser.dtype),
    }
    text = Text(tensors, torch.ones(1, TEXT_TOKENS, dtype=torch.bool), is_padded=False)
    known = {p.untyped_storage().data_ptr() for p in transformer.parameters()}
    known |= {each.untyped_storage().data_ptr() for each in tensors.values()}
    saved: dict[int, int] = {}
    alive = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        denoiser.denoise(seen, text)
    estimated = saved_bytes(transformer.config, tokens, 1, mode, "half", 0, compiled=False)
    return sum(saved.values()), estimated


@pytest.mark.parametrize("options", [{}, {"use_prompt_adaln_single": False}])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_shapes_that_a_file_is_compared_with_are_those_of_diffusers(
    generation: str, options: dict[str, bool]
) -> None:
    module = transformer_of(generation, **options)
    config = dict(module.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert transformer_shapes(config) == shapes


CHECKED = """
import sys
from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.training.preflight import check
model = {"model_source": sys.argv[1]}
data = {"preprocessed_data_root": sys.argv[2]}
problems, _ = check(build(TrainingConfig, {"model": model, "data": data}))
assert not problems, problems
assert not {"diffusers", "transformers"} & sys.modules.keys()
"""


def test_a_file_is_checked_without_the_libraries_that_run_it(tmp_path: Path) -> None:
    """Importing them takes three seconds."""
    path = write_checkpoint(tmp_path / "a.safetensors", "2.3")
    command = [sys.executable, "-c", CHECKED, str(path), str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
