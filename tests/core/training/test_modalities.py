"""What a run on video and sound learns, by `conditioning.modalities`: both, one alone, or one for the other."""

import math
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.datasets.index import read_index, write_index
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltxv.miniature.shipped import MINIATURE as SILENT
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.media.sound import Sound, read_sound_file
from ltxv_train_core.media.write import write_video
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.strategies import STRATEGIES, StepInputs
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train
from ltxv_train_core.training.validation import Validator
from tests.core.training.test_joint_run import clips, configured, root

__all__ = ["clips", "root"]

PROMPT = "a red circle moves up on a blue background, a loud low hum"
GIVEN = {"audio_to_video": AUDIO, "video_to_audio": VIDEO}
LAST = "diffusion_model.transformer_blocks.3."


@pytest.fixture(scope="module")
def denoiser():
    model = open_model(MINIATURE)
    return model.transformer.denoiser(model.load_transformer(torch.float32))


def modal(root: Path, folder: Path, modalities: str, **sections) -> TrainingConfig:
    return configured(root, folder, conditioning={"modalities": modalities}, **sections)


def prepared(root: Path, denoiser, modalities: str) -> tuple[StepInputs, Batch]:
    config = modal(root, root, modalities)
    strategy = STRATEGIES["none"](config, denoiser.streams)
    batch = next(batches(open_dataset(config), 2, seed=1))
    return strategy.prepare(batch, SampleDraws(0, batch.numbers)), batch


@pytest.mark.parametrize("modalities", list(GIVEN))
def test_one_stream_is_clean_and_not_learned(root: Path, denoiser, modalities: str) -> None:
    inputs, batch = prepared(root, denoiser, modalities)
    given = GIVEN[modalities]
    learned = ({VIDEO, AUDIO} - {given}).pop()
    assert set(inputs.streams) == {learned}
    assert set(inputs.seen) == {VIDEO, AUDIO}
    stream = denoiser.streams[given]
    torch.testing.assert_close(
        inputs.seen[given].tokens,
        stream.to_tokens(batch.streams[given]["latents"]).float(),
        rtol=0,
        atol=0,
    )
    assert inputs.seen[given].levels.abs().max() == 0
    assert inputs.seen[learned].levels.min() > 0
    answers = {name: torch.zeros_like(step.velocity) for name, step in inputs.streams.items()}
    expected = inputs.streams[learned].velocity.square().mean()
    assert inputs.loss(answers).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("modalities", list(GIVEN))
def test_the_clean_stream_is_followed_and_its_level_counts(
    root: Path, denoiser, modalities: str
) -> None:
    """What is learned depends on the given one's content, and on its level through the gates."""
    inputs, batch = prepared(root, denoiser, modalities)
    given = GIVEN[modalities]
    (learned,) = inputs.streams
    text = batch.text

    def answer(**changes) -> torch.Tensor:
        seen = {**inputs.seen, given: replace(inputs.seen[given], **changes)}
        with torch.no_grad():
            return denoiser.denoise(seen, text)[learned]

    whole = answer()
    assert (answer(tokens=inputs.seen[given].tokens.flip(0)) - whole).abs().max() > 1e-2
    assert (answer(levels=inputs.seen[given].levels + 0.5) - whole).abs().max() > 1e-2


@pytest.mark.parametrize("modalities", [VIDEO, AUDIO])
def test_one_modality_alone_is_seen(root: Path, denoiser, modalities: str) -> None:
    inputs, batch = prepared(root, denoiser, modalities)
    assert set(inputs.seen) == set(batch.streams) == {modalities}
    with torch.no_grad():
        found = denoiser.denoise(inputs.seen, batch.text)
        both, _ = prepared(root, denoiser, "joint")
        together = denoiser.denoise(both.seen, batch.text)
    assert set(found) == {modalities}
    assert found[modalities].shape == together[modalities].shape
    assert math.isfinite(inputs.loss(found).item())


def test_samples_of_a_batch_do_not_touch_one_another(root: Path, denoiser) -> None:
    inputs, batch = prepared(root, denoiser, AUDIO)
    with torch.no_grad():
        both = denoiser.denoise(inputs.seen, batch.text)[AUDIO]
        first = {name: seen.first(1) for name, seen in inputs.seen.items()}
        alone = denoiser.denoise(first, batch.text.first(1))[AUDIO]
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("modalities", "moved", "unmoved"),
    [
        ("audio", ["audio_attn1.to_q"], ["attn1.to_q", "audio_to_video_attn.to_q", "attn2.to_k"]),
        ("video", ["attn1.to_q"], ["audio_attn1.to_q", "video_to_audio_attn.to_q"]),
        (
            "audio_to_video",
            ["attn1.to_q", "audio_to_video_attn.to_k"],
            ["video_to_audio_attn.to_q"],
        ),
        ("video_to_audio", ["audio_attn1.to_q", "video_to_audio_attn.to_k"], []),
    ],
)
def test_layers_that_the_loss_reaches_are_trained(
    root: Path, tmp_path: Path, modalities: str, moved: list[str], unmoved: list[str]
) -> None:
    result = train(modal(root, tmp_path, modalities, optimization={"steps": 1}))
    weights = load_file(result.lora_file)
    for name in moved:
        assert weights[f"{LAST}{name}.lora_B.weight"].abs().max() > 0, name
    for name in unmoved:
        assert weights[f"{LAST}{name}.lora_B.weight"].abs().max() == 0, name
    (told,) = RunFolder(result.run_folder).metrics()
    assert math.isnan(told.video_loss)
    assert told.audio_loss_by_noise == ()
    bands = [each for each in told.loss_by_noise if not math.isnan(each)]
    assert min(bands) <= told.loss <= max(bands)


@pytest.mark.parametrize(("seen", "other"), [("audio", "video"), ("video", "audio")])
def test_a_lora_of_layers_that_do_not_run_is_refused(
    root: Path, tmp_path: Path, seen: str, other: str
) -> None:
    for preset, is_idle in ((other, True), ("cross-modal", True), (seen, False)):
        found = problems(modal(root, tmp_path, seen, lora={"target_modules": [preset]}))
        assert is_idle == any("lora.target_modules: none of these layers runs" in f for f in found)
    assert not problems(
        modal(root, tmp_path, f"{seen}_to_{other}", lora={"target_modules": [seen]})
    )


@pytest.mark.parametrize(
    ("modalities", "weights"),
    [
        ("audio", {"audio_loss_weight": 0.0}),
        ("video_to_audio", {"audio_loss_weight": 0.0}),
        ("audio_to_video", {"video_loss_weight": 0.0}),
        ("joint", {"video_loss_weight": 0.0, "audio_loss_weight": 0.0}),
    ],
)
def test_a_run_without_any_loss_is_refused(
    root: Path, tmp_path: Path, modalities: str, weights: dict
) -> None:
    with pytest.raises(ConfigurationError, match=r"flow_matching\..*loss_weight 0: nothing else"):
        modal(root, tmp_path, modalities, flow_matching=weights)
    kept = {name: 1.0 for name in list(weights)[:1]}
    modal(root, tmp_path, modalities, flow_matching=weights | kept)


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_clips_without_sound_move_nothing_of_a_lora_for_the_sound(
    root: Path, tmp_path: Path, precision: str
) -> None:
    """Videos alone stand beside clips with sound; the weights wait for the next ones."""
    import shutil

    mixed = Path(shutil.copytree(root, tmp_path / "mixed"))
    index = read_index(mixed)
    first, *others = index.items
    alone = replace(first, streams={VIDEO: first.streams[VIDEO]})
    write_index(mixed / "index.json", replace(index, items=(alone, *others)))
    config = modal(
        mixed,
        tmp_path,
        "joint",
        lora={"target_modules": ["audio_attn1.to_q"]},
        optimization={"steps": len(index.items), "batch_size": 1},
        acceleration={"mixed_precision_mode": precision},
    )
    result = train(config)
    norms = [each.grad_norm for each in RunFolder(result.run_folder).metrics()]
    assert sum(norm == 0 for norm in norms) == 1, norms
    assert result.finished


def test_a_run_of_one_modality_holds_clips_out(root: Path, tmp_path: Path) -> None:
    trained = train(
        modal(root, tmp_path, "audio", data={"held_out_clips": 1}, optimization={"steps": 1})
    )
    first, *_ = RunFolder(trained.run_folder).held_out()
    assert first.streams == {}
    assert all(math.isfinite(loss) for row in first.clips for loss in row)


def test_a_set_of_videos_alone_is_named(root: Path, tmp_path: Path) -> None:
    import shutil

    silent = Path(shutil.copytree(root, tmp_path / "silent"))
    index = read_index(silent)
    first = replace(index.items[0], streams={VIDEO: index.items[0].streams[VIDEO]})
    write_index(silent / "index.json", replace(index, items=(first, *index.items[1:])))
    for modalities in ("audio", "audio_to_video", "video_to_audio"):
        (problem,) = problems(modal(silent, tmp_path, modalities))
        assert "1 of its 4 clips have no audio, the first is" in problem
        assert "conditioning.modalities" in problem
    assert problems(modal(silent, tmp_path, "video")) == []


def sampled(root: Path, tmp_path: Path, modalities: str, **options):
    validation = {
        "prompts": [PROMPT],
        "video_dims": [96, 96, 17],
        "frame_rate": 12.0,
        "inference_steps": 2,
        **options,
    }
    config = modal(root, tmp_path, modalities, validation=validation)
    return Validator.prepare(config, open_model(MINIATURE), torch.device("cpu"))


def clip_of(tmp_path: Path) -> Path:
    """A second of a square wave, and a picture that gets brighter."""
    frames = np.repeat(np.linspace(0, 250, 17).astype(np.uint8), 96 * 96 * 3).reshape(17, 96, 96, 3)
    wave = np.sign(np.sin(np.arange(round(17 / 12 * 16000)) / 16000 * 2 * np.pi * 440)) * 0.3
    sound = Sound(np.stack([wave, wave]).astype(np.float32), 16000)
    write_video(tmp_path / "clip.mp4", frames, 12.0, sound=sound)
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize(
    ("modalities", "option"), [("audio_to_video", "audios"), ("video_to_audio", "videos")]
)
def test_samples_keep_what_they_are_given(
    root: Path, tmp_path: Path, denoiser, modalities: str, option: str
) -> None:
    clip = clip_of(tmp_path)
    validator = sampled(root, tmp_path, modalities, **{option: [str(clip)]})
    (latents,) = validator.latents(denoiser, lambda _: None, None)
    given = validator.requests[0].given[GIVEN[modalities]]
    assert given.where.all()
    assert torch.equal(latents[GIVEN[modalities]][0], given.latents)
    other = ({VIDEO, AUDIO} - {GIVEN[modalities]}).pop()
    without = sampled(root, tmp_path, "joint")
    (free,) = without.latents(denoiser, lambda _: None, None)
    assert (latents[other] - free[other]).abs().max() > 0.1


def test_samples_of_sounds_alone_show_their_picture(root: Path, tmp_path: Path, denoiser) -> None:
    validator = sampled(root, tmp_path, AUDIO)
    written = validator.run(denoiser, 1, tmp_path / "samples", lambda _: None, None, {})
    with av.open(str(written.videos[0])) as container:
        assert container.streams.video[0].frames == 17
        assert len(container.streams.audio) == 1
    (latents,) = validator.latents(denoiser, lambda _: None, None)
    assert set(latents) == {AUDIO}


@pytest.mark.parametrize(
    ("modalities", "validation", "said"),
    [
        (
            "audio_to_video",
            {},
            "validation.audios: conditioning.modalities audio_to_video needs one",
        ),
        (
            "video_to_audio",
            {},
            "validation.videos: conditioning.modalities video_to_audio needs one",
        ),
        ("audio", {"audios": ["a.wav"]}, "validation.audios would be ignored"),
        ("video", {"audios": ["a.wav"]}, "validation.audios would be ignored"),
        (
            "audio_to_video",
            {"audios": ["a.wav"], "videos": ["b.mp4"]},
            "validation.videos would be",
        ),
        ("audio", {"images": ["a.png"]}, "validation.images would be ignored"),
        ("joint", {"audios": ["a.wav", "b.wav"]}, "audios has 2 entries and prompts has 1"),
        ("joint", {"images": ["a.png"], "videos": ["b.mp4"]}, "leave out images"),
    ],
)
def test_media_that_samples_lack_or_would_not_use_are_named(
    root: Path, tmp_path: Path, modalities: str, validation: dict, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        modal(root, tmp_path, modalities, validation={"prompts": [PROMPT], **validation})


def test_files_without_sound_and_models_without_it_are_named(root: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    write_video(silent, np.zeros((17, 96, 96, 3), np.uint8), 12.0)
    options = {"prompts": [PROMPT], "video_dims": [96, 96, 17], "frame_rate": 12.0}
    config = configured(root, tmp_path, validation={**options, "audios": [str(silent)]})
    (problem,) = problems(config)
    assert "validation.audios" in problem
    assert "holds no sound" in problem
    config = configured(
        root,
        tmp_path,
        model={"model_source": SILENT},
        validation={**options, "audios": [str(clip_of(tmp_path))]},
    )
    assert any("validation.audios: LTX-Video has no sound" in each for each in problems(config))
    with pytest.raises(LTXVTrainError, match="LTX-Video has no sound"):
        train(config)


def test_each_prompt_has_its_own_first_frame_and_references(root: Path, tmp_path: Path) -> None:
    clip = str(clip_of(tmp_path))
    other = tmp_path / "other.mp4"
    tone = np.sin(np.arange(round(17 / 12 * 16000)) / 16000 * 2 * np.pi * 900).astype(np.float32)
    frames = np.full((17, 96, 96, 3), (200, 30, 30), np.uint8)
    write_video(other, frames, 12.0, sound=Sound(np.stack([tone, tone]) * 0.2, 16000))
    both, reversed_ = [clip, str(other)], [str(other), clip]
    config = configured(
        root,
        tmp_path,
        conditioning={"mode": "reference_video_audio"},
        validation={
            "prompts": [PROMPT, "a blue ring"],
            "images": both,
            "reference_videos": reversed_,
            "reference_audios": both,
            "video_dims": [96, 96, 17],
            "frame_rate": 12.0,
        },
    )
    model = open_model(MINIATURE)
    prepared = Validator.prepare(config, model, torch.device("cpu"))
    first, second = prepared.requests
    assert first.given[VIDEO].where[0].all()
    assert not first.given[VIDEO].where[1:].any()
    for here, there in ((first, second), (second, first)):
        # A still's latent is the first one of its clip's, whose reference the other prompt has.
        torch.testing.assert_close(
            here.given[VIDEO].latents[:, 0], there.references[VIDEO][:, 0], rtol=0, atol=1e-4
        )
        assert (here.references[AUDIO] - there.references[AUDIO]).abs().max() > 0.1
    assert first.references[AUDIO].shape == (8, 35, 16)
    sound = torch.from_numpy(read_sound_file(Path(clip), 16000, 17 / 12).samples)[None]
    expected = model.load_audio_vae().encode(sound)[0]
    torch.testing.assert_close(first.references[AUDIO], expected, rtol=0, atol=1e-5)
