"""Which device the work is done on, and who says so."""

import os
import subprocess
import sys

import pytest
import torch

from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.models import device
from ltxv_train_core.models.device import default_device, use_device
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.training.preflight import problems


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    yield
    use_device(None)


def test_the_one_who_starts_the_work_chooses(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
    assert default_device() == torch.device("xpu")
    monkeypatch.setenv(device.VARIABLE, "cuda:1")
    assert default_device() == torch.device("cuda", 1)
    use_device(torch.device("cpu"))  # as ComfyUI does with --cpu
    assert default_device() == torch.device("cpu")


def test_a_process_that_works_for_this_one_computes_on_the_same_device():
    use_device(torch.device("cuda", 1))
    code = "from ltxv_train_core.models.device import default_device; print(default_device())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | device.device_environment(),
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "cuda:1"


def test_a_kind_that_nobody_tried_is_refused_by_name(training_config, write_clip, tmp_path):
    use_device(torch.device("privateuseone"))
    (line,) = problems(training_config())
    assert "of the kind privateuseone (DirectML)" in line
    assert "Start ComfyUI with --cpu" in line
    write_clip("a.mp4")
    (tmp_path / "a.txt").write_text("a clip", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="DirectML"):
        preprocess(PreprocessSettings(tmp_path, "LTXV_MINIATURE", "64x64x9"))


def test_a_name_that_is_no_device_is_told(monkeypatch):
    monkeypatch.setenv(device.VARIABLE, "gpu")
    with pytest.raises(ConfigurationError, match="LTXV_TRAIN_DEVICE 'gpu': is no device"):
        default_device()
