"""Blocks in host memory: the same training, with less of the model on the device."""

import gc
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import StepCompleted, ignore
from ltxv_train_core.families.open import open_model
from ltxv_train_core.models import device
from ltxv_train_core.models.device import free_memory
from ltxv_train_core.models.memory.offload import offload, place_blocks, spread_blocks
from ltxv_train_core.models.memory.quantize import frozen_bytes, quantize_base
from ltxv_train_core.runs.failures import failure_of
from ltxv_train_core.training.trainer import train
from tests.helpers.accelerator import Accelerator, Event, Race, Stream

CPU = torch.device("cpu")
BLOCKS = 4
BLOCK_BYTES, LOTS = 2_120_000, 2**40


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
        {"acceleration": {"quantization": "nf4"}},
    ],
    ids=["alone", "with checkpointing", "quantized, with dropout", "in normal floats"],
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


def frozen_model(accelerator, kind=None, checkpointing=False, offloaded=(), said=None):
    """The miniature's transformer on a device, some of its blocks in host memory."""
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.bfloat16)
    transformer.requires_grad_(False).train()
    if kind:
        quantize_base(transformer, kind, accelerator.device, offloaded)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    place_blocks(transformer, accelerator.device, list(offloaded))
    if offloaded:
        report = ignore if said is None else said.append
        offload(transformer, accelerator.device, list(offloaded), report)
    return transformer


def step(transformer, device=CPU):
    """The output of a model and the gradient of its input."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 8, 128, generator=generator).bfloat16().to(device).requires_grad_()
    output = transformer(
        hidden_states=tokens,
        encoder_hidden_states=torch.randn(1, 4, 128, generator=generator).bfloat16().to(device),
        timestep=torch.full((1, 8), 500.0).to(device),
        encoder_attention_mask=torch.ones(1, 4).to(device),
        video_coords=torch.zeros(1, 3, 8).to(device),
        return_dict=False,
    )[0]
    output.square().mean().backward()
    return output.detach().cpu(), tokens.grad.cpu()


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "checkpointing", "pinned_limit"),
    [
        (None, False, LOTS),
        (None, True, LOTS),
        ("int4-quanto", False, LOTS),
        ("int8-quanto", True, LOTS),
        (None, False, 3 * BLOCK_BYTES),  # a block and the staging memory of two
        (None, False, 0),
    ],
)
def test_a_device_holds_two_offloaded_blocks_however_far_the_host_is_ahead(
    kind, checkpointing, pinned_limit
):
    """Whatever the streams share is ordered by events, or the accelerator raises `Race`."""
    with Accelerator(pinned_limit=pinned_limit) as accelerator:
        whole = frozen_model(accelerator, kind, checkpointing)
        expected = step(whole, accelerator.device)
        size = frozen_bytes(whole.transformer_blocks)
        outside = accelerator.live_bytes - size
        del whole
        gc.collect()
        assert accelerator.live_bytes == 0
        transformer = frozen_model(accelerator, kind, checkpointing, range(BLOCKS))
        placed = accelerator.live_bytes
        assert placed == pytest.approx(outside + size / BLOCKS * 2, rel=0.01)
        accelerator.peak_bytes, accelerator.allocated_bytes = 0, {}
        for _ in range(2):
            found = step(transformer, accelerator.device)
            assert all(map(torch.equal, found, expected))
        gc.collect()
        assert accelerator.live_bytes == placed
        assert accelerator.allocated_bytes.keys() == {accelerator.stream}, "copies allocate nothing"
        del transformer
        gc.collect()
        assert accelerator.live_bytes == accelerator.pinned_bytes == 0


@pytest.mark.parametrize("waits", ["wait_event", "synchronize"])
def test_a_copy_that_does_not_wait_is_seen(monkeypatch, waits):
    limit = LOTS if waits == "wait_event" else 3 * BLOCK_BYTES
    with Accelerator(pinned_limit=limit) as accelerator:
        transformer = frozen_model(accelerator, offloaded=range(BLOCKS))
        owner = Stream if waits == "wait_event" else Event
        monkeypatch.setattr(owner, waits, lambda *given: None)
        with pytest.raises(Race):
            step(transformer, accelerator.device)


@pytest.mark.parametrize(("limit", "pinned"), [(LOTS, 4), (3 * BLOCK_BYTES, 1), (0, 0)])
def test_what_can_not_be_pinned_is_said_once_and_stays_where_it_is(limit, pinned):
    said = []
    with Accelerator(pinned_limit=limit) as accelerator:
        transformer = open_model("LTXV_MINIATURE").load_transformer(torch.bfloat16)
        transformer.requires_grad_(False)
        homes = [p.data_ptr() for p in transformer.transformer_blocks[3].parameters()]
        offload(transformer, accelerator.device, list(range(BLOCKS)), said.append)
        weights = [list(block.parameters()) for block in transformer.transformer_blocks]
        assert [all(w.is_pinned() for w in each) for each in weights] == [
            number < pinned for number in range(BLOCKS)
        ]
        assert ([w.data_ptr() for w in weights[3]] == homes) == (pinned < BLOCKS)
    assert [event.message for event in said] == (
        []
        if pinned == BLOCKS
        else [
            f"acceleration.blocks_to_offload: the weights of {BLOCKS - pinned} blocks stay in pageable "
            "memory (pinning more failed: CUDA error: out of memory): they are copied more slowly"
        ]
    )


def test_a_part_of_the_hosts_memory_is_not_pinned(monkeypatch):
    gib, said = 2**30, []
    memory = SimpleNamespace(total=16 * gib, available=4 * gib + BLOCK_BYTES // 2)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    with Accelerator() as accelerator:
        frozen_model(accelerator, offloaded=range(BLOCKS), said=said)
    assert "4 blocks stay in pageable memory (of the computer's memory 4 GiB are free)" in (
        said[0].message
    )


def test_pinned_memory_goes_back_when_a_run_has_ended(monkeypatch):
    given_back = []
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: given_back.append(1))
    free_memory()
    assert given_back == []
    monkeypatch.setattr(device, "_backend", lambda device: SimpleNamespace(empty_cache=lambda: 0))
    free_memory()
    assert given_back == [1]


def test_what_does_not_fit_fits_with_offloaded_blocks():
    with Accelerator(total_bytes=8_000_000) as accelerator:
        transformer = frozen_model(accelerator, offloaded=range(BLOCKS))
        step(transformer, accelerator.device)
        with pytest.raises(AssertionError, match="a tensor of the CPU among those of the device"):
            step(transformer, CPU)
        with pytest.raises(torch.OutOfMemoryError) as told:
            frozen_model(accelerator)
    assert failure_of(told.value).kind == "out_of_memory"


def test_offloaded_blocks_stay_behind_when_the_model_moves():
    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32)
    place_blocks(transformer, torch.device("meta"), [1, 3])
    homes = [next(block.parameters()).device.type for block in transformer.transformer_blocks]
    assert homes == ["meta", "cpu", "meta", "cpu"]
    assert transformer.device.type == "meta"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_block_is_copied_once_a_pass_unless_it_is_there(monkeypatch, checkpointing):
    """The two blocks that a pass ends with are those that the next pass begins with."""
    from ltxv_train_core.models.memory import offload as module

    made, told, copy = [], [], module._Slot.copy

    def copied(slot, block, is_async):
        if block not in made:
            made.append(block)
        told.append(f"copy {made.index(block)}")
        copy(slot, block, is_async)

    transformer = open_model("LTXV_MINIATURE").load_transformer(torch.float32)
    transformer.requires_grad_(False).train()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    monkeypatch.setattr(module._Slot, "copy", copied)
    offload(transformer, CPU, list(range(BLOCKS)))
    homes = [p.data_ptr() for p in transformer.parameters()]

    def note(number):
        told.append(f"run {number}")
        used = transformer.transformer_blocks[number].parameters()
        assert not {p.data_ptr() for p in used} & set(homes), "it works with the copies"

    for number, block in enumerate(transformer.transformer_blocks):
        block.attn1.register_forward_hook(lambda *_, number=number: note(number))
    rest = ["copy 2", "run 2", "copy 3", "run 3"]
    forwards = ["copy 0", "run 0", "copy 1", "run 1", *rest]
    backwards = ["run 3", "run 2", "copy 1", "run 1", "copy 0", "run 0"]
    output = output_of(transformer)
    assert told == forwards
    output.square().mean().backward()
    assert told == forwards + backwards
    with torch.no_grad():
        output_of(transformer)
    assert told == [*forwards, *backwards, "run 0", "run 1", *rest]
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
