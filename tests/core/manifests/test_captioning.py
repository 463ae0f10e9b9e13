"""Captions by a vision-language model: a random tiny one of the real class, from a real folder."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ltxv_train_core.cli import main
from ltxv_train_core.config import CaptionSettings
from ltxv_train_core.errors import Cancelled, DataError, ModelError
from ltxv_train_core.events import Progress
from ltxv_train_core.manifests import captioning
from ltxv_train_core.manifests.captioning import sample_frames, write_captions
from ltxv_train_core.media.write import write_exact_video, write_video
from ltxv_train_core.models.captioner import VideoCaptioner
from tests.helpers.hub_server import HubServer, Repository
from tests.helpers.teams import share
from tests.helpers.tiny_captioner import write_tiny_captioner


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_captioner(tmp_path_factory.mktemp("captioner"))


def clip(level, frames=12):
    pixels = np.full((frames, 64, 96, 3), level, np.uint8)
    pixels[:, 16:48, 16:48] = 255 - level
    return pixels


@pytest.fixture
def media(tmp_path):
    """Three videos of which one has a .txt, an image, and a broken file."""
    folder = tmp_path / "media"
    for i, level in enumerate((30, 90, 200)):
        write_video(folder / f"{i}.mp4", clip(level), fps=12)
    (folder / "1.txt").write_text("my own words", encoding="utf-8")
    Image.fromarray(clip(60)[0]).save(folder / "3.png")
    (folder / "4.mp4").write_bytes(b"no video")
    return folder


def captions(path):
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {row["media_path"]: row["caption"] for row in rows}


def settings(source, model, **options):
    return CaptionSettings(source=source, model=str(model), **{"max_new_tokens": 6} | options)


def test_a_folder_is_captioned_on_the_command_line(media, model, capsys):
    command = ["caption", str(media), "--model", str(model), "--max-new-tokens", "6"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.strip().splitlines() == [
        "3 captions written, 1 reused, 1 skipped",
        str(media / "dataset.json"),
    ]
    assert "skipped 4.mp4" in err
    found = captions(media / "dataset.json")
    assert list(found) == ["0.mp4", "1.mp4", "2.mp4", "3.png", "4.mp4"]
    assert found["1.mp4"] == "my own words"
    assert found["4.mp4"] == ""
    assert len({found[name] for name in ("0.mp4", "2.mp4", "3.png")}) == 3


def test_captions_that_are_there_are_kept_with_what_people_changed(media, model, monkeypatch):
    write_captions(settings(media, model))
    path = media / "dataset.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0]["caption"] = ["edited by hand", "and another"]
    path.write_text(json.dumps(rows), encoding="utf-8")
    write_video(media / "5.mp4", clip(120), fps=12)
    (media / "4.mp4").unlink()
    summary = write_captions(settings(media, model))
    assert (summary.written, summary.reused, summary.skipped) == (1, 4, ())
    found = captions(path)
    assert found["0.mp4"] == ["edited by hand", "and another"]
    assert found["5.mp4"]
    assert "4.mp4" not in found
    monkeypatch.setattr(VideoCaptioner, "load", lambda *_: pytest.fail("a model was loaded"))
    assert write_captions(settings(media, model)).written == 0


def test_captions_of_files_that_are_missing_just_now_come_back(media, model):
    write_captions(settings(media, model))
    path = media / "dataset.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0]["caption"] = ["edited by hand", "and another"]
    path.write_text(json.dumps(rows), encoding="utf-8")
    (media / "0.mp4").rename(media.parent / "0.mp4")
    assert write_captions(settings(media, model)).written == 0
    assert "0.mp4" not in captions(path)
    (media.parent / "0.mp4").rename(media / "0.mp4")
    assert write_captions(settings(media, model)).written == 0
    assert captions(path)["0.mp4"] == ["edited by hand", "and another"]
    assert not (media / "dataset-left-out.json").exists()


def test_what_people_write_while_it_runs_is_kept(media, model):
    """Here by an editor that saves what it read before anything was described."""
    path = media / "dataset.json"

    def edit(event):
        if event == Progress("write captions", 1, 4, "clip"):
            rows = [{"media_path": f"{i}.mp4", "caption": ""} for i in range(3)]
            rows[1]["caption"] = "my other words"
            rows[2]["caption"] = "written meanwhile"
            path.write_text(json.dumps(rows), encoding="utf-8")

    write_captions(settings(media, model), edit)
    found = captions(path)
    assert found["1.mp4"] == "my other words"
    assert found["2.mp4"] == "written meanwhile"
    assert found["0.mp4"]
    assert found["3.png"]


def test_a_stopped_run_keeps_its_captions_and_goes_on(media, model):
    stop = threading.Event()

    def stop_after_one(event):
        if event == Progress("write captions", 1, 4, "clip"):
            stop.set()

    with pytest.raises(Cancelled):
        write_captions(settings(media, model), stop_after_one, stop)
    done = captions(media / "dataset.json")
    assert [name for name, caption in done.items() if caption] == ["0.mp4", "1.mp4", "2.mp4"]
    assert write_captions(settings(media, model)).written == 1


def test_metadata_keeps_its_rows_and_is_not_changed(media, model):
    rows = [
        {"text": "", "media_path": "0.mp4", "reference_path": "2.mp4"},
        {"text": "given", "media_path": "1.mp4", "reference_path": "3.png"},
    ]
    source = media / "data.json"
    source.write_text(json.dumps(rows), encoding="utf-8")
    summary = write_captions(settings(source, model, caption_column="text"))
    assert summary.metadata == media / "data-captioned.json"
    assert json.loads(source.read_text(encoding="utf-8")) == rows
    written = json.loads(summary.metadata.read_text(encoding="utf-8"))
    assert [row["reference_path"] for row in written] == ["2.mp4", "3.png"]
    assert written[0]["caption"]
    assert written[1]["caption"] == "given"
    with pytest.raises(DataError, match="not the source itself"):
        write_captions(settings(source, model, output=source))


@pytest.mark.parametrize("extra", [{"mask_path": "3.png"}, {"media_path": "../5.mp4"}])
def test_a_folders_metadata_with_more_than_captions_is_not_written_over(media, model, extra):
    write_video(media.parent / "5.mp4", clip(50), fps=12)
    path = media / "dataset.json"
    path.write_text(json.dumps([{"media_path": "0.mp4", "caption": "A"} | extra]), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"dataset\.json: has references.*give it as the source"):
        write_captions(settings(media, model))
    assert path.read_bytes() == before
    assert write_captions(settings(path, model)).reused == 1


def test_rows_of_one_clip_keep_their_own_captions(media, model):
    rows = [{"media_path": "0.mp4", "caption": text} for text in ("one", "two", "")]
    (media / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    for written in (1, 0):
        summary = write_captions(settings(media / "data.json", model))
        assert summary.written == written
        found = json.loads(summary.metadata.read_text(encoding="utf-8"))
        assert [row["caption"] for row in found[:2]] == ["one", "two"]


def test_metadata_needs_no_caption_column(media, model):
    (media / "list.csv").write_text("media_path\n0.mp4\n", encoding="utf-8")
    assert write_captions(settings(media / "list.csv", model)).written == 1


def test_the_instruction_and_the_frames_change_the_caption(model):
    captioner = VideoCaptioner.load(str(model))

    def say(level=30, instruction="Describe it.", **others):
        return captioner.caption(clip(level, **others), 2.0, instruction, 12)

    assert say() == say()
    assert len({say(), say(level=200), say(instruction="What moves?"), say(frames=1)}) == 4


def test_openings_are_removed_by_default(media, model, monkeypatch):
    answer = "The video shows  a red\ncircle."
    monkeypatch.setattr(VideoCaptioner, "caption", lambda *_: answer)
    write_captions(settings(media, model))
    assert captions(media / "dataset.json")["0.mp4"] == "a red circle."
    (media / "dataset.json").unlink()
    write_captions(settings(media, model, remove_llm_prefixes=False))
    assert captions(media / "dataset.json")["0.mp4"] == "The video shows a red circle."


def test_a_patch_of_a_video_holds_two_moments(model):
    """As in the layout [t, h/2, w/2, 2, 2, colour, moment, 14, 14] that the model was trained on."""
    captioner = VideoCaptioner.load(str(model))
    frames = np.random.default_rng(0).integers(0, 256, (5, 112, 140, 3), dtype=np.uint8)
    inputs = captioner.prepare(frames, fps=2.0, instruction="x")
    assert inputs["video_grid_thw"].tolist() == [[3, 8, 10]]
    assert inputs["second_per_grid_ts"].item() == 1.0
    pads = inputs["input_ids"] == captioner.tokenizer.convert_tokens_to_ids("<|video_pad|>")
    assert pads.sum() == 3 * 4 * 5
    mean = torch.tensor(captioner.images.image_mean)
    std = torch.tensor(captioner.images.image_std)
    pixels = (torch.from_numpy(frames) / 255 - mean) / std
    padded = torch.cat([pixels, pixels[-1:]]).permute(0, 3, 1, 2)
    parts = padded.reshape(3, 2, 3, 4, 2, 14, 5, 2, 14).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    expected = parts.reshape(3 * 8 * 10, 3 * 2 * 14 * 14)
    torch.testing.assert_close(inputs["pixel_values_videos"], expected, atol=1e-5, rtol=0)


def test_frames_are_spread_over_the_clip(tmp_path):
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 32, 32, 3))
    write_exact_video(tmp_path / "a.mp4", frames, fps=10)

    def seen(fps, most):
        found, rate = sample_frames(tmp_path / "a.mp4", fps, most)
        return found[:, 0, 0, 0].tolist(), rate

    assert seen(2.0, 32) == ([0, 6, 11, 17, 22, 28, 33, 39], 2.0)
    assert seen(2.0, 3) == ([0, 20, 39], 0.75)
    assert seen(60, 100) == (list(range(40)), 10.0)
    assert seen(0.1, 32)[0] == [0]


def test_what_is_no_model_is_said_before_anything_is_lost(media, tmp_path):
    with pytest.raises(ModelError, match=r"'\./nowhere': no such folder.*owner/name"):
        write_captions(settings(media, "./nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"can't be loaded as a Qwen2\.5-VL"):
        write_captions(settings(media, tmp_path / "empty"))
    assert captions(media / "dataset.json")["1.mp4"] == "my own words"


def test_a_model_of_the_hub_is_downloaded_with_progress_and_stops(
    media, model, monkeypatch, tmp_path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    hub, told, stop = HubServer(), [], threading.Event()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    hub.repositories["ada/qwen"] = Repository(False, files)

    def stop_at_the_first_bytes(event):
        told.append(event)
        if isinstance(event, Progress) and event.unit == "byte":
            stop.set()

    wanted = settings(media, "ada/qwen")
    with pytest.raises(Cancelled):
        write_captions(wanted, stop_at_the_first_bytes, stop)
    assert 0 < hub.sent < sum(map(len, files.values()))
    summary = write_captions(wanted, told.append)
    hub.close()
    assert summary.written == 3
    done = [event for event in told if isinstance(event, Progress) and event.unit == "byte"]
    assert (done[-1].done, done[-1].total) == (done[-1].total, sum(map(len, files.values())))
    assert Progress("load captioning model", 0, 1, "model") in told


class Quick(VideoCaptioner):
    """Needs no time, so that what is measured is the writing."""

    def __init__(self):
        pass

    def caption(self, frames, *options):
        return f"a clip of {frames.mean():.0f}"


def test_captions_of_many_clips_are_not_each_a_whole_file(tmp_path, monkeypatch):
    """A line in the journal for each, and the file now and then."""
    clips = 60
    for i in range(clips):
        Image.fromarray(clip(i)[0]).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(VideoCaptioner, "load", lambda *_: Quick())
    written = []
    write = captioning.write_edited
    monkeypatch.setattr(
        captioning, "write_edited", lambda path, rows: written.append(1) or write(path, rows)
    )
    summary = write_captions(settings(tmp_path, "x"))
    assert summary.written == clips
    assert len(written) == 3, "at the begin, and at the end"
    assert all(captions(summary.metadata).values())
    assert list(tmp_path.glob("*.jsonl")) == []


def test_the_file_is_written_every_half_minute(tmp_path, monkeypatch):
    for i in range(8):
        Image.fromarray(clip(i)[0]).save(tmp_path / f"{i}.png")
    now, seen = [0.0], []
    monkeypatch.setattr(VideoCaptioner, "load", lambda *_: Quick())
    monkeypatch.setattr(captioning.time, "monotonic", lambda: now[0])

    def report(event):
        if isinstance(event, Progress):
            now[0] += 12
            seen.append(sum(map(bool, captions(tmp_path / "dataset.json").values())))

    write_captions(settings(tmp_path, "x"), report)
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_captions_of_a_killed_process_are_found_in_its_journal(media, monkeypatch):
    """Even where it was killed in the middle of a line."""
    done = []

    class Killed(Quick):
        def caption(self, frames, *options):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(1)
            return f"caption {len(done)}"

    monkeypatch.setattr(VideoCaptioner, "load", lambda *_: Killed())
    writes = iter([captioning._Metadata.write])
    monkeypatch.setattr(captioning._Metadata, "write", lambda self: next(writes)(self))
    with pytest.raises((StopIteration, KeyboardInterrupt)):
        write_captions(settings(media, "x"))
    monkeypatch.undo()
    (journal,) = media.glob("*.jsonl")
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"media": "cut')
    assert not captions(media / "dataset.json")["0.mp4"]
    monkeypatch.setattr(VideoCaptioner, "load", lambda *_: Quick())
    summary = write_captions(settings(media, "x"))
    found = captions(summary.metadata)
    assert (found["0.mp4"], found["2.mp4"]) == ("caption 1", "caption 2")
    assert summary.written == 1
    assert list(media.glob("*.jsonl")) == []


def test_a_journal_of_somebody_else_is_left_alone(media, model):
    theirs = media / "dataset-new-captions-0.jsonl"
    theirs.write_text("my notes\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"this program has not written it"):
        write_captions(settings(media, model))
    assert theirs.read_text(encoding="utf-8") == "my notes\n"


def test_a_team_shares_the_clips_and_the_first_writes_the_file(media, model, tmp_path):
    """Two threads stand for two processes."""
    summaries = share(2, lambda team: write_captions(settings(media, model), team=team))
    assert [summary.written for summary in summaries] == [2, 1]
    alone = shutil.copytree(media, tmp_path / "alone", ignore=shutil.ignore_patterns("*.json"))
    write_captions(settings(alone, model))
    assert captions(media / "dataset.json") == captions(alone / "dataset.json")
    assert list(media.glob("*.jsonl")) == []
