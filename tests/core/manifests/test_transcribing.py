"""What is said in clips, by a small Whisper that is converted on the spot."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import PreprocessSettings, TranscribeSettings
from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.errors import Cancelled, DataError, ModelError
from ltxv_train_core.events import ClipSkipped, Event, Progress
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.manifests.caption_journal import CaptionJournal
from ltxv_train_core.manifests.transcribing import transcribe
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_exact_sound
from ltxv_train_core.preprocessing.preprocess import preprocess
from tests.core.preprocessing.test_sounds import KINDS, metadata, write_clip
from tests.helpers.teams import share
from tests.helpers.tiny_whisper import write_tiny_whisper

needs_whisper = pytest.mark.skipif(
    find_spec("faster_whisper") is None,
    reason='faster-whisper is missing: pip install "ltxv-train[transcription]"',
)
SAID = "Hello"
"""What the model hears in every sound."""


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("models") / "whisper", SAID)


def noise(path: Path, level: float = 0.2) -> None:
    samples = np.random.default_rng(0).normal(0, level, (2, 16000)).astype(np.float32)
    write_exact_sound(path, Sound(samples, 16000))


def folder_of_sounds(folder: Path) -> Path:
    for name in ("a", "b"):
        noise(folder / f"{name}.wav")
        (folder / f"{name}.txt").write_text(f"caption {name}", encoding="utf-8")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


@needs_whisper
def test_the_column_is_filled_and_goes_into_captions(whisper: Path, tmp_path: Path) -> None:
    source = folder_of_sounds(tmp_path)
    summary = transcribe(TranscribeSettings(source=source, model=str(whisper)))
    assert (summary.written, summary.reused, summary.silent, summary.skipped) == (2, 0, 0, ())
    assert summary.metadata == tmp_path / "dataset.json"
    assert [
        (row["media_path"], row["caption"], row["speech"]) for row in rows(summary.metadata)
    ] == [
        ("a.wav", "caption a", SAID),
        ("b.wav", "caption b", SAID),
    ]
    made = preprocess(PreprocessSettings(summary.metadata, MINIATURE, "96x96x25"))
    assert [item.caption.text for item in read_index(made.root).items] == [
        f'caption a The voice says: "{SAID}"',
        f'caption b The voice says: "{SAID}"',
    ]


@needs_whisper
def test_texts_of_people_stay_and_nothing_is_done_twice(whisper: Path, tmp_path: Path) -> None:
    settings = TranscribeSettings(source=folder_of_sounds(tmp_path), model=str(whisper))
    path = transcribe(settings).metadata
    edited = rows(path)
    edited[0] |= {"speech": "what I heard", "caption": "mine"}
    path.write_text(json.dumps(edited, indent=2) + "\n", encoding="utf-8")
    noise(tmp_path / "c.wav")
    again = transcribe(settings.model_copy(update={"model": str(whisper)}))
    assert (again.written, again.reused) == (1, 2)
    assert [row["speech"] for row in rows(path)] == ["what I heard", SAID, SAID]
    assert rows(path)[0]["caption"] == "mine"
    none = transcribe(settings.model_copy(update={"model": str(tmp_path / "no model")}))
    assert (none.written, none.reused) == (0, 3)


@needs_whisper
def test_videos_other_files_and_silence(whisper: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "heard.mp4", KINDS["mono"])
    write_clip(tmp_path / "mute.mp4", None)
    write_clip(tmp_path / "apart.mp4", None)
    noise(tmp_path / "voice.wav")
    noise(tmp_path / "zeros.wav", 0.0)
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    source = metadata(
        tmp_path,
        [
            {"media_path": "heard.mp4", "caption": "a", "speech": "known"},
            {"media_path": "mute.mp4", "caption": "b"},
            {"media_path": "apart.mp4", "caption": "c", "audio": "voice.wav"},
            {"audio": "zeros.wav", "caption": "d"},
            {"audio": "text.wav", "caption": "e"},
            {"media_path": "gone.mp4", "caption": "f"},
        ],
    )
    events: list[Event] = []
    summary = transcribe(TranscribeSettings(source=source, model=str(whisper)), events.append)
    assert summary.metadata.name == "clips-transcribed.json"
    assert (summary.written, summary.reused, summary.silent) == (1, 1, 2)
    assert {name for name, _ in summary.skipped} == {"text.wav", "gone.mp4"}
    told = {event.name for event in events if isinstance(event, ClipSkipped)}
    assert told == {"text.wav", "gone.mp4"}
    written = {row["media_path"]: row for row in rows(summary.metadata)}
    assert written["apart.mp4"] == {
        "caption": "c",
        "media_path": "apart.mp4",
        "audio": "voice.wav",
        "speech": SAID,
    }
    assert written["heard.mp4"]["speech"] == "known"
    assert "speech" not in written["zeros.wav"]
    phases = {event.phase for event in events if isinstance(event, Progress)}
    assert {"load transcription model", "transcribe"} <= phases


@needs_whisper
def test_what_was_heard_before_a_stop_is_kept(whisper: Path, tmp_path: Path) -> None:
    class AfterOne:
        """Stops when the first clip is done."""

        done = 0

        def report(self, event: Event) -> None:
            self.done += isinstance(event, Progress) and event.phase == "transcribe" and event.done

        def is_set(self) -> bool:
            return self.done >= 1

    stop = AfterOne()
    settings = TranscribeSettings(source=folder_of_sounds(tmp_path), model=str(whisper))
    with pytest.raises(Cancelled):
        transcribe(settings, stop.report, stop)
    assert [row.get("speech") for row in rows(tmp_path / "dataset.json")] == [SAID, None]
    assert transcribe(settings).written == 1


@needs_whisper
def test_a_team_shares_the_sounds_and_the_first_one_writes_the_file(
    whisper: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        noise(tmp_path / f"{name}.wav")
    noise(tmp_path / "d.wav", level=0)
    settings = TranscribeSettings(source=tmp_path, model=str(whisper))
    summaries = share(2, lambda team: transcribe(settings, team=team))
    assert [(each.written, each.silent) for each in summaries] == [(2, 0), (1, 1)]
    found = {row["media_path"]: row.get("speech", "") for row in rows(tmp_path / "dataset.json")}
    assert found == {"a.wav": SAID, "b.wav": SAID, "c.wav": SAID, "d.wav": ""}
    assert not list(tmp_path.glob("*.jsonl"))
    again = share(2, lambda team: transcribe(settings, team=team))
    assert [each.written for each in again] == [0, 0]
    assert again[0].reused == 3


@needs_whisper
def test_texts_that_a_killed_process_left_are_not_heard_again(
    whisper: Path, tmp_path: Path
) -> None:
    settings = TranscribeSettings(source=folder_of_sounds(tmp_path), model=str(whisper))
    CaptionJournal(settings.metadata, 3, "speech").add(tmp_path / "b.wav", "left by another")
    summary = transcribe(settings)
    assert (summary.written, summary.reused) == (1, 1)
    assert [row["speech"] for row in rows(summary.metadata)] == [SAID, "left by another"]
    assert not list(tmp_path.glob("*.jsonl"))


@needs_whisper
@pytest.mark.long
def test_random_words_are_one_line_and_always_the_same(tmp_path: Path) -> None:
    model = write_tiny_whisper(tmp_path / "random")
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        source = folder_of_sounds(tmp_path / name)
        settings = TranscribeSettings(source=source, model=str(model), precision="int8")
        found.append([row.get("speech", "") for row in rows(transcribe(settings).metadata)])
    assert found[0] == found[1]
    assert all("\n" not in text for text in found[0])


@needs_whisper
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"model": "no such"},
            ModelError,
            "'no such': no such folder; expected one with a Whisper",
        ),
        ({"model": "."}, ModelError, "model.bin and config.json and tokenizer.json is missing"),
        ({"language": "xx"}, DataError, "language 'xx': .* knows "),
        ({"output": Path("out.csv")}, DataError, "expected a .json file"),
    ],
)
def test_what_cannot_be_done_is_said(
    whisper: Path,
    tmp_path: Path,
    options: dict[str, object],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = folder_of_sounds(tmp_path)
    given = {"source": source, "model": str(whisper)} | options
    with pytest.raises(error, match=message):
        transcribe(TranscribeSettings(**given))


@needs_whisper
def test_a_broken_model_is_an_error_that_names_it(whisper: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((whisper / name).read_bytes())
    (broken / "model.bin").write_bytes(b"no model")
    (tmp_path / "sounds").mkdir()
    settings = TranscribeSettings(source=folder_of_sounds(tmp_path / "sounds"), model=str(broken))
    with pytest.raises(ModelError, match="broken': can't be run"):
        transcribe(settings)


def test_without_the_package_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    source = folder_of_sounds(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"transcription needs faster-whisper: run `.*-m pip install faster-whisper`",
    ):
        transcribe(TranscribeSettings(source=source))
    assert not (tmp_path / "dataset.json").exists()
    assert main(["transcribe", str(source)]) != 0
    assert "-m pip install faster-whisper" in capsys.readouterr().err
