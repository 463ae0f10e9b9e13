"""Blocks in host memory: the same training, with less of the model on the device."""

import gc
from contextlib import nullcontext
from itertools import pairwise
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optimum.quanto import QTensor
from safetensors.torch import load_file

from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.families.open import open_model
from ltxv_train_core.models.memory.offload import offload, place_blocks, spread_blocks
from ltxv_train_core.models.memory.quantize import quantize_base
from ltxv_train_core.training.trainer import train

CPU = torch.device("cpu")
BLOCKS = 4


def losses_and_weights(config):
    events = []
    result = train(config, events.append)
    losses = [e.loss for e in events if isinstance(e, StepCompleted)]
    return losses, load_file(result.lora_file)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"optimization": {"steps": 3, "enable_gradient_checkpointing": True}},
        {"acceleration": {"quantization": "int8-quanto"}, "lora": {"dropout": 0.3}},
    ],
    ids=["alone", "with checkpointing", "quantized, with dropout"],
)
def test_offloading_changes_no_bit_of_training(training_config, tmp_path, sections):
    sections = {"optimization": {"steps": 3, "batch_size": 1}, **sections}
    whole = losses_and_weights(training_config(**sections))
    acceleration = sections.get("acceleration", {}) | {"blocks_to_offload": 3}
    sections = {**sections, "acceleration": acceleration, "output_dir": str(tmp_path / "two")}
    losses, weights = losses_and_weights(training_config(**sections))
    assert losses == whole[0]
    assert weights.keys() == whole[1].keys()
    assert all(torch.equal(weights[key], whole[1][key]) for key in weights)


def places_in_memory(shape):
    """Where the numbers of all living tensors of a shape are."""
    return {
        tensor.data_ptr()
        for tensor in gc.get_objects()
        if type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.shape == shape
    }


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_device_never_holds_more_than_two_offloaded_blocks(checkpointing):
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32)
    transformer.requires_grad_(False)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    offload(transformer, CPU, spread_blocks(BLOCKS, BLOCKS))
    shape = transformer.transformer_blocks[0].scale_shift_table.shape  # one in each block
    gc.collect()
    before, seen = places_in_memory(shape), []
    for block in transformer.transformer_blocks:
        block.ff.register_forward_hook(
            lambda *_: seen.append(len(places_in_memory(shape) - before))
        )
    tokens = torch.randn(1, 8, 128, requires_grad=True)
    output = transformer(
        hidden_states=tokens,
        encoder_hidden_states=torch.randn(1, 4, 128),
        timestep=torch.full((1, 8), 500.0),
        encoder_attention_mask=torch.ones(1, 4),
        video_coords=torch.zeros(1, 3, 8),
        return_dict=False,
    )[0]
    between = len(places_in_memory(shape) - before)
    output.square().mean().backward()
    assert tokens.grad.abs().max() > 0
    assert len(seen) == 2 * BLOCKS, "each block is brought in for both passes"
    assert max(seen) == 2
    assert between == 0, "nothing is kept from the forward to the backward pass"


def test_the_copying_stream_is_told_what_the_other_still_reads(monkeypatch):
    """Of quantized weights too, which are made of several tensors. The GPU is played by a CPU."""
    from ltxv_train_core.models.memory import offload as module

    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.bfloat16)
    quantize_base(transformer, "int8-quanto", CPU).requires_grad_(False)
    copies, told = [], []

    def copied(weights, device):
        made = [tensor.detach().to(CPU, copy=True) for _, _, tensor in weights.entries]
        copies.extend(made)
        return made

    monkeypatch.setattr(module._HostWeights, "copied_to", copied)
    monkeypatch.setattr(torch.cuda, "Stream", Mock())
    monkeypatch.setattr(torch.cuda, "stream", Mock(return_value=nullcontext()))
    monkeypatch.setattr(torch.cuda, "current_stream", Mock())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: told.append(tensor))
    offload(transformer, torch.device("cuda"), [0])
    with torch.no_grad():
        transformer.transformer_blocks[0](
            torch.randn(1, 8, 256).bfloat16(),
            torch.randn(1, 4, 256).bfloat16(),
            temb=torch.randn(1, 1, 6 * 256).bfloat16(),
        )
    quantized = [tensor for tensor in copies if isinstance(tensor, QTensor)]
    assert len(quantized) == 10
    torch.cuda.stream.assert_called_once_with(torch.cuda.Stream.return_value)
    waiting = torch.cuda.current_stream.return_value.wait_stream
    waiting.assert_called_once_with(torch.cuda.Stream.return_value)
    ours = {tensor.data_ptr() for tensor in told if not isinstance(tensor, QTensor)}
    assert {q._data.data_ptr() for q in quantized} <= ours
    assert {q._scale.data_ptr() for q in quantized} <= ours


def test_frozen_weights_are_pinned_where_there_is_a_gpu_but_quantized_ones(monkeypatch):
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.bfloat16)
    quantize_base(transformer, "int8-quanto", CPU).requires_grad_(False)
    block, pinned = transformer.transformer_blocks[2], []
    block.scale_shift_table.requires_grad_(True)

    def pin(tensor):
        pinned.append(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    offload(transformer, CPU, [1])
    assert pinned == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    offload(transformer, CPU, [2])
    weights = [p for p in block.parameters() if not isinstance(p.data, QTensor)]
    frozen = [p.data_ptr() for p in (*weights, *block.buffers()) if not p.requires_grad]
    assert len(frozen) > 10
    assert sorted(pinned) == sorted(frozen)


def test_offloaded_blocks_stay_behind_when_the_model_moves():
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32)
    place_blocks(transformer, torch.device("meta"), [1, 3])
    homes = [next(block.parameters()).device.type for block in transformer.transformer_blocks]
    assert homes == ["meta", "cpu", "meta", "cpu"]
    assert transformer.device.type == "meta"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_block_is_copied_once_a_pass_while_the_one_before_works(monkeypatch, checkpointing):
    """Backwards too, where the first to work is the last block."""
    from ltxv_train_core.models.memory import offload as module

    made, told, copy = [], [], module._HostWeights.copied_to

    def copied(weights, device):
        if weights not in made:
            made.append(weights)
        told.append(f"copy {made.index(weights)}")
        return copy(weights, device)

    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32)
    transformer.requires_grad_(False).train()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    monkeypatch.setattr(module._HostWeights, "copied_to", copied)
    offload(transformer, CPU, list(range(BLOCKS)))
    homes = [p.data_ptr() for p in transformer.parameters()]

    def note(number):
        told.append(f"run {number}")
        used = transformer.transformer_blocks[number].parameters()
        assert not {p.data_ptr() for p in used} & set(homes), "it works with the copies"

    for number, block in enumerate(transformer.transformer_blocks):
        block.attn1.register_forward_hook(lambda *_, number=number: note(number))
    forwards = ["copy 0", "copy 1", "run 0", "copy 2", "run 1", "copy 3", "run 2", "run 3"]
    backwards = ["copy 3", "copy 2", "run 3", "copy 1", "run 2", "copy 0", "run 1", "run 0"]
    output = output_of(transformer)
    assert told == forwards
    output.square().mean().backward()
    assert told == forwards + backwards
    with torch.no_grad():
        output_of(transformer)
    assert told == forwards + backwards + forwards
    assert [p.data_ptr() for p in transformer.parameters()] == homes, "its own are back in place"


def output_of(transformer):
    return transformer(
        hidden_states=torch.randn(1, 8, 128, requires_grad=True),
        encoder_hidden_states=torch.randn(1, 4, 128),
        timestep=torch.full((1, 8), 500.0),
        encoder_attention_mask=torch.ones(1, 4),
        video_coords=torch.zeros(1, 3, 8),
        return_dict=False,
    )[0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(blocks=st.integers(1, 60), share=st.floats(0, 1))
def test_offloaded_blocks_lie_as_far_apart_as_they_can(blocks, share):
    count = int(share * blocks)
    found = spread_blocks(blocks, count)
    assert len(found) == count
    assert found[:1] == [0][:count]
    gaps = [b - a for a, b in pairwise([*found, blocks])]
    assert all(blocks // count <= gap <= -(-blocks // count) for gap in gaps) or not gaps


def test_offloaded_blocks_lie_apart():
    assert spread_blocks(28, 4) == [0, 7, 14, 21]
    assert spread_blocks(48, 48) == list(range(48))
    assert spread_blocks(48, 0) == []
    with pytest.raises(ConfigurationError, match="blocks_to_offload: 5, and the model has 4"):
        spread_blocks(4, 5)
