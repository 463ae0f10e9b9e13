import csv
import json

import numpy as np
import pytest

from ltxv_train_core.errors import Cancelled, DataError
from ltxv_train_core.families.ltxv.miniature import clips
from ltxv_train_core.families.ltxv.miniature.datasets import evaluation_items, generate, mirror
from ltxv_train_core.families.ltxv.miniature.tasks import DATASETS, TASKS
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.video import probe, read_frames

SIZE = VideoSize(96, 96, 17)


@pytest.mark.parametrize("name", DATASETS)
def test_the_metadata_agrees_and_its_files_exist(name, tmp_path):
    events = []
    dataset = generate(name, tmp_path, clips=3, report=events.append)
    rows = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    lines = (tmp_path / "dataset.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    with (tmp_path / "dataset.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    columns = ["caption", "media_path"] + (["reference_path"] if name == "mirror" else [])
    assert [list(row) for row in rows] == [columns] * 3
    for row in rows:
        for column in columns[1:]:
            info = probe(tmp_path / row[column])
            assert (info.width, info.height, info.frames, info.fps) == (96, 96, 17, 25)
    assert [event.done for event in events] == [1, 2, 3]


def test_captions_say_what_the_task_leaves_to_the_prompt(tmp_path):
    for name, motion in (("stripes", True), ("plain", True), ("up", False), ("mirror", False)):
        dataset = generate(name, tmp_path / name, clips=1)
        (row,) = json.loads(dataset.metadata.read_text(encoding="utf-8"))
        assert (" moves " in row["caption"]) == motion
        assert all((" moves " in item.prompt) == motion for item in dataset.evaluation)


@pytest.mark.parametrize("name", DATASETS)
def test_no_clip_shows_a_combination_of_the_evaluation(name, tmp_path):
    dataset = generate(name, tmp_path, clips=12, seed=3)
    rows = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    without_motion = {clips.caption(i.spec, with_motion=False) for i in dataset.evaluation}
    assert len(without_motion) == 16
    for row in rows:
        words = row["caption"].split()
        assert " ".join(w for w in words if w not in ("moves", *clips.DIRECTIONS)) not in (
            without_motion
        )


def test_a_reference_is_the_mirrored_silhouette():
    for item in evaluation_items("mirror"):
        silhouette = clips.render(item.spec, "silhouette").frames
        np.testing.assert_allclose(item.reference[:, :, ::-1].astype(int), silhouette, atol=1)
        mirrored = clips.render(mirror(item.spec)).frames[:, :, ::-1]
        np.testing.assert_allclose(mirrored.astype(int), clips.render(item.spec).frames, atol=1)


def test_the_files_show_the_clips(tmp_path):
    dataset = generate("mirror", tmp_path, clips=1)
    (row,) = json.loads(dataset.metadata.read_text(encoding="utf-8"))
    video = read_frames(tmp_path / row["media_path"], SIZE)
    reference = read_frames(tmp_path / row["reference_path"], SIZE)
    mask = reference[:, :, ::-1, 1] > 128
    color = clips.COLORS[row["caption"].split()[1]]
    assert np.abs(np.median(video[mask], axis=0) - color).max() < 12


def test_up_moves_up():
    assert TASKS["up"].motion == "up"
    assert {item.spec.motion for item in evaluation_items("up")} == {"up"}


def test_the_seed_decides_about_clips_and_evaluation(tmp_path):
    first, again, other = (
        generate("plain", tmp_path / str(i), clips=2, seed=seed) for i, seed in enumerate((0, 0, 1))
    )
    texts = [d.metadata.read_text(encoding="utf-8") for d in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]
    prompts = [[item.prompt for item in d.evaluation] for d in (first, again, other)]
    assert prompts[0] == prompts[1] != prompts[2]
    assert prompts[0] == [item.prompt for item in evaluation_items("plain", 0)]


def test_what_cannot_be_generated_is_said(tmp_path):
    with pytest.raises(DataError, match=r"'spots'.*stripes, mirror, up, plain"):
        generate("spots", tmp_path)
    with pytest.raises(DataError, match="at least 1"):
        generate("plain", tmp_path, clips=0)


def test_generating_stops_on_request(tmp_path):
    class Stop:
        def is_set(self):
            return True

    with pytest.raises(Cancelled):
        generate("plain", tmp_path, stop=Stop())
    assert not (tmp_path / "dataset.json").exists()
