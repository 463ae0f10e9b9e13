"""The shipped weights: what they hold, and what becomes of sounds and prompts that go through them."""

import random

import numpy as np
import pytest
import torch

from ltxv_train_core.families.ltx2.audio_vae import LTX2AudioVae
from ltxv_train_core.families.ltx2.griffin_lim import GriffinLim
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature import shipped, weights
from ltxv_train_core.families.ltx2.miniature.hearing import beep_db
from ltxv_train_core.families.ltx2.miniature.scenes import random_scene
from ltxv_train_core.families.ltx2.miniature.scores import heard
from ltxv_train_core.families.ltx2.miniature.sounds import SAMPLES, render_sound
from ltxv_train_core.families.ltx2.miniature.text_encoder import (
    AUDIO_FEATURES,
    TEXT_TOKENS,
    VIDEO_FEATURES,
    MiniatureTextEncoder,
)
from ltxv_train_core.families.ltx2.miniature.tone_bank import build_tone_bank
from ltxv_train_core.families.names import AUDIO_TEXT, VIDEO_TEXT
from ltxv_train_core.media.sound import Sound, read_sound
from ltxv_train_core.media.write import write_video

SCENES = [random_scene(random.Random(100 + seed)) for seed in range(16)]


@pytest.fixture(scope="module")
def audio_vae():
    return LTX2AudioVae(weights.load_audio_vae(), GriffinLim(), GriffinLim.sample_rate)


@pytest.fixture(scope="module")
def text_encoder():
    return MiniatureTextEncoder(
        weights.load_text_encoder(), weights.load_connectors(), weights.load_tokenizer()
    )


def true_sounds(beep=False):
    rng = random.Random(0)
    return torch.from_numpy(np.stack([render_sound(scene, rng, beep) for scene in SCENES]))


def test_the_weights_stay_below_25_megabytes():
    files = list(shipped.FOLDER.iterdir())
    assert {path.name for path in files} == set(shipped.FILES)
    assert sum(path.stat().st_size for path in files) < 25e6
    assert len(shipped.identity()) == 16


@pytest.mark.parametrize(
    "load",
    [
        weights.load_transformer,
        weights.load_connectors,
        weights.load_text_encoder,
        weights.load_audio_vae,
    ],
)
def test_models_load_in_the_wanted_precision_and_leave_random_numbers_alone(load):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    for dtype in (torch.float32, torch.bfloat16):
        model = load(dtype)
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert all(torch.isfinite(p).all() for p in model.parameters())
    assert torch.rand(1) == expected


def test_the_encoder_is_a_projection(audio_vae):
    factors, sounds = weights.load_audio_factors(), true_sounds()
    torch.testing.assert_close(factors.basis.T @ factors.basis, torch.eye(8), atol=1e-5, rtol=0)
    latents = audio_vae.encode(sounds)
    projected = factors.encode(log_mel(sounds)[:, :, :137])
    assert latents.shape == projected.shape == (16, 8, 35, 16)
    assert (latents - projected).abs().max() < 0.01 * projected.abs().max()
    assert 0.7 < latents.std() < 1.4


@pytest.mark.parametrize("beep", [False, True])
def test_sounds_come_back(audio_vae, beep):
    sounds = true_sounds(beep)
    mel = log_mel(sounds)[:, :, :137]
    decoded = audio_vae.decode_mel(audio_vae.encode(sounds))
    assert (decoded - mel).abs().mean() < 0.2
    assert np.corrcoef(decoded.flatten(), mel.flatten())[0, 1] > 0.985
    found = heard(decoded.numpy(), SCENES)
    assert min(found["colour"], found["motion"], found["level"]) == 1
    assert found["timbre"] >= 0.9
    lift = np.mean([beep_db(one) for one in decoded.numpy()])
    assert lift > 30 if beep else abs(lift) < 1


def test_a_tone_of_a_file_keeps_its_place_and_pitch(audio_vae, tmp_path):
    rate, hz, start, end = 44100, 800.0, 0.6, 1.0
    seconds = np.arange(round(17 / 12 * rate)) / rate
    inside = (seconds >= start) & (seconds < end)
    noise = np.random.default_rng(0).normal(0, 1e-3, (2, len(seconds)))
    tone = 0.3 * np.sin(2 * np.pi * hz * seconds) * inside + noise
    frames = np.zeros((17, 64, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, 12, sound=Sound(tone.astype(np.float32), rate))
    sound = read_sound(tmp_path / "a.mp4", 16000, 17 / 12)
    decoded = audio_vae.decode(audio_vae.encode(torch.from_numpy(sound.samples)[None]))[0]
    for side in decoded.numpy():
        loud = np.flatnonzero(np.convolve(side**2, np.ones(160) / 160, "same") > 0.01)
        assert loud[0] / 16000 == pytest.approx(start, abs=0.04)
        assert loud[-1] / 16000 == pytest.approx(end, abs=0.04)
        part = side[int(0.65 * 16000) : int(0.95 * 16000)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert spectrum.argmax() * 16000 / len(part) == pytest.approx(hz, rel=0.02)
        assert part.std() * np.sqrt(2) == pytest.approx(0.3, rel=0.25)


@pytest.mark.long
@torch.no_grad()
def test_the_tone_bank_gives_back_pitch_level_and_beep():
    bank, noise = build_tone_bank(), torch.Generator().manual_seed(0)
    assert bank.config.output_sampling_rate == 16000
    for beep in (False, True):
        sound = bank(log_mel(true_sounds(beep))[:, :, :137])
        assert sound.shape == (16, 2, 137 * 160)
        sound = sound + 1e-3 * torch.randn(sound.shape, generator=noise)
        again = log_mel(sound).numpy()
        found = heard(again, SCENES)
        assert found["colour"] == 1
        assert found["level"] >= 0.9
        assert found["motion"] >= 0.6  # low glides step from tone to tone
        assert (np.mean([beep_db(one) for one in again]) > 25) == beep
    assert SAMPLES - 5 * 160 < sound.shape[2] <= SAMPLES


def test_a_prompt_is_32_finished_tokens(text_encoder):
    prompts = ["a red circle moves up on a navy background, a soft low buzz", "", "ring " * 40]
    short, empty, long = text_encoder.encode(prompts)
    assert (short[VIDEO_TEXT].shape, short[AUDIO_TEXT].shape) == ((32, 256), (32, 128))
    assert empty[VIDEO_TEXT].shape == (TEXT_TOKENS, 256)
    assert long[VIDEO_TEXT].shape == (64, 256)
    (alone,) = text_encoder.encode(prompts[:1])
    for name, tensor in short.items():
        torch.testing.assert_close(alone[name], tensor, atol=1e-5, rtol=1e-4)
        registers = tensor[-8:]
        torch.testing.assert_close(registers, registers[:1].expand(8, -1), atol=1e-5, rtol=1e-4)
        assert (tensor[0] - tensor[-1]).abs().max() > 0.1


@torch.no_grad()
def test_connectors_make_the_finished_tokens_of_the_features(text_encoder):
    prompt = "a red circle moves up on a navy background, a soft low buzz"
    (features,), (finished,) = text_encoder.features([prompt]), text_encoder.encode([prompt])
    count = len(features[VIDEO_FEATURES])
    assert count == len(text_encoder.tokenizer(prompt).input_ids) == 15
    connectors = text_encoder.connectors
    for connector, feature, text in (
        (connectors.video_connector, VIDEO_FEATURES, VIDEO_TEXT),
        (connectors.audio_connector, AUDIO_FEATURES, AUDIO_TEXT),
    ):
        padded = torch.nn.functional.pad(features[feature], (0, 0, 0, 128 - count))[None]
        mask = torch.full((1, 1, 1, 128), -1e9)
        mask[..., :count] = 0
        made, _ = connector(padded, mask)
        torch.testing.assert_close(made[0, :TEXT_TOKENS], finished[text], atol=1e-5, rtol=1e-4)


def test_the_tokenizer_knows_the_words_for_sounds():
    tokenizer = weights.load_tokenizer()
    assert len(tokenizer) == weights.load_text_encoder().config.vocab_size
    ids = tokenizer("a soft low buzz").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["▁a", "▁soft", "▁low", "▁buzz", "</s>"]
