"""Lines of `data.more_data_sets`, and the options that go with them."""

import pytest

from ltxv_train_core.config import DataConfig, TrainingConfig, build, from_widgets, ignored
from ltxv_train_core.config.data_set_lines import DataSetLine, parse_data_set_line
from ltxv_train_core.config.redact import shareable
from ltxv_train_core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("clips", DataSetLine("clips")),
        ("clips: repeats 2", DataSetLine("clips", "repeats 2", repeats=2.0)),
        (
            r"C:\my clips\b: weight 0.5, caption_dropout 0",
            DataSetLine(
                r"C:\my clips\b", "weight 0.5, caption_dropout 0", weight=0.5, caption_dropout=0.0
            ),
        ),
        (r"C:\clips", DataSetLine(r"C:\clips")),
        ("/a/b: stage 2", DataSetLine("/a/b", "stage 2", stages=(2, 2))),
        ("/a/b: stages 1 - 3", DataSetLine("/a/b", "stages 1 - 3", stages=(1, 3))),
        ("test: held_out", DataSetLine("test", "held_out", is_held_out=True)),
    ],
)
def test_what_a_line_says(line, found):
    assert parse_data_set_line(line) == found
    assert parse_data_set_line(found.written) == found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (": repeats 2", "there is no path"),
        ("", "there is no path"),
        ("a: repeat 2", "'repeat 2' is unknown; write 'PATH'"),
        ("a: repeats", "repeats nothing: must be a number from 0.01 to 1000"),
        ("a: repeats nan", "repeats nan"),
        ("a: repeats 0", "repeats 0"),
        ("a: weight 1e9", "weight 1e9: must be a number from 0.01 to 100"),
        ("a: caption_dropout 2", "from 0 to 1"),
        ("a: repeats 2, repeats 3", "repeats stands there twice"),
        ("a: stage 2, stages 1-2", "stages stands there twice"),
        ("a: stage 0", "stage 0: must be a number from 1 to 100"),
        ("a: stages 3-2", "stage 3-2"),
        ("a: held_out, repeats 2", "held_out stands alone"),
        ("a: held_out 3", "takes no number"),
    ],
)
def test_a_wrong_line_says_what_may_be_written(line, words):
    with pytest.raises(ConfigurationError) as error:
        build(DataConfig, {"preprocessed_data_root": "x", "more_data_sets": [line]}, "data")
    assert words in str(error.value)
    assert "data.more_data_sets" in str(error.value)


def data(*lines, **options):
    return {"preprocessed_data_root": "x", "more_data_sets": lines, **options}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (data(*["a"] * 101), "101 data sets: at most 100"),
        (data("a: stage 2"), "names stage 2, and stage_steps has steps for 0"),
        (data("a: stage 3", stage_steps=[10, 10]), "stage 2 of 3 has no data set"),
        (data(stage_steps=[10]), "stage 2 of 2 has no data set"),
        (data("a: stage 2", stage_steps=[0]), "a number of steps above 0"),
        (
            data("a: stage 2", stage_steps=[3000]),
            "optimization.steps 3000 leaves none for the last",
        ),
    ],
)
def test_each_stage_has_a_data_set_and_steps(values, words):
    with pytest.raises(ConfigurationError) as error:
        build(TrainingConfig, {"data": values})
    assert words in str(error.value)


def test_a_widget_of_lines_is_the_option():
    found = from_widgets(
        DataConfig,
        {
            "preprocessed_data_root": "x",
            "more_data_sets": "a: repeats 2\n\nb: stage 2\n",
            "stage_steps": "100",
        },
    )
    assert [line.root for line in found.trained] == ["x", "a", "b"]
    assert found.stage_steps == (100,)
    assert found.roots[1:] == (("more_data_sets", "a"), ("more_data_sets", "b"))


def test_options_of_several_data_sets_are_unused_with_one_and_paths_stay_here():
    one = build(TrainingConfig, {"data": data("a: held_out", repeats=2, balanced=True)})
    told = [line for line in ignored(one) if line.startswith("data.")]
    assert [line.partition(":")[0] for line in told] == ["data.repeats", "data.balanced"]
    several = build(TrainingConfig, {"data": data("/home/me/b/.precomputed: repeats 2")})
    assert not [line for line in ignored(several) if line.startswith("data.")]
    (line,) = shareable(several).data.more_data_sets
    assert "me" not in line
    assert line.endswith(": repeats 2")
