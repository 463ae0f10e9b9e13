"""Listening to a run over HTTP, with a data set in ComfyUI's input folder."""

import random
import shutil
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.families.ltx2.miniature.datasets import evaluation_items, generate
from ltxv_train_core.families.ltx2.miniature.scenes import FPS
from ltxv_train_core.families.ltx2.miniature.sounds import render_sound
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder, RunState, RunWriter
from tests.host import Host
from tests.nodes.test_routes import ask, post

MINIATURE = "LTX2_MINIATURE"


@pytest.mark.long
def test_a_run_is_listened_to(host: Host) -> None:
    clips = generate("beep", host.base / "input" / "heard", clips=6)
    root = preprocess(PreprocessSettings(clips.metadata, MINIATURE, "96x96x17")).root
    run = RunFolder(host.base / "output" / "ltxv_train" / "heard-0123")
    with RunWriter(run) as writer:
        writer.begin(RunState.new(steps=8))
        writer.move("running")
        writer.move("finished", step=8)
    sections = {
        "model": {"model_source": MINIATURE},
        "data": {"preprocessed_data_root": str(root)},
        "validation": {"prompts": ["a"], "video_dims": [96, 96, 17], "frame_rate": FPS},
    }
    yaml_file.save(build(TrainingConfig, sections), run.config_file)
    scene = evaluation_items("beep", 0)[0].scene
    for step in (0, 8):
        run.samples(step).mkdir(parents=True)
        (run.samples(step) / "sheet.png").write_bytes(b"")
        sound = Sound(render_sound(scene, random.Random(1), beep=step > 0), 16_000)
        frames = np.zeros((17, 32, 32, 3), np.uint8)
        write_video(run.samples(step) / "000.mp4", frames, FPS, sound=sound)
    url = f"/ltxv_train/runs/{quote(run.name)}/voice"
    try:
        found = post(host, url).json["voice"]
        assert found["result"] == "learned", found
        assert found["before"] > 2 * found["distance"]
        assert ask(host, url).json == {"voice": found}
        assert ask(host, f"{url}/picture").content.startswith(b"\x89PNG")
    finally:
        shutil.rmtree(run.folder)


def test_a_folder_that_is_not_allowed_is_said_without_a_node(host: Host, tmp_path: Path) -> None:
    clips = generate("beep", tmp_path / "heard", clips=2)
    root = preprocess(PreprocessSettings(clips.metadata, MINIATURE, "96x96x17")).root
    run = RunFolder(host.base / "output" / "ltxv_train" / "heard-9876")
    with RunWriter(run) as writer:
        writer.begin(RunState.new(steps=8))
        writer.move("running")
        writer.move("finished", step=8)
    sections = {
        "model": {"model_source": MINIATURE},
        "data": {"preprocessed_data_root": str(root)},
        "validation": {"prompts": ["a"], "video_dims": [96, 96, 17], "frame_rate": FPS},
    }
    yaml_file.save(build(TrainingConfig, sections), run.config_file)
    run.samples(8).mkdir(parents=True)
    (run.samples(8) / "sheet.png").write_bytes(b"")
    sound = Sound(np.zeros((2, 16000), np.float32), 16_000)
    write_video(run.samples(8) / "000.mp4", np.zeros((17, 32, 32, 3), np.uint8), FPS, sound=sound)
    try:
        answer = post(host, f"/ltxv_train/runs/{quote(run.name)}/voice")
        assert answer.status == 409
        told = answer.json["error"]
        assert told.startswith("the run has files in ")
        assert f'allow --folder "{root}' in told
        assert "this graph" not in told
    finally:
        shutil.rmtree(run.folder)
