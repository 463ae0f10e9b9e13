"""Reference sounds, masks of sounds and smaller reference videos: from metadata to a LoRA, and to ltx-trainer's
folders and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.cached_tensors import stream_forms
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltx2.streams import VideoStream
from ltxv_train_core.families.ltxv.miniature.shipped import MINIATURE as SILENT
from ltxv_train_core.families.open import open_model
from ltxv_train_core.geometry import ReferenceScale, VideoSize
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.media.sound import Sound, read_sound_file
from ltxv_train_core.media.tensors import frames_to_tensor
from ltxv_train_core.media.video import read_frames
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.storage.safetensors_header import TensorInfo, read_header
from ltxv_train_core.strategies import STRATEGIES
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train
from tests.core.training.test_joint_run import configured

SIZE = "96x96x17"
MASK = "0.5-0.8"
BOTH = "reference_video_audio"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory) -> Path:
    """Four clips; each follows picture and sound of the next one, and a part of its sound is masked."""
    path = generate("plain", tmp_path_factory.mktemp("clips"), clips=4).metadata
    rows = json.loads(path.read_text())
    names = [row["media_path"] for row in rows]
    for row, other in zip(rows, [*names[1:], names[0]], strict=True):
        row |= {"reference_path": other, "reference_audio": other, "audio_mask": MASK}
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def root(metadata: Path) -> Path:
    settings = PreprocessSettings(metadata, MINIATURE, SIZE, reference_downscale_factor=3)
    return preprocess(settings).root


def test_a_reference_sound_is_that_of_its_file(metadata: Path, root: Path) -> None:
    items = {item.name: item for item in read_index(root).items}
    first = items["videos/000.mp4"]
    found = load_file(root / first.streams["audio"]["reference"].path)["latents"]
    sound = read_sound_file(metadata.parent / "videos/001.mp4", 16000, 17 / 12)
    vae = open_model(MINIATURE).load_audio_vae()
    expected = vae.encode(torch.from_numpy(sound.samples)[None])[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    own = load_file(root / first.streams["audio"]["latents"].path)["latents"]
    assert (found - own).abs().max() > 0.1


def test_a_mask_of_a_sound_marks_latents_that_reach_into_it(root: Path) -> None:
    """Latent i covers from 40 i - 30 to 40 i + 10 ms."""
    item = read_index(root).items[0]
    mask = load_file(root / item.streams["audio"]["mask"].path)["mask"]
    assert mask.shape == (35, 16)
    assert (mask == mask[:, :1]).all()
    marked = [i for i in range(35) if 40 * i + 10 > 500 and max(0, 40 * i - 30) < 800]
    assert mask[:, 0].nonzero().flatten().tolist() == marked == list(range(13, 21))


def test_a_reference_video_is_smaller(metadata: Path, root: Path) -> None:
    item = read_index(root).items[0]
    found = load_file(root / item.streams["video"]["reference"].path)["latents"]
    assert found.shape == (128, 3, 1, 1)
    frames = read_frames(metadata.parent / "videos/001.mp4", VideoSize(32, 32, 17))
    vae = open_model(MINIATURE).load_vae()
    torch.testing.assert_close(found, vae.encode(frames_to_tensor(frames))[0], rtol=0, atol=1e-3)


@pytest.mark.long
def test_every_so_manyth_frame_of_a_reference(metadata: Path, tmp_path: Path) -> None:
    settings = PreprocessSettings(
        metadata, MINIATURE, SIZE, reference_temporal_scale_factor=2, output_dir=tmp_path
    )
    root = preprocess(settings).root
    item = read_index(root).items[0]
    found = load_file(root / item.streams["video"]["reference"].path)["latents"]
    assert found.shape == (128, 2, 3, 3)
    frames = read_frames(metadata.parent / "videos/001.mp4", VideoSize(96, 96, 17))[::2]
    expected = open_model(MINIATURE).load_vae().encode(frames_to_tensor(frames))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def conditioned(root: Path, folder: Path, conditioning: dict, **sections):
    steps = {"steps": 2, "batch_size": 2}
    return configured(root, folder, conditioning=conditioning, optimization=steps, **sections)


@pytest.mark.parametrize("mode", ["reference_video", "reference_audio", BOTH])
def test_the_model_sees_the_references_that_the_mode_names(
    root: Path, tmp_path: Path, mode: str
) -> None:
    config = conditioned(root, tmp_path, {"mode": mode, "first_frame_conditioning_p": 0.0})
    model = open_model(MINIATURE)
    denoiser = model.transformer.denoiser(model.load_transformer(torch.float32))
    strategy = STRATEGIES[mode](config, denoiser.streams)
    batch = next(batches(open_dataset(config), 2, seed=1))
    inputs = strategy.prepare(batch, SampleDraws(0, batch.numbers))
    counts = {name: step.seen.reference_tokens for name, step in inputs.streams.items()}
    assert counts == {
        "video": 3 if "video" in mode else 0,
        "audio": 35 if "audio" in mode else 0,
    }
    for step in inputs.streams.values():
        if own := step.seen.reference_tokens:
            assert step.seen.levels[:, -own:].abs().max() == 0
            assert step.velocity.shape[1] + own == step.seen.tokens.shape[1]
    with torch.no_grad():
        found = denoiser.denoise(inputs.seen, batch.text)
        for name, step in inputs.streams.items():
            assert found[name].shape == step.velocity.shape
        alone = {name: seen.first(1) for name, seen in inputs.seen.items()}
        one = denoiser.denoise(alone, batch.text.first(1))
    for name in found:
        torch.testing.assert_close(one[name], found[name][:1], rtol=0, atol=1e-5)


@pytest.mark.long
def test_a_lora_says_how_its_references_are_made(root: Path, tmp_path: Path) -> None:
    trained = train(conditioned(root, tmp_path, {"mode": BOTH, "audio_mask_conditioning_p": 0.5}))
    told = read_header(trained.lora_file).metadata
    assert told["reference_downscale_factor"] == told["reference_spatial_scale_factor"] == "3"
    assert "reference_temporal_scale_factor" not in told
    assert told["strategy"] == BOTH
    assert told["modelspec.description"].startswith("IC-LoRA")


@pytest.mark.long
def test_samples_follow_references_of_the_data_set_s_scale(
    metadata: Path, root: Path, tmp_path: Path
) -> None:
    clip = str(metadata.parent / "videos/000.mp4")
    validation = {
        "prompts": ["a red circle on a blue background"],
        "reference_videos": [clip],
        "reference_audios": [clip],
        "images": [clip],
        "video_dims": [96, 96, 17],
        "frame_rate": 12.0,
        "inference_steps": 1,
        "interval": 1,
        "skip_initial_validation": True,
    }
    config = conditioned(root, tmp_path, {"mode": BOTH}, validation=validation)
    events: list = []
    train(config, events.append)
    assert [e for e in events if "Could not sample" in str(e)] == []
    assert len(list(Path(tmp_path).rglob("000.mp4"))) >= 1
    wrong = conditioned(
        root, tmp_path, {"mode": BOTH}, validation=validation | {"video_dims": [64, 96, 17]}
    )
    (problem,) = problems(wrong)
    assert "references are 3 times smaller" in problem
    assert "multiples of 96" in problem


@pytest.mark.parametrize(
    ("conditioning", "said"),
    [
        ({"mode": "reference_audio", "modalities": "video"}, "learns none"),
        ({"mode": BOTH, "modalities": "audio_to_video"}, "learns none"),
        ({"mode": "reference_video", "modalities": "video_to_audio"}, "learns none"),
    ],
)
def test_references_of_what_is_not_learned_are_refused(
    root: Path, tmp_path: Path, conditioning: dict, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        conditioned(root, tmp_path, conditioning)


def test_what_a_data_set_lacks_is_named(metadata: Path, tmp_path: Path) -> None:
    rows = json.loads(metadata.read_text())
    for row in rows[1:]:
        row.pop("reference_audio")
        row.pop("audio_mask")
    other = metadata.parent / "fewer.json"
    other.write_text(json.dumps(rows))
    root = preprocess(PreprocessSettings(other, MINIATURE, SIZE, output_dir=tmp_path)).root
    for conditioning, role, column in (
        ({"mode": "reference_audio"}, "reference", "reference_audio"),
        ({"audio_mask_conditioning_p": 0.5}, "mask", "audio_mask"),
    ):
        (problem,) = problems(conditioned(root, tmp_path, conditioning))
        assert f"3 of its 4 clips have no {role} of their sound" in problem
        assert f"a column {column}" in problem


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"audio_mask": "0.8-0.5"}, "expected seconds from and to, for example 0.5-1.2"),
        ({"audio_mask": "now"}, "audio mask 'now': expected seconds"),
        ({"reference_audio": "nowhere.wav"}, "nowhere.wav"),
    ],
)
def test_what_a_row_says_of_its_sound_is_read_or_named(
    metadata: Path, tmp_path: Path, given: dict, said: str
) -> None:
    rows = json.loads(metadata.read_text())
    rows[0] |= given
    other = metadata.parent / "wrong.json"
    other.write_text(json.dumps(rows))
    assert said in read_manifest(other).clips[0].audio_problem
    summary = preprocess(PreprocessSettings(other, MINIATURE, SIZE, output_dir=tmp_path))
    assert [name for name, reason in summary.skipped if said in reason] == ["videos/000.mp4"]


def test_a_model_without_sound_takes_whole_references_alone(metadata: Path, tmp_path: Path) -> None:
    settings = PreprocessSettings(
        metadata, SILENT, SIZE, reference_downscale_factor=3, output_dir=tmp_path
    )
    with pytest.raises(DataError, match="references of LTX-Video have their clip's size"):
        preprocess(settings)
    settings = PreprocessSettings(
        metadata, MINIATURE, SIZE, reference_downscale_factor=2, output_dir=tmp_path
    )
    with pytest.raises(DataError, match=r"choose buckets of multiples of 64"):
        preprocess(settings)


@pytest.mark.parametrize(
    ("target", "reference", "scale"),
    [
        ((3, 6, 4), (3, 6, 4), (1, 1)),
        ((3, 6, 4), (3, 3, 2), (2, 1)),
        ((5, 6, 4), (3, 6, 4), (1, 2)),
        ((5, 6, 4), (2, 3, 2), (2, 4)),
        ((3, 6, 4), (3, 3, 4), None),
        ((3, 6, 4), (1, 6, 4), None),
        ((1, 6, 4), (1, 3, 2), (2, 1)),
        ((3, 6, 4), (3, 4, 3), None),
    ],
)
def test_the_scale_between_two_sizes(target: tuple, reference: tuple, scale: tuple | None) -> None:
    assert ReferenceScale.between(target, reference) == scale


def test_positions_of_a_reference_with_fewer_frames_end_with_the_target() -> None:
    """As ltx-trainer: at its own rate, moved back by the frames between two of them."""
    fps, stream = torch.tensor([12.0]), VideoStream()
    every = 2
    where = stream.reference_positions((3, 1, 1), (5, 1, 1), fps)[0, 0] * 12
    starts = np.maximum(0, np.array([0, 1, 9]) * every - (every - 1))
    ends = np.array([1, 9, 17]) * every - (every - 1)
    assert where.tolist() == pytest.approx(((starts + ends) / 2).tolist())
    assert ends[-1] == 33


def test_a_file_of_another_shape_is_refused(root: Path) -> None:
    item = read_index(root).items[0]
    form = stream_forms(item, LTX2)[item.streams["video"]["reference"]]["latents"]
    fitting = {
        shape: form.fits(TensorInfo("F32", (128, *shape), 0, 0))
        for shape in ((3, 1, 1), (3, 3, 3), (2, 3, 3), (2, 1, 1), (3, 2, 1), (1, 3, 3))
    }
    assert fitting == {
        (3, 1, 1): True,
        (3, 3, 3): True,
        (2, 3, 3): True,
        (2, 1, 1): True,
        (3, 2, 1): False,
        (1, 3, 3): False,
    }


def test_masked_clips_with_windows_are_cut_alike(tmp_path: Path) -> None:
    """The second window of a clip of 34 frames at 12 a second begins at 17/12 seconds."""
    frames = np.zeros((34, 96, 96, 3), np.uint8)
    tone = np.sin(np.arange(round(34 / 12 * 16000)) / 16000 * 2 * np.pi * 300).astype(np.float32)
    write_video(tmp_path / "a.mp4", frames, 12.0, sound=Sound(np.stack([tone, tone]) * 0.3, 16000))
    (tmp_path / "d.json").write_text(
        json.dumps([{"caption": "x", "media_path": "a.mp4", "audio_mask": "1.0-1.1, 2.0-2.1"}])
    )
    root = preprocess(PreprocessSettings(tmp_path / "d.json", MINIATURE, SIZE, windows=2)).root
    masks = [
        load_file(root / item.streams["audio"]["mask"].path)["mask"][:, 0]
        .nonzero()
        .flatten()
        .tolist()
        for item in read_index(root).items
    ]

    def marked(start: float) -> list[int]:
        return [
            i
            for i in range(35)
            if any(
                0.04 * i + 0.01 + start > a and max(0, 0.04 * i - 0.03) + start < b
                for a, b in ((1.0, 1.1), (2.0, 2.1))
            )
        ]

    assert masks == [marked(0.0), marked(17 / 12)]
    assert all(masks)
