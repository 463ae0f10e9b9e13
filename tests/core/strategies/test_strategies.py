import typing

import pytest
import torch

from ltxv_train_core import config
from ltxv_train_core.config import ConditioningConfig, TrainingConfig
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.geometry import LatentSize
from ltxv_train_core.strategies import STRATEGIES, StepInputs
from tests.helpers.video import positions, to_tokens

SIZE = LatentSize(3, 2, 2)


def make_batch(count=2, size=SIZE):
    generator = torch.Generator().manual_seed(5)
    shape = (count, 128, size.frames, size.height, size.width)
    return Batch(
        streams={
            "video": {
                role: torch.randn(shape, generator=generator) for role in ("latents", "reference")
            }
        },
        fps=torch.tensor([25.0, 12.0] * count)[:count],
        text=Text(
            {"prompt_embeds": torch.zeros(count, 3, 128)}, torch.ones(count, 3, dtype=torch.bool)
        ),
        names=tuple(map(str, range(count))),
    )


def prepare(batch, mode="none", seed=0, causal=True, p=0.0, **conditioning):
    whole = config.build(
        TrainingConfig,
        {
            "data": {"preprocessed_data_root": "x"},
            "conditioning": {"mode": mode, "first_frame_conditioning_p": p} | conditioning,
        },
    )
    strategy = STRATEGIES[mode](whole, {"video": VideoStream(causal)})
    return strategy.prepare(batch, SampleDraws(seed, range(len(batch.names)))).streams["video"]


def test_one_strategy_for_each_mode():
    assert set(STRATEGIES) == set(
        typing.get_args(ConditioningConfig.model_fields["mode"].annotation)
    )


def test_tokens_lie_between_clean_and_noise_and_the_velocity_leads_back():
    batch = make_batch()
    inputs = prepare(batch)
    level = inputs.seen.levels[..., None]
    assert inputs.seen.tokens.shape == (2, 12, 128)
    assert (inputs.seen.levels[:, :1] == inputs.seen.levels).all()
    assert torch.allclose(
        inputs.seen.tokens - level * inputs.velocity,
        to_tokens(batch.streams["video"]["latents"]),
        atol=1e-5,
    )
    assert torch.equal(inputs.seen.positions, positions(SIZE, batch.fps, causal=True))
    assert not torch.equal(inputs.seen.positions, prepare(batch, causal=False).seen.positions)


def test_the_same_seed_draws_the_same_step():
    batch = make_batch()
    assert torch.equal(prepare(batch).seen.tokens, prepare(batch).seen.tokens)
    assert not torch.equal(prepare(batch).seen.tokens, prepare(batch, seed=1).seen.tokens)


def test_the_first_frame_is_given_to_each_sample_by_itself():
    batch = make_batch(200)
    inputs = prepare(batch, p=0.3)
    given = ~inputs.counted
    kept = given.all(dim=1) | given[:, 0]
    assert 0.2 < kept.float().mean() < 0.4
    assert given[kept][:, :4].all()
    assert not given[:, 4:].any()
    clean = to_tokens(batch.streams["video"]["latents"])
    assert torch.equal(inputs.seen.tokens[given], clean[given])
    assert (inputs.seen.levels[given] == 0).all()
    assert (inputs.seen.levels[inputs.counted] > 0).all()


def test_an_image_has_no_first_frame_to_give():
    inputs = prepare(make_batch(8, LatentSize(1, 2, 2)), p=1.0)
    assert inputs.counted.all()


def test_the_loss_counts_only_what_was_noised():
    inputs = prepare(make_batch(), p=1.0)
    prediction = inputs.velocity.clone()
    prediction[:, :4] += 100
    assert inputs.loss(prediction) == 0
    prediction[:, 4:] += 2
    assert inputs.loss(prediction).item() == pytest.approx(4)


def test_a_reference_follows_clean_at_the_samplers_positions():
    batch = make_batch()
    plain, inputs = prepare(batch, causal=False), prepare(batch, "reference_video", causal=False)
    assert inputs.seen.tokens.shape == (2, 24, 128)
    assert torch.equal(inputs.seen.tokens[:, :12], plain.seen.tokens)
    assert torch.equal(inputs.seen.tokens[:, 12:], to_tokens(batch.streams["video"]["reference"]))
    assert (inputs.seen.levels[:, 12:] == 0).all()
    assert torch.equal(inputs.seen.positions[..., :12], plain.seen.positions)
    assert torch.equal(inputs.seen.positions[..., 12:], positions(SIZE, batch.fps, causal=True))
    prediction = torch.cat([inputs.velocity, torch.full((2, 12, 128), 9.0)], dim=1)
    assert inputs.loss(prediction) == 0


def test_noise_levels_follow_the_flow_matching_section():
    whole = config.build(
        TrainingConfig,
        {
            "data": {"preprocessed_data_root": "x"},
            "flow_matching": {
                "timestep_sampling_mode": "uniform",
                "timestep_sampling_params": {"min": 0.2, "max": 0.3},
            },
        },
    )
    strategy = STRATEGIES["none"](whole, {"video": VideoStream(True)})
    inputs = strategy.prepare(make_batch(50), SampleDraws(0, range(50))).streams["video"]
    levels = inputs.seen.levels[inputs.counted]
    assert 0.2 <= levels.min() < 0.22
    assert 0.28 < levels.max() <= 0.3


def test_the_loss_of_a_step_is_the_sum_of_its_streams():
    step = prepare(make_batch())
    both = StepInputs({"video": step, "audio": step})
    assert both.loss({"video": step.velocity + 2, "audio": step.velocity + 1}).item() == (
        pytest.approx(5)
    )
