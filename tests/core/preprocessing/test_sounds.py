"""The sound that is trained: of whatever file, a tone keeps its place and pitch in the decoded latents."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import Index, read_index
from ltxv_train_core.datasets.summary import PreprocessSummary
from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.open import open_model
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.training.trainer import train

SIZE, FPS, FRAMES = "96x96x17", 12, 17
TONE_HZ, START, END = 1000.0, 0.5, 0.9
LATENT_SECONDS, MEL_SECONDS = 1 / 25, 1 / 100


@dataclass(frozen=True)
class Kind:
    """A sound in a file.

    Attributes:
        late: seconds by which the stream begins behind the video.
        drift: by how much its clock is slower than the video's.
        gain: of the tone; beyond 1 it is cut off.
    """

    codec: str = "pcm_s16le"
    container: str = "matroska"
    layout: str = "stereo"
    rate: int = 48000
    late: float = 0.0
    drift: float = 0.0
    gain: float = 0.5


KINDS = {
    "mono": Kind("aac", "mp4", "mono", 44100),
    "5.1": Kind("aac", "mp4", "5.1", 48000),
    "8 kHz": Kind(layout="mono", rate=8000),
    "192 kHz": Kind("flac", rate=192000),
    "offset": Kind("aac", "mp4", "stereo", 48000, late=0.3),
    "drifting": Kind(rate=16000, drift=0.02),
    "clipping": Kind(gain=4.0),
}
APART = {
    "wav": Kind(container="wav", layout="mono", rate=22050),
    "mp3": Kind("libmp3lame", "mp3", rate=44100),
    "flac": Kind("flac", "flac", rate=96000),
    "ogg": Kind("libopus", "ogg", rate=48000),
}


def samples(kind: Kind, seconds: float = 1.7) -> np.ndarray:
    """A tone between two moments of the video, as the stream has it: [channels, samples]."""
    shown = kind.late + np.arange(round(kind.rate * seconds)) / kind.rate * (1 + kind.drift)
    tone = np.sin(2 * np.pi * TONE_HZ * shown) * ((shown >= START) & (shown < END))
    channels = av.AudioLayout(kind.layout).nb_channels
    return np.tile(np.clip(kind.gain * tone, -1, 1).astype(np.float32), (channels, 1))


def mux_sound(container: av.container.OutputContainer, kind: Kind, stream: Any) -> None:
    converter = av.AudioResampler(format=stream.format.name, layout=kind.layout, rate=kind.rate)
    whole = samples(kind)
    if kind.drift:  # one packet a frame, each at its own time
        pieces = [(at, whole[:, at : at + 1024]) for at in range(0, whole.shape[1], 1024)]
    else:
        pieces = [(0, whole)]
    for at, piece in pieces:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(piece), format="fltp", layout=kind.layout
        )
        frame.sample_rate, frame.time_base = kind.rate, Fraction(1, kind.rate)
        frame.pts = round(at * (1 + kind.drift) + kind.late * kind.rate)
        if kind.drift:
            frame = av.AudioResampler(stream.format.name, kind.layout, kind.rate).resample(frame)[0]
            frame.pts, frame.time_base = round(at * (1 + kind.drift)), Fraction(1, kind.rate)
            container.mux(stream.encode(frame))
            continue
        for part in converter.resample(frame):
            container.mux(stream.encode(part))
    container.mux(stream.encode())


def write_clip(path: Path, kind: Kind | None) -> None:
    name = kind.container if kind else "mp4"
    with av.open(str(path), "w", format=name) as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width = video.height = 96
        video.pix_fmt = "yuv420p"
        sound = kind and container.add_stream(kind.codec, rate=kind.rate, layout=kind.layout)
        for number in range(FRAMES):
            pixels = np.full((96, 96, 3), 40 + 8 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(video.encode())
        if kind and sound:
            mux_sound(container, kind, sound)


def write_sound(path: Path, kind: Kind) -> None:
    with av.open(str(path), "w", format=kind.container) as container:
        mux_sound(
            container, kind, container.add_stream(kind.codec, rate=kind.rate, layout=kind.layout)
        )


def metadata(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "clips.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreprocessSummary, Index]:
    """A data set of all kinds of sound."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = []
    for name, kind in KINDS.items():
        suffix = ".mp4" if kind.container == "mp4" else ".mkv"
        write_clip(folder / f"{name}{suffix}", kind)
        rows.append({"media_path": f"{name}{suffix}", "caption": "a tone"})
    for name, kind in APART.items():
        write_clip(folder / f"{name}.mp4", KINDS["mono"] if name == "wav" else None)
        write_sound(folder / f"apart.{name}", kind)
        row = {"media_path": f"{name}.mp4", "caption": "a tone", "audio": f"apart.{name}"}
        rows.append(row)
    summary = preprocess(PreprocessSettings(metadata(folder, rows), MINIATURE, SIZE))
    assert not summary.skipped
    return summary, read_index(summary.root)


def heard(root: Path, index: Index, name: str) -> tuple[float, float, float]:
    """Where a tone begins and ends, and its pitch, in what the latents of a clip decode to."""
    (item,) = [each for each in index.items if each.name.rpartition(".")[0] == name]
    latents = load_file(root / item.streams["audio"]["latents"].path)["latents"]
    audio_vae = open_model(MINIATURE).load_audio_vae()
    loudness = audio_vae.decode_mel(latents[None])[0, 0].exp().amax(1)
    loud = np.flatnonzero(loudness > loudness.max() / 4) * MEL_SECONDS
    sound = audio_vae.decode(latents[None])[0, 0].numpy()
    rate = audio_vae.sample_rate
    tone = sound[round(0.6 * rate) : round(0.8 * rate)]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    return float(loud[0]), float(loud[-1]), float(spectrum.argmax() * rate / len(tone))


@pytest.mark.parametrize("name", [*KINDS, *APART])
def test_a_tone_keeps_its_place_and_pitch(made: tuple[PreprocessSummary, Index], name: str) -> None:
    summary, index = made
    begin, end, pitch = heard(summary.root, index, name)
    assert begin == pytest.approx(START, abs=LATENT_SECONDS)
    assert end == pytest.approx(END, abs=LATENT_SECONDS)
    assert pitch == pytest.approx(TONE_HZ, rel=0.03)


def test_the_contact_sheet_shows_what_is_heard(made: tuple[PreprocessSummary, Index]) -> None:
    summary, _ = made
    sheet = np.asarray(Image.open(summary.sheet).convert("RGB")).astype(int)
    is_hot = (sheet[..., 0] > 200) & (sheet[..., 2] < 130)
    assert is_hot.sum() > 8 * 30, "the tone in each spectrogram"


def three(folder: Path) -> Path:
    """A clip with sound and two without."""
    for name, kind in (("heard", KINDS["mono"]), ("mute", None), ("still", None)):
        write_clip(folder / f"{name}.mp4", kind)
    rows = [{"media_path": f"{n}.mp4", "caption": n} for n in ("heard", "mute", "still")]
    return metadata(folder, rows)


def settings(folder: Path, **options: Any) -> PreprocessSettings:
    return PreprocessSettings(
        source=three(folder), model_source=MINIATURE, resolution_buckets=SIZE, **options
    )


def test_a_clip_without_sound_is_silent_by_default_and_told(tmp_path: Path) -> None:
    summary = preprocess(settings(tmp_path))
    assert "2 clips without sound: silence is trained in its place (missing_sound)" in summary.text
    items = {item.name: item for item in read_index(summary.root).items}
    assert all("audio" in item.streams for item in items.values())
    again = preprocess(settings(tmp_path))
    assert (again.written, again.silent) == (0, 2)


def test_a_clip_without_sound_is_left_out_by_wish(tmp_path: Path) -> None:
    summary = preprocess(settings(tmp_path, missing_sound="skip"))
    assert [name for name, _ in summary.skipped] == ["mute.mp4", "still.mp4"]
    assert "it has no sound: name a file in the column `audio`" in summary.skipped[0][1]


def test_clips_without_sound_are_trained_beside_others(tmp_path: Path) -> None:
    summary = preprocess(settings(tmp_path, missing_sound="video_only"))
    assert "2 clips without sound: their video alone is trained" in summary.text
    items = {item.name: set(item.streams) for item in read_index(summary.root).items}
    assert items["heard.mp4"] == {"video", "audio"}
    assert items["mute.mp4"] == items["still.mp4"] == {"video"}
    config = build(
        TrainingConfig,
        {
            "output_dir": str(tmp_path / "runs"),
            "model": {"model_source": MINIATURE},
            "lora": {"rank": 2, "alpha": 2},
            "optimization": {"steps": 6, "batch_size": 2},
            "acceleration": {"mixed_precision_mode": "no"},
            "data": {"preprocessed_data_root": str(summary.root), "num_dataloader_workers": 0},
        },
    )
    steps: list[StepCompleted] = []
    assert train(config, lambda e: steps.append(e) if isinstance(e, StepCompleted) else None)
    assert len(steps) == 6
    assert all(np.isfinite(step.loss) for step in steps)


def test_a_sound_that_cannot_be_read_takes_its_clip_along(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", None)
    write_clip(tmp_path / "b.mp4", None)
    write_clip(tmp_path / "c.mp4", KINDS["mono"])
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    rows = [
        {"media_path": "a.mp4", "caption": "a", "audio": "gone.wav"},
        {"media_path": "b.mp4", "caption": "b", "audio": "text.wav"},
        {"media_path": "c.mp4", "caption": "c", "audio": None},
    ]
    summary = preprocess(PreprocessSettings(metadata(tmp_path, rows), MINIATURE, SIZE))
    told = dict(summary.skipped)
    assert "the audio path 'gone.wav' is no file" in told["a.mp4"]
    assert "text.wav" in told["b.mp4"]
    assert [item.name for item in read_index(summary.root).items] == ["c.mp4"]
    first = PreprocessSettings(
        metadata(tmp_path, rows), "LTXV_MINIATURE", SIZE, output_dir=tmp_path / "silent"
    )
    assert not preprocess(first).skipped, "where no sound is trained, none is asked for"


def test_another_sound_is_encoded_anew(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", None)
    write_sound(tmp_path / "a.wav", APART["wav"])
    rows = [{"media_path": "a.mp4", "caption": "a", "audio": "a.wav"}]
    wanted = PreprocessSettings(metadata(tmp_path, rows), MINIATURE, SIZE)
    first = preprocess(wanted)
    assert preprocess(wanted).written == 0
    write_sound(tmp_path / "a.wav", Kind(container="wav", gain=0.1))
    assert preprocess(wanted).written == 1
    assert first.written == 3


def test_what_is_said_goes_into_the_caption(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", KINDS["mono"])
    write_clip(tmp_path / "b.mp4", KINDS["mono"])
    rows = [
        {"media_path": "a.mp4", "caption": "a {man} talks.", "speech": "hello {caption}"},
        {"media_path": "b.mp4", "caption": "nobody talks"},
    ]
    source = metadata(tmp_path, rows)
    plain = PreprocessSettings(source, MINIATURE, SIZE, id_token="TOK")
    texts = [item.caption.text for item in read_index(preprocess(plain).root).items]
    assert texts == ['TOK a {man} talks. The voice says: "hello {caption}"', "TOK nobody talks"]
    other = PreprocessSettings(
        source, MINIATURE, SIZE, output_dir=tmp_path / "o", speech_template="[{speech}] {caption}"
    )
    texts = [item.caption.text for item in read_index(preprocess(other).root).items]
    assert texts == ["[hello {caption}] a {man} talks.", "nobody talks"]
    with pytest.raises(ConfigurationError, match="speech_template"):
        build(
            PreprocessSettings,
            {
                "source": str(source),
                "model_source": MINIATURE,
                "resolution_buckets": SIZE,
                "speech_template": "{caption}",
            },
        )
    with pytest.raises(DataError, match=r"has no column 'words'.*speech_column"):
        preprocess(PreprocessSettings(source, MINIATURE, SIZE, speech_column="words"))


def test_clips_of_one_size_and_two_rates_are_not_put_together(tmp_path: Path) -> None:
    """Their sounds are of other lengths."""
    rows = []
    for name, rate in (("a", FPS), ("b", 2 * FPS)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            video = container.add_stream("libx264", rate=rate)
            video.width = video.height = 96
            video.pix_fmt = "yuv420p"
            for _ in range(FRAMES):
                container.mux(
                    video.encode(av.VideoFrame.from_ndarray(np.zeros((96, 96, 3), np.uint8)))
                )
            container.mux(video.encode())
        rows.append({"media_path": f"{name}.mp4", "caption": name})
    summary = preprocess(PreprocessSettings(metadata(tmp_path, rows), MINIATURE, SIZE))
    assert not TrainingDataset(summary.root).has_one_size
