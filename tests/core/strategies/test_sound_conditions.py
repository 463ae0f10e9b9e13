"""Which parts of a sound are given clean, and that a video's conditions leave it alone."""

import pytest
import torch

from ltxv_train_core.config import ConditioningConfig, TrainingConfig, build, ignored
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.ltx2.streams import AudioStream, VideoStream
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.strategies import STRATEGIES, StepInputs

COUNT, LATENTS = 200, 30
STREAMS = {VIDEO: VideoStream(), AUDIO: AudioStream()}


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(4)
    mask = torch.rand(COUNT, LATENTS, 1, generator=generator) < 0.5
    return Batch(
        streams={
            VIDEO: {"latents": torch.randn(COUNT, 128, 3, 2, 2, generator=generator)},
            AUDIO: {
                "latents": torch.randn(COUNT, 8, LATENTS, 16, generator=generator),
                "mask": mask.expand(-1, -1, 16),
            },
        },
        fps=torch.full((COUNT,), 12.0),
        text=Text({"video_text": torch.zeros(COUNT, 1, 4)}, torch.ones(COUNT, 1, dtype=torch.bool)),
        names=tuple(map(str, range(COUNT))),
    )


def prepare(batch: Batch, **conditioning) -> StepInputs:
    values = {"first_frame_conditioning_p": 0.0, **conditioning}
    config = build(
        TrainingConfig, {"data": {"preprocessed_data_root": "x"}, "conditioning": values}
    )
    return STRATEGIES["none"](config, STREAMS).prepare(batch, SampleDraws(0, range(COUNT)))


def expected(batch: Batch, name: str) -> torch.Tensor:
    given = torch.zeros(COUNT, LATENTS, dtype=torch.bool)
    if name == "audio_prefix":
        given[:, :7] = True
    elif name == "audio_suffix":
        given[:, -7:] = True
    else:
        given = ~batch.streams[AUDIO]["mask"][..., 0]
    return given


LENGTHS = {"audio_prefix_latents": 7, "audio_suffix_latents": 7}


@pytest.mark.parametrize("name", ["audio_prefix", "audio_suffix", "audio_mask"])
def test_a_part_of_the_sound_is_clean_and_not_in_the_loss(batch: Batch, name: str) -> None:
    inputs = prepare(batch, **{f"{name}_conditioning_p": 1.0}, **LENGTHS)
    sound, video = inputs.streams[AUDIO], inputs.streams[VIDEO]
    given = expected(batch, name)
    assert torch.equal(~sound.counted, given)
    clean = STREAMS[AUDIO].to_tokens(batch.streams[AUDIO]["latents"])
    assert torch.equal(sound.seen.tokens[given], clean[given])
    assert sound.seen.levels[given].abs().max() == 0
    assert sound.seen.levels[~given].min() > 0
    assert video.counted.all()
    worse = torch.where(given[..., None], 1e6, sound.velocity)
    assert sound.loss(worse).item() == 0


@pytest.mark.parametrize("name", ["audio_prefix", "audio_suffix", "audio_mask"])
def test_a_probability_is_a_share_of_the_samples(batch: Batch, name: str) -> None:
    inputs = prepare(batch, **{f"{name}_conditioning_p": 0.3}, **LENGTHS)
    share = (~inputs.streams[AUDIO].counted).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("name", ["first_frame", "prefix", "suffix", "spatial_crop"])
def test_conditions_of_the_video_leave_the_sound_alone(batch: Batch, name: str) -> None:
    inputs = prepare(batch, **{f"{name}_conditioning_p": 1.0})
    assert inputs.streams[AUDIO].counted.all()
    assert not inputs.streams[VIDEO].counted.all(1).any()


def test_a_video_s_numbers_do_not_change_with_conditions_of_the_sound(batch: Batch) -> None:
    plain = prepare(batch, prefix_conditioning_p=0.5, prefix_frames=1)
    other = prepare(
        batch, prefix_conditioning_p=0.5, prefix_frames=1, audio_prefix_conditioning_p=0.5
    )
    assert torch.equal(plain.streams[VIDEO].seen.tokens, other.streams[VIDEO].seen.tokens)
    assert torch.equal(plain.streams[AUDIO].velocity, other.streams[AUDIO].velocity)


def test_a_sound_is_never_given_as_a_whole(batch: Batch) -> None:
    sides = {"audio_prefix_latents": 20, "audio_suffix_latents": 20}
    both = {"audio_prefix_conditioning_p": 1.0, "audio_suffix_conditioning_p": 1.0}
    assert prepare(batch, **both, **sides).streams[AUDIO].counted.all()
    config = ConditioningConfig(audio_prefix_conditioning_p=0.1, audio_prefix_latents=30)
    (problem,) = config.whole_sound_problems(30, "data")
    assert "audio_prefix_latents: 30 latents stay clean" in problem
    assert config.whole_sound_problems(31, "data") == []


def test_options_that_nothing_reads_are_told() -> None:
    def told(**conditioning) -> list[str]:
        values = {"data": {"preprocessed_data_root": "x"}, "conditioning": conditioning}
        return ignored(build(TrainingConfig, values))

    (line,) = told(audio_prefix_latents=8)
    assert line.startswith("conditioning.audio_prefix_latents: is not used")
    (line,) = told(modalities="audio", prefix_conditioning_p=0.5)
    assert (
        line
        == "conditioning.prefix_conditioning_p: is not used, because conditioning.modalities is audio"
    )
    (line,) = told(modalities="audio_to_video", audio_mask_conditioning_p=0.5)
    assert line.startswith("conditioning.audio_mask_conditioning_p: is not used")
