"""How far a run has moved its model from the base, with captions and without a prompt."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ltxv_train_core.datasets.dataset import TrainingDataset, collate
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.events import HeldOutMeasured
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.file import add_trained_lora
from ltxv_train_core.strategies import STRATEGIES
from ltxv_train_core.training.held_out import _SEED, LEVELS, HeldOut, _at
from ltxv_train_core.training.trainer import train
from tests.core.conftest import MINIATURE
from tests.core.training.test_adapters import ADAPTERS, sections
from tests.core.training.test_held_out import holding, run_of

FAST = {"steps": 4, "learning_rate": 1e-2}


def test_it_is_nothing_at_first_and_more_the_longer_it_trains(training_config):
    told: list = []
    measured = run_of(train(holding(training_config, optimization=FAST), told.append)).held_out()
    assert (measured[0].moved, measured[0].moved_without_prompt) == (0.0, 0.0)
    shares = [each.moved for each in measured]
    assert shares == sorted(set(shares))
    assert all(0 < each.moved_without_prompt < 1 for each in measured[1:])
    assert measured[-1].moved != measured[-1].moved_without_prompt
    events = [each.text for each in told if isinstance(each, HeldOutMeasured)]
    assert events[0].startswith("moved with captions: 0 %, without prompt: 0 %; best step 0")


def test_it_is_the_relative_change_of_the_velocities(training_config):
    """Computed anew from the file and the base, at the clip, noise and levels of the measurement."""
    config = holding(training_config, optimization=FAST)
    trained = train(config)
    found = run_of(trained).held_out()[-1]
    held = open_dataset(config).held_out
    for text, expected in ((None, found.moved), (held.empty_text(), found.moved_without_prompt)):
        assert expected == pytest.approx(moved_on(config, held, trained.lora_file, text), rel=1e-3)


def moved_on(config, data, lora_file, embedding=None):
    """How far a LoRA has moved the miniature on the first clip of a data set: with its caption, or with another text."""
    source = open_model(MINIATURE)
    base, tuned = (source.load_transformer(torch.float32).eval() for _ in range(2))
    add_trained_lora(tuned, lora_file)
    return _change(config, data, source, base, tuned, embedding)


def _change(config, held, source, base, tuned, embedding):
    clip, changed, whole = collate([held[0]]), 0.0, 0.0
    text = clip.text if embedding is None else Text.padded([embedding])
    for place in (0, 2, 4):
        both = []
        for transformer in (tuned, base):
            denoiser = source.transformer.denoiser(transformer)
            strategy = STRATEGIES["none"](_at(config, LEVELS[place]), denoiser.streams)
            seen = strategy.prepare(clip, SampleDraws(_SEED, [place])).seen
            with torch.no_grad():
                both.append(denoiser.denoise(seen, text)["video"])
        changed += (both[0] - both[1]).square().sum().item()
        whole += both[1].square().sum().item()
    return changed / whole


@pytest.mark.long
@pytest.mark.parametrize("adapter", ["lora", *ADAPTERS])
def test_every_adapter_can_be_switched_off_and_is_on_again(training_config, adapter):
    options = {} if adapter == "lora" else {"lora": sections(adapter)["lora"]}
    config = holding(
        training_config,
        **options,
        optimization={"steps": 1, "learning_rate": 1e-2, "batch_size": 1},
    )
    first, last = run_of(train(config)).held_out()
    assert first.moved == pytest.approx(0, abs=1e-9)
    assert last.moved > 1e-7


@pytest.mark.long
def test_measuring_changes_nothing_of_the_run(training_config, monkeypatch):
    losses = []
    for measures in (True, False):
        if not measures:
            monkeypatch.setattr(HeldOut, "_moved", lambda *_: None)
        run = run_of(train(holding(training_config, name=f"measures-{measures}")))
        losses.append([each.loss for each in run.metrics()])
        assert (run.held_out()[-1].moved is None) != measures
    assert losses[0] == losses[1]


@pytest.mark.long
def test_full_training_and_data_sets_without_an_empty_caption_have_no_number(
    training_config, stripes_data, tmp_path
):
    full = holding(training_config, model={"model_source": MINIATURE, "training_mode": "full"})
    assert run_of(train(full)).held_out()[-1].moved is None
    own = Path(shutil.copytree(stripes_data, tmp_path / "own"))
    write_index(own / "index.json", replace(read_index(own), empty_caption=None))
    data = {"preprocessed_data_root": str(own)}
    measured = run_of(train(holding(training_config, data=data))).held_out()[-1]
    assert measured.moved > 0
    assert measured.moved_without_prompt is None
    assert TrainingDataset(own).empty_text() is None


@pytest.mark.long
def test_a_resumed_run_measures_as_many_clips_as_before(training_config, stripes_data):
    held = HeldOut(training_config(), TrainingDataset(stripes_data), 4)
    assert len(held.numbers) == 4
    measured = run_of(train(holding(training_config))).held_out()
    held.keep_to(measured)
    assert len(held.numbers) == 2
    held.keep_to([])
    assert len(held.numbers) == 2
