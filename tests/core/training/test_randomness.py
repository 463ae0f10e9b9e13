"""Training draws from generators of its own: it moves nobody's random numbers, and nobody moves its."""

import threading

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.lora.dropout import DropoutSeed, SeededDropout
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.trainer import train
from tests.helpers.short_run import run as train_some

DROPOUT = {"rank": 4, "alpha": 4, "dropout": 0.3}
SAMPLES = {"prompts": ["a ring"], "video_dims": [64, 64, 9], "interval": 4, "inference_steps": 1}
DRAWS = 1000


def outcome(result):
    """Losses and weights of a run."""
    losses = [each.loss for each in RunFolder(result.run_folder).metrics()]
    return losses, {name: t.numpy().tobytes() for name, t in load_file(result.lora_file).items()}


def test_a_run_with_dropout_changes_no_noise_that_is_drawn_beside_it(training_config):
    """As a sampler does: the global state is seeded, and then drawn from."""
    config = training_config(lora=DROPOUT, validation=SAMPLES)
    torch.manual_seed(4)
    expected = [torch.randn(2) for _ in range(DRAWS)]
    thread = threading.Thread(target=train, args=(config,))
    torch.manual_seed(4)
    thread.start()
    drawn = [torch.randn(2)]
    while thread.is_alive() and len(drawn) < DRAWS:
        drawn.append(torch.randn(2))
        thread.join(0.002)
    drawn += [torch.randn(2) for _ in range(DRAWS - len(drawn))]
    thread.join()
    assert all(map(torch.equal, drawn, expected))


def test_the_global_random_state_stays_as_it_is(training_config, tmp_path):
    def prepare():
        source = generate("stripes", tmp_path / "clips", clips=1).metadata
        preprocess(PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9"))

    def see(event):
        assert torch.equal(torch.get_rng_state(), before), event

    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(training_config(lora=DROPOUT, validation=SAMPLES), see)
    prepare()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.long
def test_a_run_with_dropout_reproduces_itself_resumed_too(training_config, tmp_path):
    def config(name):
        return training_config(
            lora=DROPOUT,
            optimization={"gradient_accumulation_steps": 2},
            output_dir=str(tmp_path / name),
        )

    torch.manual_seed(1)
    first = outcome(train(config("a")))
    torch.manual_seed(2)
    torch.randn(7)
    assert outcome(train(config("b"))) == first
    train_some(config("c"), stop_after=2)
    torch.manual_seed(3)
    assert outcome(train(config("c"))) == first
    without = outcome(train(training_config(optimization={"gradient_accumulation_steps": 2})))
    assert without != first


def test_recomputed_activations_see_the_same_dropout(training_config, tmp_path):
    def losses(name, **options):
        config = training_config(
            lora=DROPOUT, optimization=options, output_dir=str(tmp_path / name)
        )
        return outcome(train(config))[0]

    kept = losses("kept")
    recomputed = losses("recomputed", enable_gradient_checkpointing=True)
    assert max(abs(a - b) for a, b in zip(kept, recomputed, strict=True)) < 1e-5


def test_dropout_leaves_out_its_share_by_pass_and_layer():
    seed, ones = DropoutSeed(7), torch.ones(200, 500)
    layer, other = SeededDropout(0.25, "a", seed), SeededDropout(0.25, "b", seed)
    first = layer(ones)
    assert set(first.unique().tolist()) == {0.0, (1 / torch.tensor(0.75)).item()}
    assert abs((first == 0).float().mean().item() - 0.25) < 0.01
    assert torch.equal(layer(ones), first)
    assert not torch.equal(other(ones), first)
    seed.value = 8
    assert not torch.equal(layer(ones), first)
    assert torch.equal(layer.eval()(ones), ones)
