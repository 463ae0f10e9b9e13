"""A folder that ltx-trainer has preprocessed: read once, then a data set like any other.

Files are written here with the names, keys and shapes that ltx-trainer writes (its process_videos.py and
process_captions.py of August 2026).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ltxv_train_core.cli import main
from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.datasets.export import export_reference
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.datasets.stored_files import open_files
from ltxv_train_core.errors import DataError, LTXVTrainError, ModelError
from ltxv_train_core.events import Notice
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.names import CONNECTORS
from ltxv_train_core.families.open import open_model
from ltxv_train_core.media.sound import read_sound
from ltxv_train_core.media.write import write_exact_sound
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.preprocessing.to_ltx_trainer import export_ltx_trainer
from ltxv_train_core.training.trainer import train
from tests.helpers.ltx2 import AUDIO_WIDTH, CAPTION, WIDTH, write_checkpoint
from tests.helpers.ltx2_parts import write_gemma_file, write_whole

SHAPE, FPS, SOUNDS, WORDS = (3, 3, 4), 24.0, 19, 5
"""17 frames of 128x96; ltx-trainer makes one latent of sound more than they take."""


def save(root: Path, folder: str, name: str, data: dict[str, Any]) -> None:
    path = root / folder / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(data, path)


def video(shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    frames, height, width = shape
    sizes = {"num_frames": frames, "height": height, "width": width, "fps": FPS}
    return {"latents": torch.randn(128, *shape).bfloat16(), **sizes}


def sound(count: int = SOUNDS) -> dict[str, Any]:
    about = {"num_time_steps": count, "frequency_bins": 16, "duration": 17 / FPS}
    return {"latents": torch.randn(8, count, 16), **about}


def text(generation: str = "2.3") -> dict[str, Any]:
    """Padded on the left to 1,024 tokens."""
    mask = torch.zeros(1024, dtype=torch.int64)
    mask[-WORDS:] = 1
    video_width, audio_width = (CAPTION, CAPTION) if generation == "2.0" else (WIDTH, AUDIO_WIDTH)
    features = torch.randn(1024, video_width) * mask[:, None]
    audio = features if generation == "2.0" else torch.randn(1024, audio_width) * mask[:, None]
    return {
        "video_prompt_embeds": features,
        "audio_prompt_embeds": audio.clone(),
        "prompt_attention_mask": mask,
    }


def write_folder(root: Path, names: tuple[str, ...] = ("a", "sub/b")) -> Path:
    torch.manual_seed(0)
    for name in names:
        save(root, "latents", name, video())
        save(root, "audio_latents", name, sound())
        save(root, "conditions", name, text())
    return root


def settings(source: Path, model: Path, **options: Any) -> PreprocessSettings:
    return PreprocessSettings(
        source=source, model_source=str(model), resolution_buckets="128x96x17", **options
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "a.safetensors", "2.3")


def theirs(root: Path, folder: str, name: str, key: str) -> Tensor:
    return torch.load(root / folder / f"{name}.pt", weights_only=True)[key]


def test_latents_and_sounds_are_theirs_and_texts_go_through_the_connectors(
    model: Path, tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "clips" / ".precomputed")
    summary = preprocess(settings(tmp_path / "clips", model))
    assert summary.root == tmp_path / "clips" / ".precomputed-imported"
    assert not summary.skipped
    index = read_index(summary.root)
    assert [(item.name, item.size, item.fps) for item in index.items] == [
        ("a", "128x96x17", FPS),
        ("sub/b", "128x96x17", FPS),
    ]
    connectors = open_model(str(model)).part(CONNECTORS).load(torch.float32)
    for item in index.items:
        files = {s: load_file(summary.root / f["latents"].path) for s, f in item.streams.items()}
        expected = theirs(root, "latents", item.name, "latents").float()
        assert torch.equal(files["video"]["latents"], expected)
        heard = theirs(root, "audio_latents", item.name, "latents")
        assert torch.equal(files["audio"]["latents"], heard[:, :18])
        both = [
            theirs(root, "conditions", item.name, f"{s}_prompt_embeds")[-WORDS:]
            for s in ("video", "audio")
        ]
        finished = connectors.finish(torch.cat(both, dim=-1))
        stored = load_file(summary.root / item.caption.embedding.path)
        assert stored.keys() == finished.keys()
        for name, tensor in stored.items():
            torch.testing.assert_close(tensor, finished[name])
    again = preprocess(settings(tmp_path / "clips", model))
    assert (again.written, again.reused) == (0, 6)


def test_it_is_trained_on(model: Path, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "theirs")
    with pytest.raises(
        DataError, match=r"is of ltx-trainer, for LTX-2: preprocess its folder once"
    ):
        open_files(root)
    summary = preprocess(settings(root, model, output_dir=tmp_path / "data"))
    values = {
        "output_dir": str(tmp_path / "runs"),
        "model": {"model_source": str(model)},
        "lora": {"rank": 2, "alpha": 2},
        "optimization": {"steps": 1, "batch_size": 2},
        "acceleration": {"mixed_precision_mode": "no"},
        "data": {"preprocessed_data_root": str(summary.root), "num_dataloader_workers": 0},
    }
    assert train(build(TrainingConfig, values)).finished
    other = write_checkpoint(tmp_path / "other.safetensors", "2.3", seed=5)
    values["model"] = {"model_source": str(other)}
    with pytest.raises(LTXVTrainError, match="its captions were encoded with another text encoder"):
        train(build(TrainingConfig, values))


def test_references_and_masks_come_along(model: Path, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "theirs")
    mask = torch.zeros(SHAPE)
    mask[:, :, :2] = 1
    for name in ("a", "sub/b"):
        save(root, "reference_latents", name, video())
        save(root, "video_masks", name, {"mask": mask})
        save(root, "reference_audio_latents", name, sound())
        given = (torch.arange(SOUNDS) < 5).float()
        save(root, "audio_masks", name, {"mask": given})
    save(root, "reference_latents", "sub/b", video((3, 3, 2)))
    told: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Notice):
            told.append(event.message)

    summary = preprocess(settings(root, model, output_dir=tmp_path / "data"), listen)
    first, second = read_index(summary.root).items
    stored = load_file(summary.root / first.streams["video"]["mask"].path)["mask"]
    assert torch.equal(stored, mask == 0), "there 1 is given, here true is generated"
    reference = load_file(summary.root / first.streams["video"]["reference"].path)["latents"]
    assert torch.equal(reference, theirs(root, "reference_latents", "a", "latents").float())
    assert "reference" not in second.streams["video"]
    of_sound = first.streams["audio"]
    stored = load_file(summary.root / of_sound["mask"].path)["mask"]
    assert torch.equal(stored, (given == 0)[: len(stored), None].expand(-1, 16))
    reference = load_file(summary.root / of_sound["reference"].path)["latents"]
    whole = theirs(root, "reference_audio_latents", "a", "latents").float()
    assert torch.equal(reference, whole[:, : reference.shape[1]])
    assert any("sub/b: its reference is of another size" in line for line in told)


def test_what_cannot_be_read_is_skipped_with_its_reason(model: Path, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "theirs", ("a", "short", "alone", "wide"))
    save(root, "audio_latents", "short", sound(12))
    (root / "conditions" / "alone.pt").unlink()
    save(root, "latents", "wide", {**video(), "latents": torch.randn(64, *SHAPE)})
    summary = preprocess(settings(root, model, output_dir=tmp_path / "data"))
    reasons = dict(summary.skipped)
    assert "has 12 latents of sound, and the clip takes 18" in reasons["short"]
    assert "alone.pt is missing" in reasons["alone"]
    assert "expected [128, f, h, w]" in reasons["wide"]
    assert [item.name for item in read_index(summary.root).items] == ["a"]


def test_of_the_first_generation_both_streams_read_the_same_features(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "first.safetensors", "2.0")
    root = write_folder(tmp_path / "theirs", ("a",))
    save(root, "conditions", "a", text("2.0"))
    summary = preprocess(settings(root, model, output_dir=tmp_path / "data"))
    (item,) = read_index(summary.root).items
    stored = load_file(summary.root / item.caption.embedding.path)
    connectors = open_model(str(model)).part(CONNECTORS).load(torch.float32)
    given = theirs(root, "conditions", "a", "video_prompt_embeds")[-WORDS:]
    for name, tensor in connectors.finish(given).items():
        assert tensor.shape == (1024, CAPTION)
        torch.testing.assert_close(stored[name], tensor)


def test_it_needs_the_model_that_is_trained(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "theirs")
    for name in ("LTXV_MINIATURE", "LTX2_MINIATURE"):
        with pytest.raises(ModelError, match="whose texts go through the connectors of your LTX-2"):
            preprocess(settings(root, Path(name), output_dir=tmp_path / "data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("whole")
    return {
        "model_source": str(write_whole(root / "whole.safetensors", "2.3")),
        "text_encoder_source": str(write_gemma_file(root / "gemma.safetensors", "Gemma 3")),
    }


@pytest.mark.long
def test_what_is_written_for_ltx_trainer_is_read_as_the_same(
    whole: dict[str, str], tmp_path: Path
) -> None:
    clips = generate("stripes_and_beep", tmp_path / "clips", clips=2).metadata
    rows = json.loads(clips.read_text(encoding="utf-8"))
    Image.new("L", (96, 96), 255).save(clips.parent / "mask.png")
    for row in rows:
        row |= {"reference_path": row["media_path"], "mask_path": "mask.png"}
    clips.write_text(json.dumps(rows), encoding="utf-8")
    made = preprocess(PreprocessSettings(source=clips, resolution_buckets="96x96x17", **whole))
    output = tmp_path / "theirs"
    command = ["export", str(made.root), "--format", "ltx-trainer", "--output", str(output)]
    command += ["--dtype", "float32", "--model", whole["model_source"]]
    assert main([*command, "--text-encoder", whole["text_encoder_source"]]) == 0
    first = read_index(made.root).items[0]
    name = first.name.removesuffix(".mp4")
    stored = torch.load(output / "conditions" / f"{name}.pt", weights_only=True)
    assert {key: tuple(value.shape) for key, value in stored.items()} == {
        "video_prompt_embeds": (1024, WIDTH),
        "audio_prompt_embeds": (1024, AUDIO_WIDTH),
        "prompt_attention_mask": (1024,),
    }
    assert stored["prompt_attention_mask"][-1]
    assert not stored["prompt_attention_mask"][0]
    heard = torch.load(output / "audio_latents" / f"{name}.pt", weights_only=True)
    assert {key: heard[key] for key in ("num_time_steps", "frequency_bins")} == {
        "num_time_steps": 35,
        "frequency_bins": 16,
    }
    back = preprocess(settings(output, Path(whole["model_source"]), output_dir=tmp_path / "back"))
    pairs = zip(read_index(made.root).items, read_index(back.root).items, strict=True)
    for ours, again in pairs:
        assert (ours.size, ours.fps) == (again.size, again.fps)
        for stream, roles in ours.streams.items():
            for role, file in roles.items():
                (expected,) = load_file(made.root / file.path).values()
                (found,) = load_file(back.root / again.streams[stream][role].path).values()
                assert torch.equal(found, expected.expand(found.shape)), (stream, role)
        texts = [
            load_file(root / item.caption.embedding.path)
            for root, item in ((made.root, ours), (back.root, again))
        ]
        for key, tensor in texts[0].items():
            torch.testing.assert_close(texts[1][key], tensor)


def test_sounds_alone_are_read_as_a_whole_and_written_again(
    whole: dict[str, str], tmp_path: Path
) -> None:
    """A folder without latents of videos, as ltx-trainer's t2a example reads it."""
    torch.manual_seed(0)
    root = tmp_path / "theirs" / ".precomputed"
    lengths = {"a": 126, "b": 5, "c": 41}
    for name, count in lengths.items():
        save(root, "audio_latents", name, sound(count))
        save(root, "conditions", name, text())
    save(root, "audio_latents", "none", {"latents": torch.zeros(8, 0, 16)})
    save(root, "conditions", "none", text())
    read = preprocess(settings(tmp_path / "theirs", Path(whole["model_source"])))
    assert "of shape [8, 0, 16]" in dict(read.skipped)["none"]
    found = {}
    for item in read_index(read.root).items:
        assert item.streams.keys() == {"audio"}
        found[item.name] = load_file(read.root / item.streams["audio"]["latents"].path)["latents"]
    assert {name: each.shape[1] for name, each in found.items()} == lengths
    for name, each in found.items():
        assert torch.equal(each, theirs(root, "audio_latents", name, "latents"))


@pytest.mark.long
def test_a_data_set_of_sounds_is_written_for_ltx_trainer(
    whole: dict[str, str], tmp_path: Path
) -> None:
    clips = generate("beep", tmp_path / "clips", clips=2).metadata
    sounds = [row["media_path"] for row in json.loads(clips.read_text(encoding="utf-8"))]
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, name in enumerate(sounds):
        heard = read_sound(clips.parent / name, None, 1.4)
        assert heard is not None
        write_exact_sound(folder / f"{number}.wav", heard)
        (folder / f"{number}.txt").write_text("a beep", encoding="utf-8")
    made = preprocess(PreprocessSettings(source=folder, resolution_buckets="96x96x33", **whole))
    output = tmp_path / "theirs"
    opened = open_model(whole["model_source"], whole["text_encoder_source"])
    export_ltx_trainer(made.root, output, opened, "float32")
    assert sorted(path.name for path in output.iterdir()) == ["audio_latents", "conditions"]
    back = preprocess(settings(output, Path(whole["model_source"]), output_dir=tmp_path / "back"))
    pairs = zip(read_index(made.root).items, read_index(back.root).items, strict=True)
    for ours, again in pairs:
        files = (made.root / ours.streams["audio"]["latents"].path,)
        files += (back.root / again.streams["audio"]["latents"].path,)
        first, second = (load_file(path)["latents"] for path in files)
        assert first.shape == (8, 33, 16)
        assert torch.equal(first, second)


def test_what_cannot_be_written_for_ltx_trainer_is_told(
    whole: dict[str, str], model: Path, tmp_path: Path
) -> None:
    read = preprocess(settings(write_folder(tmp_path / "a"), model, output_dir=tmp_path / "data"))
    opened = open_model(whole["model_source"])
    with pytest.raises(DataError, match="its captions are not recorded"):
        export_ltx_trainer(read.root, tmp_path / "out", opened)
    with pytest.raises(DataError, match="Of LTX-2 choose the format ltx-trainer"):
        export_reference(read.root, tmp_path / "out")
