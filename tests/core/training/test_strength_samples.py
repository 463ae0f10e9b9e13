"""A LoRA at several strengths in one sheet, on the command line."""

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.cli import main
from ltxv_train_core.config import yaml_file
from ltxv_train_core.media.video import iterate_frames
from tests.helpers.short_run import run

SMALL = {"video_dims": (96, 96, 9), "inference_steps": 2, "interval": None, "guidance_scale": 1.0}
PROMPTS = ("a red circle", "a blue square")


@pytest.fixture
def trained(training_config, tmp_path):
    """A configuration file with prompts, and a LoRA of it."""
    config = training_config(
        optimization={"steps": 3, "learning_rate": 2e-2}, validation=SMALL | {"prompts": PROMPTS}
    )
    path = tmp_path / "config.yaml"
    yaml_file.save(config, path)
    return path, run(config)[0].lora_file


def frames(folder, strength, number=0):
    path = folder / f"strength-{strength}" / f"{number:03d}.mp4"
    return np.stack(list(iterate_frames(path))).astype(float)


@pytest.mark.long
def test_stronger_changes_more_and_all_are_on_one_sheet(trained, tmp_path, capsys):
    config, lora = trained
    arguments = ["samples", str(config), str(lora), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--strengths", "0", "0.5", "1.5"]) == 0
    sheet = tmp_path / "out" / "sheet.png"
    assert capsys.readouterr().out.strip() == str(sheet)
    base, half, more = (frames(tmp_path / "out", each) for each in ("0", "0.5", "1.5"))
    assert 0 < np.abs(half - base).mean() < np.abs(more - base).mean()
    with Image.open(sheet) as six:
        assert six.height > 6 * 96
    # Two halves of one LoRA are the whole of it.
    again = ["samples", str(config), str(lora), "--prompt", PROMPTS[0], "--output"]
    assert main([*again, str(tmp_path / "sum"), "--strengths", "0.5", "--add", f"{lora}=1"]) == 0
    assert np.abs(frames(tmp_path / "sum", "0.5") - more).mean() < 1
    assert not (tmp_path / "sum" / "strength-0.5" / "001.mp4").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "validation.prompts=[]"], "validation.prompts: there are none to sample"),
        (["--strengths", "1", "1.0"], "one is given twice"),
        (["--strengths", "nan"], "strength nan: give a number"),
    ],
    ids=lambda each: each[0],
)
def test_what_can_not_be_sampled_is_said(trained, tmp_path, capsys, options, told):
    config, lora = trained
    arguments = ["samples", str(config), str(lora), "--output", str(tmp_path / "out"), *options]
    assert main(arguments) == 2
    assert told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--add", "style=strong"])
    assert "expected LORA=STRENGTH" in capsys.readouterr().err
