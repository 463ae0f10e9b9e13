"""The estimate of a step's memory in bytes, by model, clips, optimizer and precision."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import LoRAConfig, OptimizationConfig, TrainingConfig, build
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.errors import ConfigurationError, ModelError
from ltxv_train_core.families.ltxv.activation_bytes import ACTIVATION_BYTES
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.open import ModelDescription, describe_model, open_model
from ltxv_train_core.families.registry import EARLIEST
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models.memory.activations import ActivationBytes
from ltxv_train_core.models.memory.quantize import frozen_bytes, quantize_base
from ltxv_train_core.optim import build_optimizer
from ltxv_train_core.training import memory_fit
from ltxv_train_core.training.memory_estimate import (
    activation_bytes_on_host,
    adapter_bytes,
    average_bytes_on_host,
    offloaded_bytes,
    trained_numbers,
    training_bytes,
)
from ltxv_train_core.training.preset_sizes import preset_sizes
from ltxv_train_core.training.transformer_sizes import transformer_sizes
from ltxv_train_core.units import byte_size
from tests.helpers.activation_bytes import small_transformer

STATE_BYTES = {
    **{"adamw": 8, "adamw_schedulefree": 8, "prodigy": 16, "adamw8bit": 2, "adafactor": 0},
    **{"lion": 4, "came": 4, "muon": 4, "prodigy_schedulefree": 5},
}


@pytest.mark.parametrize("kind", STATE_BYTES)
def test_a_trained_weight_costs_what_its_optimizer_keeps_and_a_gradient_that_waits(
    training_config, stripes_data, kind
):
    def needed(rank, **sections):
        transformer = small_transformer()
        parameters = add_lora(transformer, LoRAConfig(rank=rank, alpha=1), 0)
        dataset = TrainingDataset(stripes_data)
        config = training_config(**sections)
        denoiser = LTXVideoDenoiser(transformer, True)
        return memory_fit.step_bytes(config, denoiser, dataset), sum(p.numel() for p in parameters)

    options = {"optimizer_type": kind, "scheduler_type": "constant"}
    options |= {"learning_rate": 1.0} if kind.startswith("prodigy") else {}
    for mode, copies in (("no", 0), ("bf16", 2), ("fp16", 2)):
        sections = {"optimization": options, "acceleration": {"mixed_precision_mode": mode}}
        for passes, gradient in ((1, 0), (2, 4)):
            sections["optimization"] = options | {"gradient_accumulation_steps": passes}
            (small, few), (large, many) = needed(4, **sections), needed(16, **sections)
            assert (large - small) / (many - few) == gradient + STATE_BYTES[kind] + copies
    weight = torch.nn.Parameter(torch.ones(512, 512))
    weight.grad = torch.ones_like(weight)
    optimizer = build_optimizer(OptimizationConfig(**options), [weight])
    optimizer.step()
    values = [v for v in optimizer.state[weight].values() if isinstance(v, torch.Tensor)]
    kept_by_it = sum(value.nbytes for value in values) / weight.numel()
    wanted = 4.38 if kind == "prodigy_schedulefree" else STATE_BYTES[kind]
    assert kept_by_it == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize(
    ("mode", "precision", "whole", "recomputed"),
    [
        ("lora", "half", 810.8, 109.3),
        ("lora", "float32", 1689.3, 209.8),
        ("full", "half", 1490.2, 191.4),
        ("full", "float32", 2741.6, 241.6),
    ],
)
def test_bytes_of_the_2b_model_for_each_token_and_channel(mode, precision, whole, recomputed):
    """28 blocks of width 2048: block * 28 + shared + working, or recomputed * 28 + again."""
    table = ACTIVATION_BYTES[mode, precision]
    assert table.bytes(1024, 2048, 28) == pytest.approx(whole * 1024 * 2048, abs=1)
    assert table.bytes(1024, 2048, 28, 28) == pytest.approx(recomputed * 1024 * 2048, abs=1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    tokens=st.integers(1, 50_000),
    width=st.sampled_from([512, 2048, 4096]),
    layers=st.integers(4, 48),
    key=st.sampled_from(sorted(ACTIVATION_BYTES)),
)
def test_the_estimate_grows_with_tokens_width_and_layers_and_falls_with_recomputing(
    tokens, width, layers, key
):
    estimate = ACTIVATION_BYTES[key].bytes
    one = estimate(tokens, width, layers)
    assert estimate(2 * tokens, width, layers) == pytest.approx(2 * one, abs=1)
    assert estimate(tokens, 2 * width, layers) == pytest.approx(2 * one, abs=1)
    assert estimate(tokens, width, layers + 1) > one
    kept_blocks = [estimate(tokens, width, layers, count) for count in range(1, layers + 1)]
    inputs = round(ACTIVATION_BYTES[key].recomputed * tokens * width)
    for less, more in itertools.pairwise(kept_blocks):
        assert more <= less + inputs + 1
    assert kept_blocks[-1] < one


def test_the_largest_clip_decides_with_its_reference_and_times_the_batch(training_config, prepared):
    """Of 64x64x9 and 96x64x9 the wide one has 2 * 2 * 3 tokens, and its reference as many."""
    transformer = small_transformer()
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    denoiser = LTXVideoDenoiser(transformer, True)

    def needed(batch_size, recomputed=False, blocks=0, **options):
        config = training_config(
            prepared,
            optimization={"batch_size": batch_size, "enable_gradient_checkpointing": recomputed},
            acceleration={"blocks_to_offload": blocks},
        )
        return memory_fit.step_bytes(config, denoiser, TrainingDataset(prepared, **options))

    count = sum(p.numel() for p in transformer.parameters() if p.requires_grad)
    table = ACTIVATION_BYTES["lora", "float32"].bytes

    def estimate(tokens, layers, again=0):
        begin, end = table(tokens, 64, layers, again), table(tokens, 64, 1, min(again, 1))
        return max(begin, 4 * count + end)

    weights = 8 * count
    with_reference = {"reference_dir": "reference_latents"}
    assert needed(1) == weights + estimate(12, 2)
    assert needed(3) == weights + estimate(36, 2)
    assert needed(3, **with_reference) == weights + estimate(72, 2)
    assert needed(1, recomputed=True) == weights + estimate(12, 2, 2)
    assert needed(1, blocks=1) == weights + estimate(12, 2, 1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    table=st.builds(ActivationBytes, *[st.floats(1, 99)] * 5),
    layers=st.integers(1, 48),
    share=st.floats(0, 1),
)
def test_the_peak_is_at_the_end_of_the_forward_pass_or_when_a_block_is_computed_again(
    table, layers, share
):
    again = int(share * layers)
    first = (layers - again) * table.block + table.shared + table.working
    later = max(table.again, table.block + table.shared) if again else 0
    wanted = 1000 * 64 * (again * table.recomputed + max(first, later))
    assert table.bytes(1000, 64, layers, again) == pytest.approx(wanted, abs=1)


@pytest.fixture
def told(training_config, prepared, monkeypatch):
    """What is told of a step for so much free memory, and its bytes."""
    transformer = small_transformer()
    add_lora(transformer, LoRAConfig(rank=4, alpha=4), 0)
    denoiser, dataset = LTXVideoDenoiser(transformer, True), TrainingDataset(prepared)

    def told(free, **sections):
        config = training_config(prepared, **sections)
        needed = memory_fit.step_bytes(config, denoiser, dataset)
        monkeypatch.setattr(memory_fit, "free_bytes", lambda device: free + needed)
        trainable = SimpleNamespace(denoiser=denoiser, is_compiled=False)
        notice = memory_fit.tell_fit(config, trainable, dataset, torch.device("cpu"))
        return notice, needed

    return told


def test_what_is_needed_and_free_is_told_and_advice_only_where_it_is_too_much(told):
    notice, needed = told(0)
    told_of = f"a step needs about {byte_size(needed)} of memory beside the weights, "
    assert notice.message == f"{told_of}{byte_size(needed)} are free on cpu"
    assert not notice.lasting
    notice, _ = told(3 * 2**30)
    assert notice.message == f"{told_of}{byte_size(needed + 3 * 2**30)} are free on cpu"
    notice, _ = told(-1)
    assert notice.lasting
    assert ": it may fail or become very slow. What saves memory: " in notice.message
    assert notice.message.endswith("; smaller clips")


@pytest.mark.parametrize("more", [0, 1])
def test_a_saving_is_told_above_a_twentieth_of_a_gibibyte(told, monkeypatch, more):
    """Here every option saves so much, and a batch of one twice that."""
    least = 53_687_091

    def bytes_of(config, denoiser, dataset, free=0):
        options = config.optimization
        costs = [not options.enable_gradient_checkpointing, options.optimizer_type == "adamw"]
        return (sum(costs) + 2 * (options.batch_size - 1)) * (least + more)

    monkeypatch.setattr(memory_fit, "step_bytes", bytes_of)
    notice, _ = told(-1, optimization={"batch_size": 2, "optimizer_type": "adamw"})
    advice = notice.message.partition("What saves memory: ")[2].split(", ")
    assert advice[-1].startswith("acceleration.blocks_to_offload 262 KiB for each block")
    assert advice[-2] == "acceleration.quantization int8-quanto 393 KiB"
    batch = ["optimization.batch_size 1 102 MiB"]
    wanted = [
        "optimization.enable_gradient_checkpointing true 51.2 MiB",
        *batch,
        "optimization.optimizer_type adamw8bit 51.2 MiB",
    ]
    assert advice[:-2] == (wanted if more else batch)


def test_options_of_a_frozen_base_are_no_advice_for_full_training(told):
    notice, _ = told(-1, model={"training_mode": "full"})
    assert "acceleration." not in notice.message


def whole_config(**sections) -> TrainingConfig:
    acceleration = {"compile_with_inductor": False} | sections.pop("acceleration", {})
    values = {"data": {"preprocessed_data_root": "data"}, "acceleration": acceleration, **sections}
    return build(TrainingConfig, values)


@pytest.mark.parametrize(
    ("model", "numbers", "outside", "layers"),
    [
        ("LTXV_MINIATURE", 4_909_440, 691_584, 4 * 10 + 7),
        ("LTXV_2B_0.9.6_DEV", 1_923_385_472, 43_018_368, 28 * 10 + 7),
        ("LTXV_13B_097_DEV", 13_042_569_344, 153_145_472, 48 * 10 + 7),
    ],
)
def test_the_numbers_of_a_model_are_known_without_it(model, numbers, outside, layers):
    sizes = transformer_sizes(describe_model(model))
    assert (sizes.numbers, sizes.outside, len(sizes.linear)) == (numbers, outside, layers)


def test_sizes_that_are_not_known_yet_are_said():
    unknown = ModelDescription("someone/model", EARLIEST, None, False, None)
    with pytest.raises(ModelError, match="someone/model: its sizes are not known before"):
        transformer_sizes(unknown)


def test_bytes_of_a_run_of_the_2b_model():
    """28 blocks, each with 8 attention layers of 2048 x 2048; 168 tokens a latent frame."""
    sizes = transformer_sizes(describe_model("LTXV_2B_0.9.6_DEV"))
    tokens = {"video": 2016}
    lora = {"lora": {"rank": 32, "alpha": 32}, "optimization": {"batch_size": 1}}
    numbers = 28 * 8 * 32 * (2048 + 2048)
    assert sizes.lora_numbers(LoRAConfig(rank=32, alpha=32)) == numbers
    plain = training_bytes(whole_config(**lora), sizes, tokens)
    assert plain.base == 2 * 1_923_385_472
    assert (plain.trained, plain.gradients) == (numbers * (4 + 8), numbers * 4)
    step = 2016 * 2048 * (28.1 * 28 + 7.3 + 16.7)
    assert plain.activations == pytest.approx(step + 2 * numbers, abs=1)
    assert plain.total == plain.base + plain.trained + plain.activations
    several = {**lora, "optimization": {"batch_size": 1, "gradient_accumulation_steps": 2}}
    assert training_bytes(whole_config(**several), sizes, tokens).total == plain.total + numbers * 4
    average = {**lora, "optimization": {"batch_size": 1, "ema_decay": 0.99}}
    assert training_bytes(whole_config(**average), sizes, tokens).trained == numbers * 16
    full = {"model": {"training_mode": "full"}, "optimization": {"batch_size": 1}}
    whole = training_bytes(whole_config(**full), sizes, tokens)
    numbers = 1_923_385_472
    assert (whole.base, whole.trained, whole.gradients) == (4 * numbers, 8 * numbers, 4 * numbers)
    step, last = (2016 * 2048 * (52.3 * count + 14.4 + 11.4) for count in (28, 1))
    assert whole.activations == pytest.approx(step + 2 * numbers, abs=1)
    assert whole.last_block == pytest.approx(last, abs=1)
    assert whole.total == 12 * numbers + max(whole.activations, 4 * numbers + whole.last_block)


@pytest.mark.parametrize(
    ("options", "steps", "compiled"),
    [
        ({"compile_with_inductor": False}, 2000, False),
        ({}, 2000, True),
        ({}, 199, False),
        ({"compilation_mode": "max-autotune"}, 199, True),
    ],
)
def test_compiled_blocks_keep_less_where_they_are_compiled(options, steps, compiled):
    """By default of runs that are long enough to gain by it."""
    sizes = transformer_sizes(describe_model("LTXV_2B_0.9.6_DEV"))
    acceleration = {"compile_with_inductor": True} | options
    optimization = {"batch_size": 1, "steps": steps}
    config = whole_config(acceleration=acceleration, optimization=optimization)
    found = training_bytes(config, sizes, {"video": 2016})
    assert found.compiled == compiled
    copies = 2 * sizes.lora_numbers(config.lora)
    block = 16.9 if compiled else 28.1
    step = 2016 * 2048 * (block * 28 + 7.3 + 16.7)
    assert found.activations == pytest.approx(step + copies, abs=1)


def test_a_run_that_is_not_compiled_is_not_told_so(told):
    notice, _ = told(0, acceleration={"compile_with_inductor": True})
    assert "compiled" not in notice.message
    assert memory_fit.as_compiled(whole_config(), True).acceleration.compile_with_inductor


def test_inputs_that_wait_on_the_host_are_those_of_all_but_three_blocks():
    sizes = transformer_sizes(describe_model("LTXV_13B_097_DEV"))
    options = {"batch_size": 1, "enable_gradient_checkpointing": True}
    tokens = {"video": 4032}
    here = training_bytes(whole_config(optimization=options), sizes, tokens)
    config = whole_config(optimization=options | {"activations_on_host": True})
    there = training_bytes(config, sizes, tokens)
    inputs = 2.0 * 4032 * 4096 * (48 - 3)
    assert here.activations - there.activations == pytest.approx(inputs, rel=0.001)
    assert activation_bytes_on_host(config, sizes, tokens) == pytest.approx(inputs, rel=0.001)
    assert activation_bytes_on_host(whole_config(optimization=options), sizes, tokens) == 0


@pytest.mark.parametrize("offloaded", [0, 1, 2, 3, 28, 40])
def test_at_most_two_offloaded_blocks_are_on_the_device(offloaded):
    sizes = transformer_sizes(describe_model("LTXV_2B_0.9.6_DEV"))
    config = whole_config(acceleration={"blocks_to_offload": offloaded})
    block, outside = (1_923_385_472 - 43_018_368) // 28, 43_018_368
    kept = 28 - max(0, min(offloaded, 28) - 2)
    found = training_bytes(config, sizes, {"video": 1}).base
    assert found == pytest.approx(2 * (kept * block + outside), abs=2)


@pytest.mark.parametrize("kind", [None, "int8-quanto", "fp8-quanto", "nf4"])
def test_the_frozen_base_takes_what_it_takes_when_it_is_loaded(kind):
    sizes = transformer_sizes(describe_model("LTXV_MINIATURE"))
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.bfloat16)
    if kind:
        quantize_base(transformer, kind, torch.device("cpu"))
    transformer.requires_grad_(False)
    config = whole_config(acceleration={"quantization": kind})
    estimate = training_bytes(config, sizes, {"video": 1}).base
    # The 272 numbers of each layer that NF4 counts with are much for layers so small.
    rel = 0.015 if kind == "nf4" else 0.01
    assert estimate == pytest.approx(frozen_bytes(transformer), rel=rel)


def test_offloaded_blocks_wait_on_the_host_but_for_two():
    """10 of the 28 blocks of the 2B model: eight in bf16 are not on the device."""
    sizes = transformer_sizes(describe_model("LTXV_2B_0.9.6_DEV"))
    block = (sizes.matrices + sizes.block_rest) // 28
    lora = whole_config(acceleration={"blocks_to_offload": 10})
    assert offloaded_bytes(lora, sizes) == pytest.approx(8 * block * 2, rel=0.001)
    assert offloaded_bytes(whole_config(), sizes) == 0
    assert average_bytes_on_host(whole_config(), sizes) == 0
    averaged = whole_config(optimization={"ema_decay": 0.9, "ema_on_host": True})
    assert average_bytes_on_host(averaged, sizes) == 4 * trained_numbers(averaged, sizes)


def test_a_file_in_fp8_keeps_its_matrices_in_8_bits():
    sizes = transformer_sizes(replace(describe_model("LTXV_2B_0.9.6_DEV"), is_fp8=True))
    matrices = 28 * (8 * 2048 * 2048 + 2 * 2048 * 8192)
    found = training_bytes(whole_config(), sizes, {"video": 1}).base
    assert found == matrices + 2 * (1_923_385_472 - matrices)


@pytest.mark.parametrize(
    "lora",
    [
        *({"adapter": name} for name in ("lora", "rslora", "dora", "lokr", "loha", "oft")),
        {"layer_rules": ["block 1: rank 16", "block 2: off"]},
    ],
    ids=str,
)
def test_both_estimates_of_a_step_are_the_same(training_config, stripes_data, lora):
    """Before and after the model is loaded; the one before counts the LoRA's weights too."""
    config = training_config(acceleration={"mixed_precision_mode": "bf16"}, lora=lora)
    source = open_model("LTXV_MINIATURE")
    transformer = source.load_transformer(torch.bfloat16)
    numbers = sum(p.numel() for p in add_lora(transformer, config.lora, 0))
    dataset = TrainingDataset(stripes_data)
    loaded = memory_fit.step_bytes(config, source.transformer.denoiser(transformer), dataset)
    sizes = transformer_sizes(describe_model("LTXV_MINIATURE"))
    before = training_bytes(config, sizes, memory_fit.largest_sample(dataset))
    assert before.total - before.base == loaded + 4 * numbers


@pytest.mark.parametrize(
    ("adapter", "precision", "added"),
    [
        ("lora", "bf16", 0),
        ("dora", "bf16", 0.75 * 32 * 2),
        ("lokr", "no", 0.75 * 32 * 4),
        ("oft", "no", 0.5 * 64 * 4),
    ],
)
def test_an_adapter_keeps_its_share_of_a_layers_inputs_or_outputs(adapter, precision, added):
    """Of two layers from 32 to 64 numbers, with two clips of 10 tokens."""
    sections = {
        "optimization": {"batch_size": 2},
        "acceleration": {"mixed_precision_mode": precision},
        "lora": {"adapter": adapter},
    }
    layers, tokens = [(64, 32)] * 2, {"video": 10, "audio": 3}
    assert adapter_bytes(whole_config(**sections), layers, tokens) == 2 * 20 * added
    full = whole_config(**sections, model={"training_mode": "full"})
    assert adapter_bytes(full, layers, tokens) == 0


def test_presets_tell_what_they_train():
    transformer = open_model("LTX2_MINIATURE").load_transformer(torch.bfloat16)
    told = {each.preset: each for each in preset_sizes("LTX2_MINIATURE", 4)}
    assert list(told) == ["video", "audio", "cross-modal", "all"]
    for name in ("cross-modal", "video"):
        lora = LoRAConfig(rank=4, alpha=4, target_modules=(name,))
        numbers = sum(p.numel() for p in add_lora(transformer, lora, 0))
        transformer.delete_adapters("default")
        assert told[name].parameters == numbers
        assert told[name].file_bytes == 4 * numbers
        assert told[name].training_bytes == (4 + 4 + 8 + 2) * numbers
    assert [each.preset for each in preset_sizes("LTXV_MINIATURE", 4)] == ["video", "all"]


def test_a_lora_on_layers_that_there_are_not():
    sizes = transformer_sizes(describe_model("LTXV_MINIATURE"))
    assert sizes.lora_numbers(
        LoRAConfig(rank=1, target_modules=("transformer_blocks.3.ff.*",))
    ) == ((1024 + 256) * 2)
    with pytest.raises(ConfigurationError, match=r"lora\.target_modules 'to_x' matches no layer"):
        sizes.lora_numbers(LoRAConfig(target_modules=("to_x",)))
