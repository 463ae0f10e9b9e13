"""Random configurations: good ones survive YAML and widgets, of bad ones every fault is named."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core import config
from ltxv_train_core.config import SECTIONS, Option, Section, TrainingConfig, yaml_file
from ltxv_train_core.errors import ConfigurationError

LETTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=3).map(" ".join)
TEXTS = WORDS.filter(lambda text: text != "none")
SIZES = st.builds(
    lambda width, height, frames: (32 * width, 32 * height, 8 * frames + 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 40),
)
SPECIAL: dict[str, st.SearchStrategy] = {
    "hub_model_id": st.sampled_from(["ada/rings", "a.b/c-d_e"]),
    "scheduler_params": st.sampled_from(
        [{}, {"eta_min": 1e-7}, {"cycles": 3}, {"power": 0.5}, {"end_factor": 0.25}]
    ),
    "timestep_sampling_params": st.sampled_from([{}, {"min": 0.25, "max": 0.5}, {"std": 1.5}]),
}
OPTIONS = [
    (name, option) for name, section in SECTIONS.items() for option in config.options(section)
]


def good(option: Option) -> st.SearchStrategy:
    """Values that the option's field accepts."""
    if option.name in SPECIAL:
        value = SPECIAL[option.name]
    elif option.kind in ("int", "float"):
        least = option.step if option.optional else option.minimum
        most = 0.999 if option.maximum is None else option.maximum
        value = st.integers(least, most) if option.kind == "int" else st.floats(least, most)
    elif option.kind == "choice":
        value = st.sampled_from([choice for choice in option.choices if choice != "none"] or [""])
        if "none" in option.choices and not option.optional:
            value = st.sampled_from(option.choices)
    else:
        lines = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
        numbers = st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True).map(tuple)
        value = {
            "bool": st.booleans(),
            "text": TEXTS,
            "lines": lines,
            "numbers": numbers,
            "size": SIZES,
        }[option.kind]
    return st.none() | value if option.optional else value


def bad(option: Option) -> st.SearchStrategy:
    """Values that the option's field refuses."""
    wrong: list[Any] = {
        "int": ["many", 1.5, -2],
        "float": ["much", -1.0],
        "bool": ["perhaps", 7],
        "choice": ["no-such-choice", 5],
        "text": [5, ["a", "b"]],
        "lines": ["not a list", [1, 2]],
        "numbers": ["28", [], [-1], [3, 3], [0.5]],
        "mapping": [5, {"name": "text"}],
        "size": [[700, 480, 161], [704, 480, 160], [704, 480], "large"],
    }[option.kind]
    return st.sampled_from(wrong if option.optional else [*wrong, None])


@st.composite
def sections(draw: st.DrawFn, name: str) -> Section:
    """A section; where its options contradict each other, the default one."""
    described = config.options(SECTIONS[name])
    values = {o.name: draw(good(o)) for o in described}
    try:
        return config.build(SECTIONS[name], values, name)
    except ConfigurationError as error:
        if refused := [problem for problem in error.problems if "(given: " in problem]:
            raise AssertionError(f"a field refuses a good value: {refused}") from error
    required = {o.name: values[o.name] for o in described if o.default is None}
    return config.build(SECTIONS[name], required, name)


@st.composite
def configurations(draw: st.DrawFn) -> TrainingConfig:
    values: dict[str, Any] = {name: draw(sections(name)) for name in SECTIONS}
    values |= {
        "seed": draw(st.integers(0, 2**63 - 1)),
        "output_dir": draw(TEXTS),
        "name": draw(st.from_regex(r"\A\w[\w.\- ]{0,10}\Z")),
    }
    try:
        return config.build(TrainingConfig, values)
    except ConfigurationError:
        return config.build(TrainingConfig, {"data": values["data"], "lora": values["lora"]})


@pytest.mark.parametrize("name", SECTIONS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_section_survives_its_widgets(name, data):
    section = data.draw(sections(name))
    assert config.from_widgets(SECTIONS[name], config.to_widgets(section), name) == section


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(whole=configurations())
def test_a_configuration_survives_its_file(whole):
    assert config.build(TrainingConfig, yaml_file.parse(yaml_file.dump(whole))) == whole


@settings(max_examples=60, deadline=None)
@given(
    faults=st.lists(
        st.sampled_from(OPTIONS), min_size=1, max_size=6, unique_by=lambda f: f[1].name
    ),
    unknown=st.lists(st.sampled_from(list(SECTIONS)), max_size=2, unique=True),
    data=st.data(),
)
def test_every_fault_is_named(faults, unknown, data):
    document: dict[str, Any] = {"data": {"preprocessed_data_root": "d"}}
    for section, option in faults:
        document.setdefault(section, {})[option.name] = data.draw(bad(option))
    for section in unknown:
        document.setdefault(section, {})["no_such_option"] = 1
    with pytest.raises(ConfigurationError) as caught:
        config.build(TrainingConfig, document)
    text = str(caught.value)
    for section, option in faults:
        assert f"{section}.{option.name}" in text
    for section in unknown:
        assert f"{section}.no_such_option: no such option" in text
