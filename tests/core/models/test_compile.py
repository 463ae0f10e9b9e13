"""Compiled blocks: every run compiles its own, whatever runs before it in the process. Graphs are made as they are for a
device; what inductor would make of them is played by the graphs themselves, which takes no minutes."""

import threading
import time

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._inductor import compile_fx
from torch._inductor import config as inductor_config
from torch.profiler import ProfilerActivity, profile

from ltxv_train_core.config import AccelerationConfig, LoRAConfig
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.events import Control, Notice, Progress, ignore
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltxv.activation_bytes import COMPILED, LORA_IN_HALF
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.recompute import use_recomputing_blocks
from ltxv_train_core.families.names import PROMPT, VIDEO
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.models import compile as compiling
from ltxv_train_core.models.compile import compile_blocks
from tests.helpers.activation_bytes import kept_bytes, small_transformer

WIDTH, BLOCKS = 8, 2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden, text):
        return hidden + self.layer(hidden) * text.mean(1, keepdim=True)


class Model(nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.transformer_blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward(self, tokens=4, words=3, samples=1):
        hidden, text = torch.ones(samples, tokens, WIDTH), torch.ones(samples, words, WIDTH)
        for block in self.transformer_blocks:
            hidden = block(hidden, text)
        return hidden


@pytest.fixture
def inductor(monkeypatch):
    """Counts calls of compiled graphs."""
    calls = []

    def compiled(graph, inputs, **options):
        @make_boxed_func
        def run(*given):
            calls.append(options.get("is_backward", False))
            return graph.forward(*given)

        return run

    monkeypatch.setattr(compile_fx, "compile_fx_inner", compiled)
    return calls


def compiled_model(said, stop=None, mode="default"):
    torch.manual_seed(0)
    model = Model()
    options = AccelerationConfig(compilation_mode=mode)
    assert compile_blocks(model, options, 1000, said.append, stop=stop)
    return model


@pytest.mark.long
def test_each_run_of_a_process_is_compiled_whatever_the_sizes_of_clips_and_captions(inductor):
    """dynamo allows eight graphs of a function: sizes used them up, and runs after it were not compiled."""
    for samples in (1, 2):
        said = []
        model = compiled_model(said)
        inductor.clear()
        for tokens in range(4, 10):
            model(tokens, words=tokens - 1, samples=samples).sum().backward()
        assert inductor.count(False) == inductor.count(True) == 6 * BLOCKS
        with torch.no_grad():
            model(11, 12, samples=2 * samples)
        assert len(inductor) == 13 * BLOCKS
        graphs = max(event.done for event in said if isinstance(event, Progress))
        assert graphs <= 2 * 2 + 2, "the first block's input needs no gradient, the others' do"


def test_blocks_that_run_without_being_compiled_are_said_once(inductor, monkeypatch):
    monkeypatch.setattr(compiling, "MOST_GRAPHS", 1)
    said = []
    model = compiled_model(said)
    found = model()
    torch.manual_seed(0)
    assert torch.allclose(found, Model()())
    model()
    assert inductor.count(False) == 2, "the first block alone"
    texts = [event.message for event in said if isinstance(event, Notice)]
    assert texts[1:] == ["some blocks run without being compiled: the run has needed 1 graphs"]


@pytest.mark.long
def test_compiled_blocks_save_no_more_for_backward_than_others(inductor):
    found = []
    for is_compiled in (False, True):
        transformer = small_transformer(layers=1, width=128, head=64).bfloat16()
        transformer.requires_grad_(False)
        use_recomputing_blocks(transformer)
        if is_compiled:
            compile_blocks(transformer, AccelerationConfig(compilation_mode="default"), 1, ignore)
        add_lora(transformer, LoRAConfig(rank=8, alpha=8), 0)
        found.append(kept_bytes(transformer))
    assert 0.5 * found[0] < found[1] < found[0]


@pytest.mark.long
def test_a_compiled_block_saves_what_is_estimated():
    """Inductor's buffers don't pass the hooks of autograd: memory is counted where it is given. With and without one
    of the blocks that share their graphs. What inductor keeps depends on the sizes: 13.4 with so few tokens, 16.9 with
    twice as many."""
    width, tokens, words = 512, 256, 60
    transformer = small_transformer(layers=3, width=width, head=64).bfloat16()
    transformer.requires_grad_(False)
    denoiser = LTXVideoDenoiser(transformer, True)
    compile_blocks(transformer, AccelerationConfig(compilation_mode="default"), 1, ignore)
    add_lora(transformer, LoRAConfig(rank=width // 32, alpha=16), 0)
    levels, mask = torch.full((1, tokens), 0.5), torch.ones(1, words, dtype=torch.bool)
    seen = StreamInput(torch.randn(1, tokens, 128), levels, torch.rand(1, 3, tokens))
    text = Text({PROMPT: torch.randn(1, words, 40).bfloat16()}, mask, is_padded=False)

    def loss():
        with torch.autocast("cpu", torch.bfloat16):
            return denoiser.denoise({VIDEO: seen}, text)[VIDEO].float().square().mean()

    def kept():
        loss().backward()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            value = loss()
        events = found.profiler.kineto_results.events()
        value.backward()
        return sum(event.nbytes() for event in events if event.name() == "[memory]")

    of_three = kept()
    del transformer.transformer_blocks[-1]
    a_block = (of_three - kept()) / (tokens * width)
    estimated = COMPILED["lora", "half"].block
    assert 0.7 * estimated < a_block < 1.05 * estimated < 0.7 * LORA_IN_HALF.block


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_a_stop_ends_the_compiling(monkeypatch, inductor, pass_):
    stop, begun, plain = Control(), threading.Event(), compile_fx.compile_fx_inner

    def forever(graph, inputs, **options):
        if options.get("is_backward", False) != (pass_ == "backward"):
            return plain(graph, inputs, **options)
        begun.set()
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue  # as libraries do that fall back to something else

    monkeypatch.setattr(compile_fx, "compile_fx_inner", forever)
    model = compiled_model([], stop)
    asker = threading.Thread(target=lambda: (begun.wait(60), stop.stop()))
    asker.start()
    with pytest.raises(Cancelled, match="stopped while the model was compiled"):
        model().sum().backward()
    asker.join()


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune"])
def test_blocks_are_compiled_without_cuda_graphs(monkeypatch, inductor, mode):
    seen, compile_ = [], compile_fx.compile_fx_inner

    def noted(*args, **options):
        seen.append((inductor_config.triton.cudagraphs, inductor_config.max_autotune))
        return compile_(*args, **options)

    monkeypatch.setattr(compile_fx, "compile_fx_inner", noted)
    monkeypatch.setattr(compiling, "why_not", lambda *given: None)
    compiled_model([], mode=mode)()
    assert set(seen) == {(False, mode == "max-autotune")}
