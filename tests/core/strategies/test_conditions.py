"""What is given clean: which tokens, to how many samples, and what the loss makes of it."""

from dataclasses import replace

import pytest
import torch

from ltxv_train_core.config import ConditioningConfig, ignored
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.geometry import LatentSize
from ltxv_train_core.strategies.conditions import AUDIO_CONDITIONS, CONDITIONS, draw_given
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train
from tests.core.strategies.test_strategies import make_batch, prepare
from tests.helpers.draws import OneGenerator
from tests.helpers.video import to_tokens

SIZE = LatentSize(5, 4, 6)
COUNT = 200


@pytest.fixture(scope="module")
def batch() -> Batch:
    plain = make_batch(COUNT, SIZE)
    generator = torch.Generator().manual_seed(8)
    masks = torch.rand(COUNT, *SIZE, generator=generator) < 0.5
    return replace(plain, streams={"video": {**plain.streams["video"], "mask": masks}})


def draw(batch, seed=0, **options):
    config = ConditioningConfig(**{"first_frame_conditioning_p": 0.0} | options)
    return draw_given(batch.streams["video"], config, OneGenerator(seed, len(batch.names)))


def frames(given):
    """The latent frames that are given whole, for each sample: [B, f]."""
    return given.flatten(2).all(dim=2)


def test_each_condition_has_a_probability_and_each_probability_a_condition():
    ends = "_conditioning_p"
    options = [n.removesuffix(ends) for n in ConditioningConfig.model_fields if n.endswith(ends)]
    assert [*CONDITIONS, *AUDIO_CONDITIONS] == options


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_a_probability_is_a_share_of_the_samples(batch, name):
    option = f"{name}_conditioning_p"
    assert not draw(batch, **{option: 0.0}).any()
    assert draw(batch, **{option: 1.0}).flatten(1).any(dim=1).all()
    share = draw(batch, **{option: 0.4}).flatten(1).any(dim=1).float().mean()
    assert share.item() == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_what_is_given_is_clean_at_timestep_0_and_not_in_the_loss(batch, name):
    inputs = prepare(batch, **{f"{name}_conditioning_p": 1.0})
    given = ~inputs.counted
    assert given.any(dim=1).all()
    clean = to_tokens(batch.streams["video"]["latents"])
    assert torch.equal(inputs.seen.tokens[given], clean[given])
    assert (inputs.seen.levels[given] == 0).all()
    assert (inputs.seen.levels[inputs.counted] > 0).all()
    assert not (inputs.seen.tokens == clean)[inputs.counted].all(dim=-1).any()
    prediction = inputs.velocity + 100 * given[..., None]
    assert inputs.loss(prediction) == 0
    assert inputs.loss(inputs.velocity + 2).item() == pytest.approx(4)


def test_a_prefix_and_a_suffix_are_latent_frames_of_either_end(batch):
    assert frames(draw(batch, prefix_conditioning_p=1.0))[0].tolist() == [1, 1, 0, 0, 0]
    longer = draw(batch, prefix_conditioning_p=1.0, prefix_frames=3)
    assert frames(longer)[0].tolist() == [1, 1, 1, 0, 0]
    assert frames(draw(batch, suffix_conditioning_p=1.0))[0].tolist() == [0, 0, 0, 1, 1]
    shorter = draw(batch, suffix_conditioning_p=1.0, suffix_frames=1)
    assert frames(shorter)[0].tolist() == [0, 0, 0, 0, 1]
    assert longer.sum() == COUNT * 3 * SIZE.height * SIZE.width


def test_conditions_are_drawn_apart_and_given_together(batch):
    given = frames(draw(batch, first_frame_conditioning_p=0.5, suffix_conditioning_p=0.5))
    first, last = given[:, 0], given[:, -1]
    shares = [(a & b).float().mean().item() for a in (first, ~first) for b in (last, ~last)]
    assert shares == pytest.approx([0.25] * 4, abs=0.1)


def test_a_sample_with_nothing_left_to_learn_is_given_nothing(batch):
    assert not draw(batch, prefix_conditioning_p=1.0, prefix_frames=5).any()
    assert not draw(batch, suffix_conditioning_p=1.0, suffix_frames=9).any()
    both = {"prefix_conditioning_p": 1.0, "suffix_conditioning_p": 1.0, "prefix_frames": 3}
    assert not draw(batch, **both).any()
    one_token = make_batch(4, LatentSize(3, 1, 1))
    assert not draw(one_token, spatial_crop_conditioning_p=1.0).any()


@pytest.mark.parametrize(("share", "sides"), [(0.25, (2, 3)), (0.5, (3, 4)), (0.01, (1, 1))])
def test_a_crop_is_a_rectangle_of_its_share_at_any_place(batch, share, sides):
    given = draw(batch, spatial_crop_conditioning_p=1.0, spatial_crop_share=share)
    assert (given == given[:, :1]).all()
    picture = given[:, 0]
    rows, columns = picture.any(dim=2), picture.any(dim=1)
    assert (rows.sum(dim=1) == sides[0]).all()
    assert (columns.sum(dim=1) == sides[1]).all()
    assert (picture.flatten(1).sum(dim=1) == sides[0] * sides[1]).all()
    tops, lefts = rows.int().argmax(dim=1), columns.int().argmax(dim=1)
    assert set(tops.tolist()) == set(range(SIZE.height - sides[0] + 1))
    assert set(lefts.tolist()) == set(range(SIZE.width - sides[1] + 1))


def test_what_a_mask_leaves_out_is_given(batch):
    assert torch.equal(draw(batch, mask_conditioning_p=1.0), ~batch.streams["video"]["mask"])


def test_conditions_go_with_a_reference_video(batch):
    inputs = prepare(batch, "reference_video", p=0.0, suffix_conditioning_p=1.0)
    assert inputs.seen.levels.shape == (COUNT, 2 * SIZE.tokens)
    given = ~inputs.counted.unflatten(1, tuple(SIZE))
    assert frames(given)[0].tolist() == [0, 0, 0, 1, 1]
    assert (inputs.seen.levels[:, SIZE.tokens :] == 0).all()


@pytest.mark.parametrize("name", ["prefix", "suffix"])
def test_giving_more_than_any_clip_has_is_refused(training_config, name):
    options = {f"{name}_conditioning_p": 0.1, f"{name}_frames": 3}
    (problem,) = problems(training_config(conditioning=options))
    assert f"conditioning.{name}_frames: 3 " in problem
    assert "latent frames stay clean, and the longest clip of " in problem
    assert " has 3: choose fewer" in problem
    options = {f"{name}_conditioning_p": 0.0, f"{name}_frames": 3}
    config = training_config(conditioning=options)
    assert problems(config) == []
    assert any(line.startswith(f"conditioning.{name}_frames: ") for line in ignored(config))


def test_conditions_train(training_config, mirror_data):
    options = {f"{name}_conditioning_p": 0.5 for name in CONDITIONS if name != "mask"}
    config = training_config(
        mirror_data,
        conditioning={"mode": "reference_video", "prefix_frames": 1} | options,
        optimization={"steps": 1},
    )
    assert train(config).finished


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "reference_video", "reference_latents_dir": "elsewhere"},
        {"mask_conditioning_p": 0.1, "masks_dir": "elsewhere"},
    ],
    ids=["references", "masks"],
)
def test_the_folder_of_what_is_given_can_be_chosen(training_config, mirror_data, options):
    (problem,) = problems(training_config(mirror_data, conditioning=options))
    assert "no folder 'elsewhere'" in problem
