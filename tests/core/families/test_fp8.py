"""Base weights that stay in 8 bit floating point, and a LoRA on top of them."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ltxv_train_core import config
from ltxv_train_core.cli import main
from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models import device
from ltxv_train_core.models.memory.frozen_linear import EightBitLinear
from ltxv_train_core.training import memory_fit
from ltxv_train_core.training.trainer import train
from tests.helpers.short_run import run

TRANSFORMER = "model.diffusion_model."
FP8 = torch.float8_e4m3fn
FORMS = {
    "plain": ("", False, torch.float8_e4m3fn),
    "e5m2": ("", False, torch.float8_e5m2),
    "scaled": (".scale_weight", True, torch.float8_e4m3fn),
    "new scaled": (".weight_scale", False, torch.float8_e4m3fn),
}


def in_fp8(tensors, form):
    """Checkpoint tensors with the blocks' linear layers in float8, as the public files are."""
    end, marked, dtype = FORMS[form]
    changed = {}
    for name, tensor in tensors.items():
        is_layer = ".transformer_blocks." in name and name.endswith(".weight") and tensor.ndim == 2
        if not is_layer:
            changed[name] = tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
            continue
        scale = tensor.abs().max() / torch.finfo(dtype).max if end else torch.ones(())
        changed[name] = (tensor / scale).to(dtype)
        if end:
            stem = name.removesuffix(".weight")
            changed[stem + end] = scale
            changed[stem + (".scale_input" if marked else ".input_scale")] = torch.ones(())
    if marked:
        changed[TRANSFORMER + "scaled_fp8"] = torch.zeros(2, dtype=dtype)
    return changed


@pytest.fixture
def fp8_file(contents, write):
    def build(form):
        tensors, metadata = contents
        return write(in_fp8(tensors, form), config=None, name=f"{form}.safetensors", raw=metadata)

    return build


def whole(transformer):
    """The same transformer with ordinary layers in float32."""
    state = {}
    for name, module in transformer.named_modules():
        if isinstance(module, EightBitLinear):
            scale = 1 if module.weight_scale is None else module.weight_scale
            state[f"{name}.weight"] = module.weight.float() * scale
    plain = weights.new_transformer()
    rest = {k: v.float() for k, v in transformer.state_dict().items() if k not in state}
    rest = {k: v for k, v in rest.items() if not k.endswith("weight_scale")}
    plain.load_state_dict(rest | state)
    return plain


def inputs():
    draw = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(2, 8, 128, generator=draw),
        "encoder_hidden_states": torch.randn(2, 5, 128, generator=draw),
        "timestep": torch.tensor([[100.0] * 8, [700.0] * 8]),
        "encoder_attention_mask": torch.ones(2, 5),
        "video_coords": torch.rand(2, 3, 8, generator=draw),
        "return_dict": False,
    }


def loss_and_gradients(transformer, checkpointing=False):
    lora = add_lora(
        transformer, LoRAConfig(rank=4, alpha=4, target_modules=("to_q", "to_out.0")), 1
    )
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    transformer.train()
    with torch.no_grad():
        for number, parameter in enumerate(lora):
            draw = torch.Generator().manual_seed(number)
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.02)
    loss = transformer(**inputs())[0].square().mean()
    loss.backward()
    return loss.item(), [parameter.grad for parameter in lora], lora


@pytest.mark.parametrize("form", FORMS)
def test_loss_and_gradients_are_those_of_the_dequantized_base(form, fp8_file):
    transformer = open_model(str(fp8_file(form))).load_transformer(torch.float32)
    layers = [m for m in transformer.modules() if isinstance(m, EightBitLinear)]
    assert len(layers) == 4 * 10
    assert {m.weight.dtype for m in layers} == {FORMS[form][2]}
    assert all((m.weight_scale is not None) == bool(FORMS[form][0]) for m in layers)
    expected, expected_gradients, _ = loss_and_gradients(whole(transformer))
    loss, gradients, lora = loss_and_gradients(transformer)
    assert {p.dtype for p in lora} == {torch.float32}
    assert loss == pytest.approx(expected, rel=1e-6)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert all(m.weight.grad is None for m in layers)


def test_apples_gpu_gets_the_same_weights_in_another_format(fp8_file, monkeypatch):
    source = open_model(str(fp8_file("scaled")))
    wanted = whole(source.load_transformer(torch.float32)).state_dict()
    assert source.facts.is_fp8
    monkeypatch.setattr(device, "default_device", lambda: torch.device("mps"))
    assert not source.facts.is_fp8
    found = source.load_transformer(torch.float32).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_new_lora_is_drawn_in_float32(fp8_file):
    transformer = open_model(str(fp8_file("plain"))).load_transformer(torch.bfloat16)
    downs = add_lora(transformer, LoRAConfig(rank=4, alpha=4, target_modules=("to_q",)), 1)[::2]
    for down in downs:
        assert down.dtype == torch.float32
        assert len(down.unique()) > 0.95 * down.numel()


def test_checkpointing_changes_nothing(fp8_file):
    source = open_model(str(fp8_file("scaled")))
    plain = loss_and_gradients(source.load_transformer(torch.float32))
    saved = loss_and_gradients(source.load_transformer(torch.float32), checkpointing=True)
    assert plain[0] == pytest.approx(saved[0], rel=1e-6)
    for one, other in zip(plain[1], saved[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("autocast", [False, True])
def test_backward_keeps_no_copy_in_a_larger_format(autocast):
    """What is saved for backward is the input and the weights as they are stored."""
    layer = EightBitLinear(torch.randn(64, 32).to(FP8), torch.tensor(0.5), torch.zeros(64))
    saved = []

    def note(tensor):
        saved.append((tuple(tensor.shape), tensor.dtype))
        return tensor

    x = torch.randn(3, 32, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        y = layer(x)
    assert ((64, 32), FP8) in saved
    assert not [s for s in saved if s[0] == (64, 32) and s[1] != FP8]
    assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
    y.sum().backward()
    assert x.grad.dtype == torch.float32
    reference = nn.functional.linear(x.detach(), layer.weight.float() * 0.5)
    assert (y.float() - reference).abs().max() < (0.1 if autocast else 1e-5)


def test_a_run_trains_on_fp8(fp8_file, training_config):
    file = fp8_file("scaled")
    model = {"model_source": str(file), "text_encoder_source": "LTXV_MINIATURE"}
    validation = {"prompts": ["a red ring"], "video_dims": [64, 64, 9], "inference_steps": 2}
    # The whole file is in fp8 here, its VAE too.
    data = {"allow_other_encoders": True}
    result = train(training_config(model=model, validation=validation, data=data))
    assert result.finished
    offloaded = training_config(
        model=model,
        output_dir=str(result.run_folder.parent / "offloaded"),
        acceleration={"blocks_to_offload": 2},
        data=data,
    )
    again = train(offloaded)
    assert again.run_folder.name == result.run_folder.name
    assert load_file(again.lora_file)
    for name, tensor in load_file(again.lora_file).items():
        assert torch.equal(tensor, load_file(result.lora_file)[name])
    assert (result.run_folder / "samples" / "000004" / "sheet.png").is_file()


def test_quantization_is_no_advice_for_what_has_8_bits(fp8_file, training_config, monkeypatch):
    monkeypatch.setattr(memory_fit, "free_bytes", lambda device: 0)
    config = training_config(
        model={"model_source": str(fp8_file("plain"))},
        optimization={"steps": 1},
        data={"allow_other_encoders": True},
    )
    line = next(line for line in run(config)[2] if line.startswith("a step needs"))
    assert "What saves memory" in line
    assert "quantization" not in line


def test_what_needs_whole_weights_is_refused_before_loading(
    fp8_file, training_config, tmp_path, capsys
):
    model = {"model_source": str(fp8_file("plain"))}
    cases = {
        "acceleration.quantization": training_config(
            model=model, acceleration={"quantization": "int8-quanto"}
        ),
        "model.training_mode": training_config(model=model | {"training_mode": "full"}),
        "acceleration.quantized_matmul": training_config(acceleration={"quantized_matmul": True}),
    }
    for option, wanted in cases.items():
        path = tmp_path / "config.yaml"
        path.write_text(config.yaml_file.dump(wanted), encoding="utf-8")
        assert main(["check", str(path)]) == 2
        assert f"{option}: " in capsys.readouterr().out
