import json

import numpy as np
import pytest
import torch

from ltxv_train_core.errors import DataError
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature.datasets import (
    DATASETS,
    TASKS,
    evaluation_items,
    generate,
)
from ltxv_train_core.families.ltx2.miniature.hearing import beep_db, listen
from ltxv_train_core.families.ltx2.miniature.scenes import caption, is_held_out
from ltxv_train_core.families.ltx2.miniature.sounds import PITCHES_HZ
from ltxv_train_core.families.ltxv.miniature.clips import COLORS
from ltxv_train_core.media.sound import read_sound
from ltxv_train_core.media.video import probe

PLAIN = [name for name in DATASETS if not TASKS[name].mirrored]


@pytest.mark.parametrize("name", PLAIN)
def test_clips_show_and_sound_as_their_captions_say(name, tmp_path):
    dataset = generate(name, tmp_path, clips=4)
    rows = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [["caption", "media_path"]] * 4
    beeps = []
    for row in rows:
        path = tmp_path / row["media_path"]
        info = probe(path)
        assert (info.width, info.height, info.frames, info.fps) == (96, 96, 17, 12)
        sound = read_sound(path, 16000, 17 / 12)
        mel = log_mel(torch.from_numpy(sound.samples))[:, :137].numpy()
        words = row["caption"].replace(",", "").split()
        found = listen(mel)
        assert found.color == words[1]
        assert found.motion == words[words.index("moves") + 1]
        assert (found.level, found.timbre) == (words[-3], words[-1])
        assert found.pitch_hz == pytest.approx(PITCHES_HZ[words[1]], rel=0.02)
        beeps.append(beep_db(mel))
    assert (np.mean(beeps) > 30) == ("beep" in name)


def heard_in(path):
    sound = read_sound(path, 16000, 17 / 12)
    return listen(log_mel(torch.from_numpy(sound.samples))[:, :137].numpy())


def test_a_reference_has_the_clip_s_pitch_and_the_mirrored_motion(tmp_path):
    """Captions name neither: they come from the reference alone."""
    dataset = generate("mirror_with_sound", tmp_path, clips=6)
    rows = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    opposite = {"left": "right", "right": "left", "up": "up", "down": "down"}
    moved = set()
    for row in rows:
        assert list(row) == ["caption", "media_path", "reference_path", "reference_audio"]
        assert row["reference_path"] == row["reference_audio"]
        assert not {*row["caption"].split()} & {*COLORS, "moves", "hum", "buzz"}
        clip, reference = (heard_in(tmp_path / row[c]) for c in ("media_path", "reference_audio"))
        assert reference.color == clip.color
        assert reference.motion == opposite[clip.motion]
        moved.add(clip.motion)
    assert len(moved) > 1
    item = dataset.evaluation[0]
    assert item.reference.shape == (17, 96, 96, 3)
    assert listen(
        log_mel(torch.from_numpy(item.reference_sound).float())[:, :137].numpy()
    ).color == (item.scene.clip.color)


def test_no_clip_shows_a_combination_of_the_evaluation(tmp_path):
    dataset = generate("plain", tmp_path, clips=10, seed=3)
    rows = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    still = {
        caption(item.scene, with_motion=False, with_sound=False) for item in dataset.evaluation
    }
    assert len(still) == 16
    for row in rows:
        words = row["caption"].split(",")[0].split()
        at = words.index("moves")
        assert " ".join(words[:at] + words[at + 2 :]) not in still


def test_the_seed_decides_and_held_out_prompts_can_be_asked_for():
    prompts = [[item.prompt for item in evaluation_items("plain", seed)] for seed in (0, 0, 1)]
    assert prompts[0] == prompts[1] != prompts[2]
    held = evaluation_items("plain", count=12, held_out=True)
    assert all(is_held_out(item.scene.clip) for item in held)


def test_what_cannot_be_generated_is_said(tmp_path):
    with pytest.raises(DataError, match=r"'hum'.*stripes_and_beep, stripes, beep, plain"):
        generate("hum", tmp_path)
    with pytest.raises(DataError, match="at least 1"):
        generate("plain", tmp_path, clips=0)
