"""What training takes on each card, told before anything is downloaded."""

import json
import re
from pathlib import Path

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.recipes.clips import Clips
from ltxv_train_core.recipes.estimates import RunBytes, card_estimates, table
from ltxv_train_core.training.trainer import train
from ltxv_train_core.units import GIB

SIZE = VideoSize(768, 448, 89)
CARDS = (8, 16, 24, 80)


def estimates(model, goal="style", size=SIZE):
    return card_estimates(model, goal, size, 24.0, CARDS)


def test_what_a_card_lacks_is_saved_or_waits_in_host_memory():
    small, *_, large = estimates("LTXV_13B_097_DEV")
    assert small.settings == (
        "checkpointing, adamw8bit, nf4, activations in host memory, 24 blocks in host memory"
    )
    assert large.settings == "nothing saved"
    for each in (small, large):
        assert each.needs.device == each.proposal.memory
        assert each.needs.device.total <= each.proposal.usable_bytes
    # 13 billion numbers, in two bytes each; what is not on the card is on the host.
    assert large.needs.device.base == pytest.approx(2 * 13.04e9, rel=0.001)
    assert large.needs.host == 0
    # In 8 bits and less than a half more for scales, and what checkpointing keeps of all but three blocks.
    waiting = 2.0 * 4032 * 4096 * (48 - 3)
    whole = small.needs.host - waiting + small.needs.device.base
    assert whole == pytest.approx(13.04e9 * (4 + 0.127) / 8, rel=0.05)


def test_a_card_on_which_nothing_fits_says_what_would():
    first, *_, last = estimates("LTXV_13B_097_DEV", "full")
    assert (first.proposal, first.needs, first.settings) == (None, None, "does not fit")
    assert "What would fit:" in first.problem
    assert "a LoRA" in first.problem
    assert last.settings == "does not fit"
    lines = table([first]).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3
    assert lines[2].startswith("| 8 GB |")
    assert lines[2].endswith("| does not fit |")


def test_the_disk_that_a_run_takes_is_what_it_writes(training_config):
    config = training_config(
        optimization={"steps": 6, "ema_decay": 0.9},
        checkpoints={"interval": 2, "keep_last_n": 1, "write_kohya": True},
        lora={"rank": 16, "alpha": 16},
    )
    run = train(config).lora_file.parent.parent
    needs = RunBytes.of(config, Clips.alike(1, VideoSize(96, 64, 9), 24.0, LTXV)).disk
    written = [path.stat().st_size for path in (run / "weights").glob("*.safetensors")]
    assert (needs.files, needs.checkpoints) == (3, 2)
    assert sum(written) == pytest.approx(
        needs.files * needs.file, rel=0.25
    )  # heads of a small file
    (kept,) = (run / "checkpoints").iterdir()
    size = sum(path.stat().st_size for path in kept.iterdir())
    assert size == pytest.approx(needs.checkpoint, rel=0.25)


def test_the_command_answers_for_models_and_for_a_configuration(tmp_path, capsys, training_config):
    assert main(["estimate", "LTXV_2B_0.9.6_DEV", "--cards", "12", "24", "--json"]) == 0
    (cards,) = json.loads(capsys.readouterr().out).values()
    assert [card["card_gb"] for card in cards] == [12, 24]
    assert cards[0]["device"]["base"] == 2 * 1_923_385_472
    assert main(["estimate"]) == 0
    told = capsys.readouterr().out
    assert "LTXV_2B_0.9.0, goal style" in told
    assert "LTXV_13B_097_DEV, goal style" in told
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: {model_source: LTXV_2B_0.9.6_DEV}\ndata: {preprocessed_data_root: none}\n"
    )
    assert main(["estimate", str(file), "--size", "512x512x49"]) == 0
    lines = dict(line.strip().rsplit("  ", 1) for line in capsys.readouterr().out.splitlines())
    parts = {name.strip(): size.strip() for name, size in lines.items()}
    assert parts["base"] == "3.6 GiB"
    assert parts["host memory"] == "0 B"
    assert main(["estimate", str(file), "--size", "100x100x10"]) == 2
    assert "the nearest is 96x96x9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cards", "0"], "--cards 0: expected a finite number above 0"),
        (["--fps", "-1"], "--fps -1.0: expected a finite number above 0"),
        (["--fps", "inf"], "--fps inf: expected a finite number above 0"),
        (["a.yaml", "b.yaml"], "a.yaml, b.yaml: expected one configuration, or models"),
        (["--size", "100x100x10"], "the nearest is 96x96x9"),
        (["--size", "large"], "video size 'large': expected WIDTHxHEIGHTxFRAMES"),
    ],
)
def test_what_is_wrong_is_named(arguments, named, capsys):
    assert main(["estimate", *arguments]) == 2
    captured = capsys.readouterr()
    assert named in captured.out + captured.err


def test_the_page_about_memory_shows_what_the_command_says():
    page = (Path(__file__).parents[3] / "docs" / "memory.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if re.match(r"\| \d+ GB \|", line)]
    rows = [each.row() for each in estimates("LTXV_13B_097_DEV")]
    without_disk = [(*row[:7], row[8]) for row in rows]
    told = [" ".join(f"| {cell} |" for cell in row).replace("| |", "|") for row in without_disk]
    assert [line.replace("| | ", "| 0 B | ") for line in shown] == told


def test_more_memory_never_takes_leaner_settings():
    totals = [each.needs.device.total / GIB for each in estimates("LTXV_2B_0.9.6_DEV")]
    assert totals == sorted(totals)


def test_a_configuration_counts_what_it_offloads():
    values = {
        "model": {"model_source": "LTXV_13B_097_DEV"},
        "data": {"preprocessed_data_root": "x"},
        "acceleration": {"blocks_to_offload": 24},
    }
    clips = Clips.alike(1, SIZE, 24.0, LTXV)
    part = RunBytes.of(TrainingConfig.model_validate(values), clips)
    whole = RunBytes.of(TrainingConfig.model_validate(values | {"acceleration": {}}), clips)
    # Of 48 blocks 24 wait, two of them on the device; little of the model is in no block.
    assert part.host == pytest.approx(22 / 48 * 26.08e9, rel=0.02)
    assert part.host + part.device.base == whole.device.base
