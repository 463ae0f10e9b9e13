"""Widget, YAML, --set and the reference page say the same of every option."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ltxv_train_core import config
from ltxv_train_core.config import SECTIONS, Option, TrainingConfig, yaml_file

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "configuration.md"
OPTIONS = [
    pytest.param(name, option, id=f"{name}.{option.name}")
    for name, section in SECTIONS.items()
    for option in config.options(section)
]
# What has to be set too, so that another value than the default contradicts nothing.
TOGETHER: dict[str, dict[str, Any]] = {
    "validation.images": {"validation": {"prompts": ["a"]}},
    "validation.reference_videos": {
        "validation": {"prompts": ["a"]},
        "conditioning": {"mode": "reference_video"},
    },
    **{f"validation.{name}": {"validation": {"prompts": ["a"]}} for name in ("audios", "videos")},
    "validation.reference_audios": {
        "validation": {"prompts": ["a"]},
        "conditioning": {"mode": "reference_audio"},
    },
    "data.stage_steps": {"data": {"more_data_sets": ["one: stage 2", "two: stage 3"]}},
    "hub.push_to_hub": {"hub": {"hub_model_id": "ada/rings"}},
}
OTHER_VALUES: dict[str, Any] = {
    "hub.hub_model_id": "ada/rings",
    "optimization.scheduler_params": {"end_factor": 0.5},
    "flow_matching.timestep_sampling_params": {"std": 0.5},
    "optimization.optimizer_type": "adafactor",
    "optimization.steps": 2999,
    "lora.layer_rules": ("blocks 0-9: rank 8",),
}


def other_value(section: str, option: Option) -> Any:
    """A value that is allowed and isn't the default."""
    if (path := f"{section}.{option.name}") in OTHER_VALUES:
        return OTHER_VALUES[path]
    default = option.from_widget(option.default) if option.default is not None else None
    if option.kind in ("int", "float"):
        return (default or 0) + option.step
    if option.kind == "choice":
        return next(c for c in option.choices if c not in (option.default, "none"))
    return {
        "bool": default is False,
        "text": "something else",
        "lines": ("one",),
        "numbers": (1, 28),
        "size": (64, 64, 9),
    }[option.kind]


@pytest.mark.parametrize(("section", "option"), OPTIONS)
def test_an_option_is_reached_from_widget_yaml_and_set(section, option):
    value = other_value(section, option)
    assert option.from_widget(option.to_widget(value)) == value
    around: dict[str, Any] = {"data": {"preprocessed_data_root": "d"}}
    for name, values in TOGETHER.get(f"{section}.{option.name}", {}).items():
        around[name] = around.get(name, {}) | values
    plain = yaml.safe_load(yaml.safe_dump(list(value) if isinstance(value, tuple) else value))
    written = {**around, section: around.get(section, {}) | {option.name: plain}}
    word = f"{section}.{option.name}={yaml.safe_dump(plain, default_flow_style=True)}"
    for values in (
        yaml_file.parse(yaml.safe_dump(written)),
        yaml_file.parse(yaml.safe_dump(around), [word]),
    ):
        whole = config.build(TrainingConfig, values)
        assert getattr(getattr(whole, section), option.name) == value
    widgets = {option.name: option.to_widget(value)}
    others = {**around.get(section, {})}
    read = config.build(
        SECTIONS[section], others | {option.name: option.from_widget(widgets[option.name])}
    )
    assert getattr(read, option.name) == value
    assert getattr(whole, section) == read


@pytest.mark.parametrize(("section", "option"), OPTIONS)
def test_an_option_is_on_the_page(section, option):
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    (row,) = [line for line in part.splitlines() if line.startswith(f"| `{option.name}` |")]
    assert option.description.split("*")[0].strip() in row
    for choice in option.choices:
        assert f"`{choice}`" in row


def test_the_page_is_up_to_date():
    tool = ROOT / "tools" / "write_configuration_reference.py"
    done = subprocess.run(
        [sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run python tools/{tool.name}: {done.stdout}{done.stderr}"
