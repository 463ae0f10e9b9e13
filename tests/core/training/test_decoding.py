"""Samples are decoded one at a time, with the memory that there is. The device is a model of one."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.events import NeverStop, ignore
from ltxv_train_core.families.open import open_model
from ltxv_train_core.training import decoding
from ltxv_train_core.training.decoding import SoundDecoder, VideoDecoder
from ltxv_train_core.training.validation import SampleError, Validator
from tests.helpers.accelerator import Accelerator

CPU = torch.device("cpu")
LATENTS = torch.randn(128, 6, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("total_bytes", "ways"),
    [
        (10**12, []),
        pytest.param(75_000_000, ["in tiles"], marks=pytest.mark.long),
        (4_000_000, ["in tiles", "in tiles on the CPU"]),
    ],
)
def test_a_video_that_does_not_fit_is_decoded_in_tiles_and_then_on_the_cpu(
    monkeypatch, total_bytes, ways
):
    monkeypatch.setattr(decoding, "TILE_PX", 128)
    monkeypatch.setattr(decoding, "TILE_FRAMES", 32)
    source = open_model("LTXV_MINIATURE")
    whole, said = VideoDecoder(source, CPU).decode(LATENTS), []
    with Accelerator(total_bytes) as accelerator:
        decoder = VideoDecoder(source, accelerator.device, said.append)
        video = decoder.decode(LATENTS)
        told = [event.message.rpartition("It is decoded ")[2] for event in said]
        assert told == ways
        assert np.array_equal(decoder.decode(LATENTS), video)
        assert len(said) == len(ways), "the next one begins with what was possible"
        assert accelerator.live_bytes == 0
    assert video.shape == whole.shape == (41, 192, 192, 3)
    difference = np.abs(video.astype(float) - whole)
    assert difference.mean() == 0 if not ways else 0 < difference.mean() < 6


def test_a_sound_that_does_not_fit_is_decoded_on_the_cpu():
    source = open_model("LTX2_MINIATURE")
    latents = torch.randn(8, 13, 16, generator=torch.Generator().manual_seed(0))
    expected = SoundDecoder(source, CPU, 0.5).decode(latents)
    with Accelerator(total_bytes=1000) as accelerator:
        found = SoundDecoder(source, accelerator.device, 0.5).decode(latents)
    assert np.array_equal(found.samples, expected.samples)


def test_what_was_sampled_is_kept_where_it_can_not_be_decoded(
    training_config, tmp_path, monkeypatch
):
    source = open_model("LTXV_MINIATURE")
    denoiser = source.transformer.denoiser(source.load_transformer(torch.float32))
    samples = {"prompts": ["a ring", "a circle"], "video_dims": [64, 64, 9], "inference_steps": 1}
    validator = Validator.prepare(training_config(validation=samples), source, CPU)
    decode, calls = VideoDecoder.decode, []

    def second_fails(self, latents):
        calls.append(latents)
        if len(calls) == 2:
            raise ValueError("no room")
        return decode(self, latents)

    monkeypatch.setattr(VideoDecoder, "decode", second_fails)
    with pytest.raises(SampleError, match=r"no room. The latents are in .*001\.safetensors"):
        validator.run(denoiser, 1, tmp_path, ignore, NeverStop(), {})
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["000.mp4", "001.safetensors"]
    assert torch.equal(load_file(tmp_path / "001.safetensors")["video"][0], calls[1])
