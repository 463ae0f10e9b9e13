"""The whole job, with a real effect: the numbers that the miniature promises."""

import json

import pytest
import torch
from PIL import Image

from ltxv_train_core.demo import recipe
from ltxv_train_core.demo.report import DemoReport
from ltxv_train_core.demo.run import run_demo
from ltxv_train_core.families.ltxv.miniature import weights

pytestmark = pytest.mark.slow

SHORTER = {"stripes": {"steps": 100, "batch_size": 4}, "mirror": {"steps": 260, "batch_size": 4}}
"""The promised numbers are reached sooner than the demo ends."""


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    whole = recipe.training_config

    def training_config(task, *arguments):
        config = whole(task, *arguments)
        optimization = config.optimization.model_copy(update=SHORTER[task])
        return config.model_copy(update={"optimization": optimization})

    monkeypatch.setattr(recipe, "training_config", training_config)


def learned_stripes(report: DemoReport) -> bool:
    return (
        abs(report.score_before) < 0.06
        and report.score_after >= 0.30
        and report.fidelity["background"] >= 0.8
        and report.fidelity["colour"] >= 0.8
        and report.fidelity["motion"] >= 0.6
    )


def test_a_lora_learns_stripes_and_keeps_to_the_prompt(tmp_path):
    report = run_demo("stripes", tmp_path)
    assert learned_stripes(report), report
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["score_after"] == report.score_after
    assert report.seconds["train"] < report.seconds["total"]
    assert 0 < report.peak_memory_bytes < 2e9
    for name in ("before_after.png", "loss.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) >= 200


@pytest.mark.long
def test_an_ic_lora_learns_to_mirror_its_reference(tmp_path):
    report = run_demo("mirror", tmp_path)
    assert report.score_before < 0.40, report
    assert report.score_after >= 0.55, report
    assert report.score_after - report.score_before >= 0.2, report


@pytest.mark.long
def test_without_a_trained_base_the_same_job_fails(tmp_path):
    """The control: stripes alone can be learned on random weights, the prompt can't."""
    base = tmp_path / "base"
    torch.manual_seed(0)
    weights.new_transformer().save_pretrained(base / "transformer")
    weights.load_vae().save_pretrained(base / "vae")
    weights.load_text_encoder().save_pretrained(base / "text_encoder")
    weights.load_tokenizer().save_pretrained(base / "tokenizer")
    index = '{"_class_name": "LTXConditionPipeline"}'
    (base / "model_index.json").write_text(index, encoding="utf-8")
    report = run_demo("stripes", tmp_path, model_source=str(base))
    assert not learned_stripes(report), report
