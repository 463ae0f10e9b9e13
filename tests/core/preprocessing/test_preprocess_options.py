"""What each option of preprocessing changes, and that it is part of what names a cached file."""

import gc
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.config import PreprocessSettings, build
from ltxv_train_core.config.tools.preprocessing import WITHOUT_EFFECT
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.vae import LTXVideoVae
from ltxv_train_core.families.names import TEXT_ENCODER, VAE
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.tensors import frames_to_tensor
from ltxv_train_core.media.video import read_frames
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing import contact_sheet, encode
from ltxv_train_core.preprocessing.contact_sheet import psnr
from ltxv_train_core.preprocessing.encoders import EncoderSource


@pytest.fixture
def ramp(tmp_path):
    """Writes a clip that gets brighter from frame to frame and from left to right."""

    def ramp(name: str, frames: int = 30, width: int = 64, height: int = 64) -> None:
        levels = np.add.outer(4 * np.arange(frames), np.linspace(0, 100, width)) + 20
        pixels = np.broadcast_to(levels[:, None, :, None], (frames, height, width, 3))
        write_video(tmp_path / name, pixels.clip(0, 255).astype(np.uint8), fps=25)

    return ramp


def row(media, caption="a ramp", **others):
    return {"media_path": media, "caption": caption, **others}


def latents(root, name):
    (item,) = (item for item in read_index(root).items if item.name == name)
    return load_file(root / item.streams["video"]["latents"].path)["latents"]


def encoded(path, frames=9, **selection):
    read = read_frames(path, VideoSize(64, 64, frames), Selection(**selection))
    return open_model(MINIATURE).load_vae().encode(frames_to_tensor(read))[0]


def test_windows_of_a_long_clip_are_items_with_its_caption_and_pair(tmp_path, ramp, make):
    ramp("a.mp4", 30)
    ramp("r.mp4", 30)
    ramp("short.mp4", 12)
    ramp("rs.mp4", 12)
    rows = [row("a.mp4", reference_path="r.mp4"), row("short.mp4", "s", reference_path="rs.mp4")]
    first = make(rows)
    summary = make(rows, windows=3)
    items = read_index(summary.root).items
    assert [item.name for item in items] == ["a.mp4", "a.mp4@2", "a.mp4@3", "short.mp4"]
    assert (first.written, summary.written, summary.reused) == (6, 4, 6)
    assert first.text.startswith("2 clips ready, 0 skipped")
    assert summary.text.startswith("4 windows of 2 clips ready, 0 skipped")
    assert "\n- 64x64x9: 4 windows, " in summary.text
    for name, start in (("a.mp4", 0), ("a.mp4@2", 10), ("a.mp4@3", 21)):
        expected = encoded(tmp_path / "a.mp4", start=start)
        torch.testing.assert_close(latents(summary.root, name), expected)
    dataset = TrainingDataset(summary.root, "reference_latents")
    assert torch.equal(
        dataset[2].streams["video"]["latents"], dataset[2].streams["video"]["reference"]
    )
    assert torch.equal(dataset[2].text["prompt_embeds"], dataset[0].text["prompt_embeds"])
    summary.index.unlink()
    fewer = make(rows)
    assert [path.rsplit(".", 2)[0] for path in sorted(fewer.orphans)] == [
        f"{folder}/a.mp4@{n}" for folder in ("latents", "reference_latents") for n in "23"
    ]


def test_a_clip_that_is_called_like_a_window_does_not_replace_it(tmp_path, ramp, make):
    ramp("a.mp4", 30)
    ramp("b.mp4", 9)
    (tmp_path / "b.mp4").rename(tmp_path / "a.mp4@2")
    summary = make([row("a.mp4"), row("a.mp4@2")], windows=3)
    assert [name for name, _ in summary.skipped] == ["a.mp4@2"]
    assert len(read_index(summary.root).items) == 3


def test_resampling_changes_frames_and_rate(tmp_path, ramp, make):
    ramp("a.mp4", 30)
    first = make([row("a.mp4")])
    assert make([row("a.mp4")], target_fps=12.5).written == 1
    item = read_index(first.root).items[0]
    assert item.fps == 12.5
    with safe_open(str(first.root / item.streams["video"]["latents"].path), "pt") as file:
        assert file.metadata()["fps"] == "12.5"
    expected = encoded(tmp_path / "a.mp4", fps=12.5)
    torch.testing.assert_close(latents(first.root, "a.mp4"), expected)
    assert (latents(first.root, "a.mp4") - encoded(tmp_path / "a.mp4")).abs().max() > 0.1


def test_a_random_crop_is_the_same_for_a_pair_and_for_a_seed(ramp, make):
    for name in ("a.mp4", "r.mp4"):
        ramp(name, 9, width=192)
    rows = [row("a.mp4", reference_path="r.mp4")]
    centre = make(rows).root
    before = latents(centre, "a.mp4")
    assert make(rows, crop="random").written == 2
    dataset = TrainingDataset(centre, "reference_latents")
    assert torch.equal(
        dataset[0].streams["video"]["latents"], dataset[0].streams["video"]["reference"]
    )
    assert (dataset[0].streams["video"]["latents"] - before).abs().max() > 0.1
    again = dataset[0].streams["video"]["latents"]
    assert make(rows, crop="random", crop_seed=1).written == 2
    assert (latents(centre, "a.mp4") - again).abs().max() > 0.1
    index = read_index(centre)
    assert make(rows, crop="random", crop_seed=1).written == 0
    assert read_index(centre) == index


def test_a_small_clip_is_enlarged_when_told(ramp, make):
    ramp("a.mp4", 9)
    with pytest.raises(ValueError, match="allow upscaling"):
        make([row("a.mp4")], buckets="128x128x9")
    summary = make([row("a.mp4")], buckets="128x128x9", allow_upscaling=True)
    assert latents(summary.root, "a.mp4").shape == (128, 2, 4, 4)


def test_an_automatic_set_keeps_shapes(ramp, make):
    ramp("wide.mp4", 40, width=192, height=96)
    ramp("square.mp4", 20, width=128, height=128)
    summary = make([row("wide.mp4"), row("square.mp4")], buckets="auto:96x96x33")
    sizes = {item.name: item.size for item in read_index(summary.root).items}
    assert sizes == {"wide.mp4": "128x64x33", "square.mp4": "96x96x17"}


def test_batches_threads_and_tiles_change_nothing_but_speed(ramp, make, monkeypatch):
    """The miniature's VAE sees no further than a latent's own pixels: tiles give the same."""
    for i in range(4):
        ramp(f"{i}.mp4", 9, width=384 if i < 2 else 64)
    rows = [row(f"{i}.mp4") for i in (0, 2, 1, 3)]
    sizes = Counter()
    encode = LTXVideoVae.encode

    def counted(self, frames):
        sizes[len(frames)] += 1
        return encode(self, frames)

    monkeypatch.setattr(LTXVideoVae, "encode", counted)
    root = make(rows, buckets="384x64x9;64x64x9").root
    assert sizes == {1: 4}
    together = {"vae_batch_size": 2, "decode_threads": 1, "vae_tile_px": 256}
    folder = root.parent / "other"
    make(rows, buckets="384x64x9;64x64x9", output_dir=folder, **together)
    assert sizes == {1: 4, 2: 2}
    for i in range(4):
        there, here = (latents(place, f"{i}.mp4") for place in (folder, root))
        torch.testing.assert_close(there, here, atol=1e-4, rtol=0)
    items = [read_index(place).items for place in (root, folder)]
    same = [
        a.streams["video"]["latents"].key == b.streams["video"]["latents"].key
        for a, b in zip(*items, strict=True)
    ]
    assert same == [False, True, False, True]


def test_precision_is_part_of_the_key(ramp, make):
    ramp("a.mp4", 9)
    root = make([row("a.mp4")]).root
    exact = latents(root, "a.mp4")

    def text():
        return load_file(root / read_index(root).items[0].caption.embedding.path)["prompt_embeds"]

    embeds = text()
    assert make([row("a.mp4")], vae_dtype="float32", text_encoder_dtype="float32").written == 0
    assert make([row("a.mp4")], vae_dtype="bfloat16").written == 1
    assert 1e-4 < (latents(root, "a.mp4") - exact).abs().max() < 0.2
    assert make([row("a.mp4")], vae_dtype="bfloat16", text_encoder_dtype="bfloat16").written == 1
    assert text().dtype == torch.bfloat16
    eight = make([row("a.mp4")], vae_dtype="bfloat16", load_text_encoder_in_8bit=True)
    assert eight.written == 1
    difference = text().float() - embeds
    assert 1e-5 < difference.abs().max() < 0.3 * embeds.std()


def test_clips_are_decoded_beside_the_originals(tmp_path, ramp, make, watcher):
    for i in range(4):
        ramp(f"{i}.mp4", 9)
    rows = [row(f"{i}.mp4") for i in range(4)]
    summary = make(rows, watcher, verify_clips=2)
    assert [name for name, _ in summary.verified] == ["0.mp4", "3.mp4"]
    told = [e for e in watcher.events if isinstance(e, Progress) and e.phase == "encode videos"]
    assert [event.item for event in told] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", ""]
    assert all(event.eta_seconds > 0 for event in told[1:4])
    codec = open_model(MINIATURE).load_vae()
    decoded = codec.decode(latents(summary.root, "0.mp4")[None])[0].permute(1, 2, 3, 0)
    original = read_frames(tmp_path / "0.mp4", VideoSize(64, 64, 9))
    pixels = ((decoded + 1) * 127.5).round().byte().numpy()
    assert summary.verified[0][1] == pytest.approx(psnr(original, pixels), abs=0.01)
    assert summary.verified[0][1] > 25
    with Image.open(summary.verification) as picture:
        assert picture.width > 2 * 4 * 64
    assert "decoded 3.mp4: " in summary.text
    assert make(rows).verification is None


def test_the_summary_says_what_there_is(tmp_path, ramp, make):
    for i in range(3):
        ramp(f"{i}.mp4", 17)
    Image.new("RGB", (64, 64), (9, 99, 200)).save(tmp_path / "a.png")
    rows = [row(f"{i}.mp4", "word " * (4 * i + 1)) for i in range(3)]
    rows += [row("a.png", "blue"), row("absent.mp4", "gone")]
    summary = make(rows, buckets="64x64x17;64x64x1")
    found = summary.dataset
    assert found.clips == {"64x64x17": 3, "64x64x1": 1}
    assert found.frames == 3 * 17 + 1
    assert found.sample_tokens == {"64x64x17": 12, "64x64x1": 4}
    lengths = [len(TrainingDataset(summary.root)[i].text["prompt_embeds"]) for i in range(3)]
    assert found.caption_tokens[0] == 2 or found.caption_tokens[0] == min(lengths)
    assert found.caption_tokens[2] == max(lengths)
    files = [p for p in summary.root.rglob("*.safetensors")]
    assert found.disk_bytes == sum(p.stat().st_size for p in files)
    for words in ("4 clips, 52 frames", "- 64x64x17: 3 clips, 12 tokens", "skipped absent.mp4: "):
        assert words in summary.text
    with Image.open(summary.sheet) as sheet:
        colors = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    assert (np.abs(colors.astype(int) - (9, 99, 200)).max(axis=1) < 3).sum() > 3000


def test_the_sheet_is_drawn_from_what_the_vae_gets(ramp, make, monkeypatch):
    for i in range(3):
        ramp(f"{i}.mp4", 17)
    rows = [row(f"{i}.mp4") for i in range(3)]
    reads = []

    def counted(path, *arguments):
        reads.append(path.name)
        return read_frames(path, *arguments)

    for module in (encode, contact_sheet):
        monkeypatch.setattr(module, "read_frames", counted)
    sheet = make(rows, buckets="64x64x17").sheet
    assert sorted(reads) == ["0.mp4", "1.mp4", "2.mp4"]
    drawn = sheet.read_bytes()
    sheet.unlink()
    assert make(rows, buckets="64x64x17").sheet.read_bytes() == drawn
    assert len(reads) == 6


class Grey:
    """A VAE of its own kind: latents hold the mean brightness."""

    def encode(self, frames):
        batch, _, count, height, width = frames.shape
        shape = (batch, 128, (count - 1) // 8 + 1, height // 32, width // 32)
        return frames.mean(dim=(1, 2, 3, 4)).view(-1, 1, 1, 1, 1).expand(shape)

    def decode(self, latents):
        b, _, f, h, w = latents.shape
        return latents.mean().expand(b, 3, (f - 1) * 8 + 1, h * 32, w * 32)


class Letters:
    def encode(self, prompts):
        return [
            {"prompt_embeds": torch.tensor([[float(ord(letter))] * 8 for letter in text or " "])}
            for text in prompts
        ]


def test_encoders_that_are_there_already_load_no_model(write_clip, make, monkeypatch):
    for loader in ("load_vae", "load_text_encoder"):
        monkeypatch.delattr(type(open_model(MINIATURE)), loader)
    write_clip("a.mp4", level=120)
    given = {
        VAE: EncoderSource("grey", Grey),
        TEXT_ENCODER: EncoderSource("letters", Letters),
    }
    summary = make([row("a.mp4", "ab")], encoders=given, verify_clips=1)
    assert summary.written == 2
    assert latents(summary.root, "a.mp4").unique().numel() == 1
    assert TrainingDataset(summary.root)[0].text["prompt_embeds"][:, 0].tolist() == [97.0, 98.0]
    assert make([row("a.mp4", "ab")], encoders=given).written == 0
    given[VAE] = EncoderSource("another", Grey)
    assert make([row("a.mp4", "ab")], encoders=given).written == 1


def test_encoders_that_are_no_longer_given_are_no_longer_used(write_clip, make):
    write_clip("a.mp4", level=120)
    make([row("a.mp4")])
    given = {VAE: EncoderSource("grey", Grey)}
    assert make([row("a.mp4")], encoders=given).written == 1
    again = make([row("a.mp4")])
    assert (again.written, again.reused) == (0, 2)
    assert latents(again.root, "a.mp4").unique().numel() > 1


def test_the_vae_is_gone_when_the_text_encoder_comes(write_clip, make, monkeypatch):
    model = type(open_model(MINIATURE))
    load_video, load_text = model.load_vae, model.load_text_encoder
    weights, left = [], []

    def watched_video(self, dtype, part):
        codec = load_video(self, dtype, part)
        weights.append(weakref.ref(next(codec.vae.parameters())))
        return codec

    def watched_text(self, dtype):
        left.append(weights[0]())
        encoder = load_text(self, dtype)
        weights.append(weakref.ref(next(encoder.encoder.parameters())))
        return encoder

    monkeypatch.setattr(model, "load_vae", watched_video)
    monkeypatch.setattr(model, "load_text_encoder", watched_text)
    write_clip("a.mp4")
    gc.disable()
    try:
        make([row("a.mp4")])
        assert left == [None]
        assert [weight() for weight in weights] == [None, None]
    finally:
        gc.enable()


def test_latents_that_are_not_finite_are_left_out(write_clip, make):
    class Broken(Grey):
        def encode(self, frames):
            return super().encode(frames) / (frames.mean() > 0)

    write_clip("dark.mp4", level=60)
    write_clip("light.mp4", level=250)
    encoders = {VAE: EncoderSource("broken", Broken)}
    summary = make([row("dark.mp4"), row("light.mp4")], encoders=encoders)
    assert dict(summary.skipped) == {
        "dark.mp4": "its latents are not finite; set vae_dtype to float32"
    }
    assert [item.name for item in read_index(summary.root).items] == ["light.mp4"]


def test_wrong_options_are_refused_together():
    values = {"source": "d.csv", "model_source": "m", "resolution_buckets": "64x64x9"}
    wrong = {"windows": 0, "vae_tile_px": 300, "crop": "left", "target_fps": -1}
    with pytest.raises(ConfigurationError) as caught:
        build(PreprocessSettings, values | wrong)
    assert sorted(line.split(":")[0] for line in caught.value.problems) == sorted(wrong)
    assert set(PreprocessSettings.model_fields) > WITHOUT_EFFECT
