"""Whether a run has learned the sound of its clips: its samples beside them, from a data set of the miniature."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.errors import DataError, LTXVTrainError
from ltxv_train_core.events import NeverStop, ignore
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items, generate
from ltxv_train_core.families.ltx2.miniature.scenes import FPS
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltx2.miniature.sounds import render_sound
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.publish.report.page import report_html
from ltxv_train_core.runs import RunFolder, RunState, RunWriter
from ltxv_train_core.voice import listen
from ltxv_train_core.voice.file import VOICE_FILE, picture_file, read_voice
from ltxv_train_core.voice.judge import judge
from ltxv_train_core.voice.listen import listen_to

SCENES = [item.scene for item in evaluation_items("stripes_and_beep", 0)][:3]
FRAMES = np.zeros((17, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A preprocessed data set of eight clips with a beep."""
    made = generate("beep", tmp_path_factory.mktemp("beep"), clips=8)
    return preprocess(PreprocessSettings(made.metadata, MINIATURE, "96x96x17")).root


@pytest.fixture
def make_run(tmp_path, data):
    """A finished run: its samples by step, each with the beep or without, or None where they are silent films."""

    def make(beeps, root=data, model=MINIATURE, **sections):
        run = RunFolder(tmp_path / "runs" / f"beep-{len(list(tmp_path.glob('runs/beep-*')))}")
        with RunWriter(run) as writer:
            writer.begin(RunState.new(steps=40))
            writer.move("running")
            writer.move("finished", step=40)
        values = {
            "model": {"model_source": model},
            "data": {"preprocessed_data_root": str(root)},
            "validation": {
                "prompts": [f"prompt <{number}>" for number in range(len(SCENES))],
                "video_dims": [96, 96, 17],
                "frame_rate": FPS,
            },
        }
        yaml_file.save(build(TrainingConfig, values | sections), run.config_file)
        for step, beep in beeps.items():
            run.samples(step).mkdir(parents=True)
            (run.samples(step) / "sheet.png").write_bytes(b"")
            for number, scene in enumerate(SCENES):
                sound = render_sound(scene, random.Random(number), beep=bool(beep))
                heard = None if beep is None else Sound(sound, 16_000)
                write_video(run.samples(step) / f"{number:03d}.mp4", FRAMES, FPS, sound=heard)
        return run

    return make


def test_what_was_learned_is_said(make_run):
    """And shown: before, after and the nearest clip, 250 pixels each."""
    run = make_run({0: False, 20: False, 40: True})
    voice = listen_to(run)
    with Image.open(picture_file(run)) as picture:
        assert picture.width == 2 * 8 + 3 * 250 + 2 * 16
        assert 3 * 140 + 150 < picture.height < 3 * 200 + 180
    assert voice.result == "learned"
    assert (voice.before_step, voice.step, voice.clips) == (0, 40, 8)
    assert voice.before > 2.5 > 1.6 > voice.distance
    assert 0.5 < voice.share <= 1
    assert 0.5 < voice.own < 1.5
    assert voice.nearer == 3
    assert len(voice.nearest) == 3
    assert all(each.clip.startswith("videos/") for each in voice.nearest)
    assert voice.text.startswith("The sound was learned: distance from the clips ")
    assert f"{voice.before:.1f} -> {voice.distance:.1f}" in voice.text
    assert "3 of 3 samples are nearer" in voice.text


@pytest.mark.long
def test_what_was_not_learned_is_said(make_run):
    voice = listen_to(make_run({0: False, 40: False}))
    assert voice.result == "not learned"
    assert voice.share == 0
    assert voice.text.startswith("The sound was not learned: ")


@pytest.mark.long
def test_a_base_that_sounds_so_already(make_run):
    assert listen_to(make_run({0: True, 40: True})).result == "near before"
    assert listen_to(make_run({0: True, 40: False})).result == "further"


@pytest.mark.long
def test_samples_of_one_step_tell_nothing_of_learning(make_run):
    voice = listen_to(make_run({40: True}))
    assert (voice.result, voice.before, voice.before_step, voice.share) == (
        "untold",
        None,
        None,
        None,
    )
    assert "skip_initial_validation" in voice.text
    assert voice.distance < 1.6


@pytest.mark.long
def test_some_of_the_way(make_run):
    """Between both: the levels of every band a third of the way."""
    run = make_run({0: False, 40: True})
    sets, config = run.sample_sets(), run.configuration()
    before, after = (listen._samples(each, config).features for each in sets)
    clips = listen._clips(config, None, ignore, NeverStop()).features
    mixed = [
        replace(b, level_db=b.level_db + 0.3 * (a.level_db - b.level_db))
        for a, b in zip(after, before, strict=True)
    ]
    assert judge(before, mixed, clips).result == "in part"


@pytest.mark.long
def test_on_the_command_line_and_on_the_runs_page(make_run, capsys, data):
    run = make_run({0: False, 40: True})
    place = ["--in", str(run.folder.parent), "--data", str(data.parent)]
    assert main(["runs", "voice", run.name, *place]) == 0
    text, picture = capsys.readouterr().out.splitlines()
    assert text == read_voice(run).text
    assert picture == str(picture_file(run))
    page = report_html(run)
    assert text.replace("->", "-&gt;") in page
    assert page.count('src="data:image/png;base64,') == 1
    picture_file(run).write_bytes(b"no picture")
    assert "data:image/png" not in report_html(run)
    (run.folder / VOICE_FILE).write_text("{}", encoding="utf-8")
    assert "<h2>Sound</h2>" not in report_html(run)


@pytest.mark.long
def test_a_damaged_file_is_none(make_run):
    run = make_run({40: True})
    listen_to(run)
    found = json.loads((run.folder / VOICE_FILE).read_text(encoding="utf-8"))
    damages = (
        {"result": "splendid"},
        {"distance": float("nan")},
        {"clips": 0},
        {"text": "x" * 5000},
    )
    for change in damages:
        assert change.keys() <= found.keys()
        (run.folder / VOICE_FILE).write_text(json.dumps(found | change), encoding="utf-8")
        assert read_voice(run) is None, change


@pytest.mark.long
def test_what_can_not_be_listened_to_is_said(make_run, tmp_path, stripes_data):
    with pytest.raises(DataError, match=r"it has no samples; set validation.prompts"):
        listen_to(make_run({}))
    with pytest.raises(DataError, match=r"has no sound; only runs of a model with sound"):
        listen_to(make_run({0: None, 40: None}))
    with pytest.raises(DataError, match=r"its clips have no sound"):
        listen_to(make_run({0: False, 40: True}, root=stripes_data))
    with pytest.raises(DataError, match=r"no such folder"):
        listen_to(make_run({0: False, 40: True}, root=tmp_path / "gone"))
    with pytest.raises(LTXVTrainError, match=r"models of LTX-Video have no sound"):
        listen_to(make_run({0: False, 40: True}, model="LTXV_MINIATURE"))
    alone = make_run({0: False}, conditioning={"modalities": "video"})
    with pytest.raises(DataError, match=r"conditioning.modalities is video"):
        listen_to(alone)


def test_silent_clips_have_no_sound_to_learn(make_run, tmp_path):
    clips = tmp_path / "silent"
    (clips / "videos").mkdir(parents=True)
    frames = np.full((17, 96, 96, 3), 90, np.uint8)
    write_video(clips / "videos" / "a.mp4", frames, FPS)
    (clips / "videos" / "a.txt").write_text("a grey field", encoding="utf-8")
    root = preprocess(PreprocessSettings(clips / "videos", MINIATURE, "96x96x17")).root
    with pytest.raises(DataError, match=r"its clips are silent"):
        listen_to(make_run({0: False, 40: True}, root=root))
