import json

import numpy as np
import pytest
import torch

from ltxv_train_core.errors import DataError
from ltxv_train_core.families.ltx2.mel import log_mel
from ltxv_train_core.families.ltx2.miniature.datasets import (
    DATASETS,
    evaluation_items,
    generate,
)
from ltxv_train_core.families.ltx2.miniature.hearing import beep_db, listen
from ltxv_train_core.families.ltx2.miniature.scenes import caption, is_held_out
from ltxv_train_core.families.ltx2.miniature.sounds import PITCHES_HZ
from ltxv_train_core.media.sound import read_sound
from ltxv_train_core.media.video import probe


@pytest.mark.parametrize("name", DATASETS)
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
