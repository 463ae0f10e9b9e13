"""Inputs of recomputed blocks in host memory: the same gradients, with less of them on the device."""

import gc

import pytest
import torch

from ltxv_train_core.events import ignore
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltx2.rotation import _frequencies
from ltxv_train_core.families.open import open_model
from ltxv_train_core.models.memory.checkpointing import new_checkpoint, recompute_blocks
from ltxv_train_core.models.memory.host_inputs import HELD_ON_DEVICE
from ltxv_train_core.models.memory.offload import offload, place_blocks
from tests.helpers.accelerator import Accelerator, Race, Stream

TOKENS = 64
WAYS = ["all", "some", "offloaded"]


@pytest.fixture(autouse=True)
def no_tensors_of_an_earlier_accelerator():
    _frequencies.cache_clear()


class Model:
    """A miniature on a device, of whose streams all inputs have gradients."""

    def __init__(self, accelerator, on_host, name="LTXV_MINIATURE", way="all", said=None):
        model = open_model(name)
        transformer = model.load_transformer(torch.float32).requires_grad_(False).train()
        offloaded = [0, 2] if way == "offloaded" else []
        place_blocks(transformer, accelerator.device, offloaded)
        self.denoiser = model.transformer.denoiser(transformer)
        report = ignore if said is None else said.append
        checkpoint = new_checkpoint(accelerator.device, on_host, report)
        if way == "all":
            transformer.enable_gradient_checkpointing(checkpoint)
        if way == "some":
            recompute_blocks(transformer, 3, checkpointed=checkpoint)
        if way == "offloaded":
            offload(transformer, accelerator.device, offloaded, ignore, checkpoint)
        self.device, self.width = accelerator.device, transformer.config.caption_channels
        self.texts = model.family.text

    def step(self, tokens=TOKENS):
        """Gradients of what each stream is given."""
        random = torch.Generator().manual_seed(0)
        seen, leaves = {}, []
        for name in self.denoiser.streams:
            given = torch.randn(1, tokens, 8 * 16 if name == "audio" else 128, generator=random)
            leaf = given.to(self.device).requires_grad_()
            leaves.append(leaf)
            axes = 3 if name == "video" else 1
            places = torch.rand(1, axes, tokens, generator=random).to(self.device)
            levels = torch.full((1, tokens), 0.5)
            rows = StreamInput(given, levels, places).level_rows.to(self.device)
            seen[name] = StreamInput(leaf, levels.to(self.device), places, rows=rows)
        widths = dict(zip(self.texts, (256, 128), strict=False))
        if len(self.texts) == 1:
            widths = {self.texts[0]: self.width}
        words = {n: torch.randn(4, width, generator=random) for n, width in widths.items()}
        text = Text.padded([words]).to(self.device, torch.float32)
        found = self.denoiser.denoise(seen, text)
        torch.stack([each.square().mean() for each in found.values()]).sum().backward()
        return [leaf.grad.cpu() for leaf in leaves]


@pytest.mark.long
@pytest.mark.parametrize("name", ["LTXV_MINIATURE", "LTX2_MINIATURE"])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_the_same_bit_for_bit(name, way):
    """Whatever the streams share is ordered by events, or the accelerator raises `Race`."""
    with Accelerator() as accelerator:
        expected = Model(accelerator, False, name, way).step()
        model = Model(accelerator, True, name, way)
        pinned = []
        for _ in range(2):
            assert all(map(torch.equal, model.step(), expected))
            gc.collect()
            pinned.append(accelerator.pinned_bytes)
        assert pinned[0] == pinned[1] > 10_000, "memory of the host is used again"
        assert accelerator.released_early == 0
    assert all(gradient.abs().max() > 0 for gradient in expected)


@pytest.mark.long
def test_the_device_holds_the_inputs_of_two_blocks():
    """Of three where the first one's, for which no gradient is wanted, stays."""
    peaks = {}
    for on_host in (False, True):
        with Accelerator() as accelerator:
            model = Model(accelerator, on_host)
            model.step()
            gc.collect()
            accelerator.peak_bytes = accelerator.live_bytes
            model.step()
            peaks[on_host] = accelerator.peak_bytes
            blocks, width = len(model.denoiser.transformer.transformer_blocks), 256
    an_input = 4 * TOKENS * width
    assert blocks == 4
    assert peaks[False] - peaks[True] == pytest.approx((blocks - 2) * an_input, rel=0.1)
    assert HELD_ON_DEVICE == 3


@pytest.mark.long
def test_longer_clips_take_the_place_of_shorter_ones():
    with Accelerator() as accelerator:
        model = Model(accelerator, True)
        sizes = []
        for tokens in (16, 64, 32, 64):
            model.step(tokens)
            gc.collect()
            sizes.append(accelerator.pinned_bytes)
    assert 3 * sizes[0] < sizes[1] == sizes[2] == sizes[3]


@pytest.mark.long
def test_what_can_not_be_pinned_stays_and_is_said_once():
    said = []
    with Accelerator(pinned_limit=0) as accelerator:
        expected = Model(accelerator, False).step()
        model = Model(accelerator, True, said=said)
        for _ in range(2):
            assert all(map(torch.equal, model.step(), expected))
        assert accelerator.pinned_bytes == 0
    assert [each.message for each in said] == [
        "optimization.activations_on_host: inputs of some blocks stay on the device: the host has no more memory "
        "that can be pinned"
    ]


def test_a_copy_that_does_not_wait_is_seen(monkeypatch):
    with Accelerator() as accelerator:
        model = Model(accelerator, True)
        monkeypatch.setattr(Stream, "wait_event", lambda *given: None)
        with pytest.raises(Race):
            model.step()


def test_a_cpu_has_no_other_memory():
    assert new_checkpoint(torch.device("cpu"), True, ignore) is new_checkpoint(
        torch.device("cpu"), False, ignore
    )
