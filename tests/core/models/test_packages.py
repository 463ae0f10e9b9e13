"""Packages that single options need are named with the command that installs them."""

import logging
import sys

import pytest
import torch

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.models import packages
from ltxv_train_core.training.capabilities import unavailable_here

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("module", "package", "section", "options"),
    [
        (
            "prodigyopt",
            "prodigyopt",
            "optimization",
            {"optimizer_type": "prodigy", "learning_rate": 1.0},
        ),
        (
            "schedulefree",
            "schedulefree",
            "optimization",
            {"optimizer_type": "adamw_schedulefree", "scheduler_type": "constant"},
        ),
        ("bitsandbytes.optim", "bitsandbytes", "optimization", {"optimizer_type": "adamw8bit"}),
        ("bitsandbytes.nn", "bitsandbytes", "acceleration", {"load_text_encoder_in_8bit": True}),
    ],
)
def test_a_missing_package_is_named(module, package, section, options, monkeypatch):
    values = {"data": {"preprocessed_data_root": "x"}, section: options}
    monkeypatch.setitem(sys.modules, module, None)
    (line,) = unavailable_here(build(TrainingConfig, values), CPU)
    assert line.startswith(f"{section}.{next(iter(options))}: ")
    assert (
        f"needs the package {package}: run `{sys.executable} -m pip install {package}`; or " in line
    )


def test_versions_that_were_not_tested_are_named(monkeypatch):
    tested = {"torch": ("1.0", "1.9"), "numpy": ("0.1", "999.0"), "no-such-package": ("1.0", "2.0")}
    monkeypatch.setattr(packages, "TESTED", tested)
    (line,) = packages.untested_versions()
    assert line.startswith(f"torch {torch.__version__.partition('+')[0]}")
    assert "was tested with 1.0 to 1.9" in line
    monkeypatch.setattr(packages, "TESTED", {"numpy": ("998.0", "999.0")})
    assert len(packages.untested_versions()) == 1


def test_lines_of_others_that_read_like_errors_are_dropped(caplog):
    packages.drop_irrelevant_lines()
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "x")
    logger.warning("something else")
    assert [record.message for record in caplog.records] == ["something else"]
