import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import AccelerationConfig, LoRAConfig
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.open import open_model
from ltxv_train_core.geometry import LatentSize
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.compile import compile_blocks
from ltxv_train_core.models.memory import quantize
from ltxv_train_core.models.memory.kinds import BITS
from ltxv_train_core.models.memory.quantize import frozen_bytes, quantize_base
from ltxv_train_core.models.precision import base_dtype
from ltxv_train_core.training.capabilities import unavailable_here
from ltxv_train_core.training.trainer import train
from ltxv_train_core.training.validation import Validator
from tests.helpers.short_run import run
from tests.helpers.video import positions

CPU = torch.device("cpu")
SHORT = {"steps": 2, "batch_size": 1}
LORA = {"target_modules": ["attn1.to_q", "proj_in"]}


def same(ours, theirs):
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


def scaler_of(result):
    folder = result.run_folder / "checkpoints" / f"{result.step:06d}"
    return torch.load(folder / "state.pt", weights_only=True)["mover"]["scaler"]


def test_fp16_trains_nearly_the_same_with_a_scale_that_is_resumed(training_config, tmp_path):
    sections = {
        "acceleration": {"mixed_precision_mode": "fp16"},
        "optimization": SHORT,
        "lora": LORA,
    }
    _, plain, _ = run(training_config(optimization=SHORT, lora=LORA))
    whole, losses, notices = run(training_config(**sections))
    assert losses == pytest.approx(plain, rel=0.01)
    assert losses != plain
    assert not any("overflowed" in line for line in notices)
    assert scaler_of(whole)["scale"] == 2.0**16

    half = training_config(**sections, output_dir=str(tmp_path / "two"))
    stopped, _, _ = run(half, stop_after=1)
    assert scaler_of(stopped)["_growth_tracker"] == 1
    full, _, _ = run(half)
    assert same(load_file(full.lora_file), load_file(whole.lora_file))
    assert scaler_of(full) == scaler_of(whole)


def output(transformer):
    generator = torch.Generator().manual_seed(0)
    return transformer(
        hidden_states=torch.randn(1, 8, 128, generator=generator),
        encoder_hidden_states=torch.randn(1, 4, 128, generator=generator),
        timestep=torch.full((1, 8), 500.0),
        encoder_attention_mask=torch.ones(1, 4),
        video_coords=positions(LatentSize(2, 2, 2), torch.tensor([25.0]), True),
        return_dict=False,
    )[0]


@pytest.mark.parametrize("kind", BITS)
def test_each_quantization_changes_little_and_takes_a_float32_lora(kind):
    source = open_model("LTXV_MINIATURE")
    plain = output(source.load_transformer(torch.float32)).detach()
    transformer = quantize_base(source.load_transformer(torch.float32), kind, CPU)
    parameters = add_lora(transformer, LoRAConfig(rank=4, alpha=4, target_modules=["to_q"]), 0)
    quantized = output(transformer)
    difference = float((quantized.detach() - plain).std() / plain.std())
    assert 1e-4 < difference < {"int2-quanto": 0.8, "int4-quanto": 0.3}.get(kind, 0.1)
    quantized.square().mean().backward()
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {torch.float32}
    assert all(p.grad.abs().max() > 0 for p in parameters[1::2]), "lora_B learns first"


def test_a_run_on_a_quantized_base_goes_on(training_config, tmp_path):
    sections = {
        "acceleration": {"quantization": "int8-quanto"},
        "optimization": SHORT,
        "lora": LORA,
    }
    _, plain, _ = run(training_config(optimization=SHORT, lora=LORA))
    whole, losses, _ = run(training_config(**sections))
    assert losses == pytest.approx(plain, rel=0.01)
    assert losses != plain
    trained = load_file(whole.lora_file)
    assert len(trained) == 2 * 5
    assert {value.dtype for value in trained.values()} == {torch.float32}
    sections["output_dir"] = str(tmp_path / "two")
    run(training_config(**sections), stop_after=1)
    full, _, _ = run(training_config(**sections))
    assert same(load_file(full.lora_file), load_file(whole.lora_file))


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_products_in_8_bits_train_nearly_the_same(training_config, tmp_path, kind):
    lora = {"target_modules": ["attn1.to_q", "ff.net.0.proj"]}
    sections = {"optimization": SHORT, "lora": lora, "acceleration": {"quantization": kind}}
    plain_run, plain, _ = run(training_config(**sections))
    sections["acceleration"]["quantized_matmul"] = True
    whole, losses, _ = run(training_config(**sections))
    assert losses == pytest.approx(plain, rel=0.01)
    assert losses != plain
    assert whole.run_folder != plain_run.run_folder
    run(training_config(**sections, output_dir=str(tmp_path / "two")), stop_after=1)
    full, _, _ = run(training_config(**sections, output_dir=str(tmp_path / "two")))
    assert same(load_file(full.lora_file), load_file(whole.lora_file))


@pytest.mark.parametrize("mode", ["no", "bf16"])
def test_quantization_is_for_the_blocks_alone_and_shrinks_them(mode):
    source = open_model("LTXV_MINIATURE")
    plain = source.load_transformer(base_dtype(mode))
    small = quantize_base(source.load_transformer(base_dtype(mode)), "int8-quanto", CPU)
    quantized = {n for n, p in small.named_parameters() if p.dtype == torch.int8}
    linear = {
        f"{name}.weight" for name, m in plain.named_modules() if isinstance(m, torch.nn.Linear)
    }
    assert quantized == {name for name in linear if name.startswith("transformer_blocks.")}
    assert len(linear - quantized) == 7
    parameters = dict(small.named_parameters())
    whole = {n: p for n, p in plain.named_parameters() if n not in quantized}
    assert all(torch.equal(parameters[name], value) for name, value in whole.items())
    rows = sum(parameters[name].shape[0] for name in quantized)
    scales = rows * parameters["proj_in.weight"].element_size()
    rest = sum(p.nbytes for n, p in whole.items() if n.startswith("transformer_blocks."))
    exact = sum(parameters[name].numel() for name in quantized) + scales + rest
    assert frozen_bytes(small.transformer_blocks.requires_grad_(False)) == exact


@pytest.mark.long
def test_a_compiled_block_trains_the_same_and_leaves_no_trace_in_names(training_config, tmp_path):
    """One of the four blocks is compiled: those that are offloaded are not."""
    sections = {
        "optimization": {"steps": 1, "batch_size": 1},
        "lora": LORA,
        "acceleration": {"blocks_to_offload": 3, "compilation_mode": "default"},
    }
    plain, losses, _ = run(training_config(**sections))
    sections["acceleration"]["compile_with_inductor"] = True
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled, compiled_losses, notices = run(
        training_config(**sections, output_dir=str(tmp_path / "two"))
    )
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert "compiling the model: the first step takes a minute or more" in notices
    assert compiled_losses == pytest.approx(losses, rel=1e-5)
    ours, theirs = load_file(compiled.lora_file), load_file(plain.lora_file)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-4) for key in theirs)


@pytest.mark.parametrize(
    ("device", "steps", "reason"),
    [
        ("cpu", 3000, "not compiled: on a CPU it takes longer than it saves"),
        ("meta", 199, "not compiled: a run of 199 steps ends before it pays"),
        ("meta", 200, "has no effect here: torch.compile is not used on meta"),
    ],
)
def test_a_model_is_compiled_where_that_pays(device, steps, reason):
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32).to(device)
    said = []
    assert not compile_blocks(transformer, AccelerationConfig(), steps, said.append)
    assert len(said) == 1
    assert reason in said[0].message


def test_every_choice_of_quantization_has_its_type():
    choices = AccelerationConfig.model_json_schema()["properties"]["quantization"]["anyOf"][0]
    kinds = {name: AccelerationConfig(quantization=name).quantization for name in choices["enum"]}
    assert set(kinds.values()) == set(BITS)
    changed = {name: kind for name, kind in kinds.items() if name != kind}
    assert changed == {name: f"{name}-quanto" for name in ("int8", "int4", "int2", "fp8")}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"quantization": "fp8-quanto"}, "acceleration.quantization: fp8-quanto .* int8-quanto"),
        ({"load_text_encoder_in_8bit": True}, "load_text_encoder_in_8bit: .* switch it off"),
    ],
)
def test_what_a_device_cannot_do_is_refused_before_anything_is_loaded(
    training_config, monkeypatch, options, line
):
    def fail(*args, **kwargs):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(quantize, "quantized", fail)
    monkeypatch.setattr(quantize, "to_eight_bits", fail)
    config = training_config(acceleration=options)
    with pytest.raises(ConfigurationError, match=line):
        train(config)
    monkeypatch.undo()
    assert unavailable_here(config, CPU) == []


def test_the_text_encoder_in_8_bits_gives_nearly_the_same_embeddings(training_config):
    def embeddings(in_8_bits):
        config = training_config(
            acceleration={"load_text_encoder_in_8bit": in_8_bits},
            validation={"prompts": ["a red ring moves up"], "video_dims": [64, 64, 9]},
        )
        return (
            Validator.prepare(config, open_model("LTXV_MINIATURE"), CPU)
            .requests[0]
            .prompt["prompt_embeds"]
        )

    whole, small = embeddings(False), embeddings(True)
    difference = (whole - small).abs().max() / whole.std()
    assert 1e-4 < difference < 0.1


def test_the_text_encoder_in_8_bits_is_smaller():
    def size(text_encoder):
        layers = [m for m in text_encoder.encoder.modules() if isinstance(m, torch.nn.Linear)]
        return sum(m.weight.numel() * m.weight.element_size() for m in layers)

    source = open_model("LTXV_MINIATURE")
    whole = source.load_text_encoder(torch.bfloat16)
    small = source.load_text_encoder(torch.bfloat16).in_eight_bits().to(CPU)
    assert size(small) < 0.65 * size(whole)


def test_8_bits_for_the_text_encoder_are_the_same_run(training_config):
    from ltxv_train_core.runs import fingerprint

    names = {
        fingerprint(training_config(acceleration=options), "data", "model")
        for options in ({}, {"load_text_encoder_in_8bit": True}, {"quantization": "int8-quanto"})
    }
    assert len(names) == 2
