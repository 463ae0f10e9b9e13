"""The pretraining of the miniatures: interrupted or not, and with one register in place of many."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ltxv_train_core.families.names import AUDIO, VIDEO
from tools.miniature_ltx2_pretraining import COMFYUI_TEXT_TOKENS, Models
from tools.miniature_tokenizer import SOUND_WORDS, write_tokenizer
from tools.pretraining_loop import Draws, Settings, Training, drawn_once, learning_rate

STEPS = 8


class Interrupted(Exception):
    pass


def settings_in(folder, **changes):
    settings = Settings(
        output=folder,
        state_file=folder / "state.pt",
        steps=STEPS,
        clip_count=4,
        batch_size=2,
        seed=3,
        snapshot_seconds=0,
    )
    return replace(settings, **changes)


def train(settings, stop_at=None):
    """Fits a layer to draws; returns the averaged weights that were saved."""
    torch.manual_seed(0)
    layer, saved, taken = nn.Linear(3, 2), [], []

    def losses(draws):
        if len(taken) == stop_at:
            raise Interrupted
        taken.append(None)
        seen = torch.randn(5, 3, generator=draws.numbers) + draws.words.random()
        return {"first": layer(seen).square().mean(), "second": (layer(seen) - 1).abs().mean()}

    training = Training(settings, list(layer.parameters()), Draws.seeded(settings.seed))
    training.run(losses, lambda folder: saved.append(layer.weight.detach().clone()))
    return saved[-1]


def test_an_interrupted_training_gives_the_same_weights(tmp_path, capsys):
    whole = train(settings_in(tmp_path / "whole"))
    with pytest.raises(Interrupted):
        train(settings_in(tmp_path / "halves"), stop_at=5)
    assert torch.equal(train(settings_in(tmp_path / "halves")), whole)
    assert "continues from step 5" in capsys.readouterr().out
    assert not (tmp_path / "halves" / "state.pt").exists()
    other = train(settings_in(tmp_path / "other", seed=4))
    assert not torch.equal(other, whole)


@pytest.mark.parametrize("changes", [{"steps": 30}, {"batch_size": 3}, {"seed": 4}])
def test_the_state_of_another_training_is_refused(tmp_path, changes):
    with pytest.raises(Interrupted):
        train(settings_in(tmp_path), stop_at=5)
    with pytest.raises(ValueError, match=r"state\.pt: step 5 of 8"):
        train(settings_in(tmp_path, **changes))


def test_the_number_of_steps_may_change_while_the_rate_is_constant(tmp_path):
    whole = train(settings_in(tmp_path / "whole", steps=20))
    with pytest.raises(Interrupted):
        train(settings_in(tmp_path / "halves", steps=10), stop_at=3)
    assert torch.equal(train(settings_in(tmp_path / "halves", steps=20)), whole)


def test_clips_are_encoded_once(tmp_path):
    settings, drawn = settings_in(tmp_path), []
    for _ in range(2):
        found = drawn_once(settings, lambda: drawn.append(None) or [1, 2])
    assert (found, len(drawn)) == ([1, 2], 1)
    drawn_once(replace(settings, clip_count=5), lambda: drawn.append(None))
    assert len(drawn) == 2


def test_the_learning_rate_rises_stays_and_falls():
    rates = [learning_rate(step, 1000) for step in (0, 99, 300, 650, 1000)]
    assert rates == pytest.approx([1e-5, 1e-3, 1e-3, 0.51e-3, 0.02e-3], rel=1e-6)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder / "tokenizer.json", SOUND_WORDS)
    torch.manual_seed(0)
    return Models.new(folder)


@torch.no_grad()
@pytest.mark.parametrize("length", [32, COMFYUI_TEXT_TOKENS])
def test_one_register_that_counts_often_is_as_good_as_many(models, length):
    generator = torch.Generator().manual_seed(1)
    tokens = {
        VIDEO: torch.randn(2, 27, 128, generator=generator),
        AUDIO: torch.randn(2, 35, 128, generator=generator),
    }
    levels = {VIDEO: torch.tensor([[0.3], [0.9]]), AUDIO: torch.tensor([[0.8], [0.0]])}
    prompts = ["a red circle moves right on a navy background, a loud low hum", "a ring"]
    folded = models.encode(prompts, torch.full((2,), length))
    found = models.velocities(tokens, levels, folded)
    found = {name: velocity.clone() for name, velocity in found.items()}

    counts = [len(models.tokenizer(prompt).input_ids) for prompt in prompts]
    whole = {
        name: torch.stack(
            [
                torch.cat([row[:count], row[-1:].expand(length - count, -1)])
                for row, count in zip(text, counts, strict=True)
            ]
        )
        for name, text in folded.tensors.items()
    }
    models.registers.bias = None
    mask = torch.ones(2, length, dtype=torch.bool)
    expected = models.velocities(tokens, levels, replace(folded, tensors=whole, mask=mask))
    for name in tokens:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-4)
    alone = models.velocities(
        {name: each[:1] for name, each in tokens.items()},
        {name: each[:1] for name, each in levels.items()},
        replace(folded, tensors={n: t[:1] for n, t in whole.items()}, mask=mask[:1]),
    )
    for name in tokens:
        torch.testing.assert_close(alone[name], expected[name][:1], atol=1e-5, rtol=1e-4)
