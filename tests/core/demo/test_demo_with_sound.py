"""The whole job on the miniature that hears, with a real effect on what is seen and on what is heard."""

import json

import av
import pytest
import torch

from ltxv_train_core.demo.report import SoundDemoReport, format_report
from ltxv_train_core.demo.with_sound import run_demo_with_sound
from ltxv_train_core.families.ltx2.miniature import weights

pytestmark = pytest.mark.minutes


def learned_stripes(report: SoundDemoReport) -> bool:
    before, after = report.score_before["stripes"], report.score_after["stripes"]
    return abs(before) < 0.06 and after >= 0.30


def learned_the_beep(report: SoundDemoReport) -> bool:
    before, after = report.score_before["beep_db"], report.score_after["beep_db"]
    return abs(before) < 3 and after >= 20


def still_follows_prompts(report: SoundDemoReport) -> bool:
    least = {"background": 0.9, "colour": 0.6, "motion": 0.8, "pitch": 0.9, "glide": 0.7}
    return all(report.fidelity[name] >= share for name, share in least.items())


def test_it_learns_what_is_seen_and_what_is_heard(tmp_path):
    report = run_demo_with_sound(tmp_path)
    assert learned_stripes(report), report
    assert learned_the_beep(report), report
    assert still_follows_prompts(report), report
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["score_after"] == report.score_after
    assert written["seconds"]["total"] > 0
    assert f"{report.score_after['beep_db']:.3f}" in format_report(report)
    assert (tmp_path / "before_after.png").stat().st_size > 0
    with av.open(str(tmp_path / "samples" / "000_after.mp4")) as container:
        assert (len(container.streams.video), len(container.streams.audio)) == (1, 1)


@pytest.mark.parametrize(
    ("task", "seen", "heard"), [("stripes", True, False), ("beep", False, True)]
)
def test_it_learns_nothing_that_the_clips_do_not_have(tmp_path, task, seen, heard):
    """Clips with stripes and plain sounds, and plain pictures with a beep."""
    report = run_demo_with_sound(tmp_path, task=task)
    assert learned_stripes(report) is seen, report
    assert learned_the_beep(report) is heard, report
    assert abs(report.score_after["beep_db"]) < 3 or heard
    assert abs(report.score_after["stripes"]) < 0.06 or seen


def test_random_weights_do_not_pass(tmp_path, monkeypatch):
    def random_transformer(dtype=torch.float32, folder=None):
        torch.manual_seed(0)
        return weights.new_transformer().to(dtype).eval()

    monkeypatch.setattr(weights, "load_transformer", random_transformer)
    report = run_demo_with_sound(tmp_path)
    assert not learned_the_beep(report)
    assert not still_follows_prompts(report)
