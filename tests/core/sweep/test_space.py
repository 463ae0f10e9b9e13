"""What a sweep varies, and how the next settings are chosen."""

import math

import pytest

from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.sweep.search import MOST_TRIALS, search_of
from ltxv_train_core.sweep.space import as_sections, read_space

RANGES = "optimization.learning_rate: 1e-4 to 1e-2\nlora.rank: 4 to 64"


def test_a_grid_is_every_combination_in_order():
    space = read_space(
        "lora.rank: 4, 8\n\n optimization.optimizer_type: adamw, adafactor, prodigy "
    )
    search = search_of("grid", space, 0, 0)
    found = [search.ask(number) for number in range(search.count)]
    assert [tuple(values.values()) for values in found] == [
        *[(4, "adamw"), (4, "adafactor"), (4, "prodigy")],
        *[(8, "adamw"), (8, "adafactor"), (8, "prodigy")],
    ]
    assert list(found[0]) == ["lora.rank", "optimization.optimizer_type"]
    assert search_of("grid", space, 4, 0).count == 4


def test_values_are_read_as_the_configuration_reads_them():
    (dimension,) = read_space('lora.target_modules: [to_q, to_k], ["0.attn1.to_q"]')
    assert dimension.values == (["to_q", "to_k"], ["0.attn1.to_q"])
    (dimension,) = read_space("optimization.learning_rate: 1e-4, 2, 0.5")
    assert dimension.values == (1e-4, 2, 0.5)
    (dimension,) = read_space("acceleration.quantization: none, int8")
    assert dimension.values == (None, "int8")
    assert as_sections({"lora.rank": 4, "lora.alpha": 8, "optimization.steps": 2}) == {
        "lora": {"rank": 4, "alpha": 8},
        "optimization": {"steps": 2},
    }


def test_ranges_are_drawn_by_ratio_and_again_the_same():
    space = read_space(RANGES)
    search = search_of("random", space, 200, 5)
    found = [search.ask(number) for number in range(200)]
    rates = [values["optimization.learning_rate"] for values in found]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 80 < sum(rate < 1e-3 for rate in rates) < 120, "half of them in each factor of ten"
    ranks = [values["lora.rank"] for values in found]
    assert {type(rank) for rank in ranks} == {int}
    assert (min(ranks), max(ranks)) >= (4, 50)
    assert max(ranks) <= 64
    again = search_of("random", space, 3, 5)
    assert [again.ask(number) for number in (2, 0)] == [found[2], found[0]]
    assert search_of("random", space, 3, 6).ask(0) != found[0]
    (dropout,) = read_space("lora.dropout: 0 to 0.5")
    values = [search_of("random", [dropout], 200, 0).ask(n)["lora.dropout"] for n in range(200)]
    assert 0.2 < sum(values) / 200 < 0.3


def test_tpe_draws_where_runs_were_good():
    pytest.importorskip("optuna")
    search = search_of("tpe", read_space("optimization.learning_rate: 1e-8 to 1"), 40, 0)
    distances = []
    for number in range(40):
        rate = search.ask(number)["optimization.learning_rate"]
        distances.append(abs(math.log10(rate / 1e-3)))
        search.tell(number, distances[-1])
    assert sum(distances[30:]) < 0.5 * sum(distances[:10])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write a line for each option"),
        ("lora.rank 8", "expected section.option: values"),
        ("lora.rank:", "expected section.option: values"),
        ("rank: 8", "expected section.option: values"),
        ("nothing.rank: 8", "there is no section"),
        ("lora.ranks: 8", "there is no such option; lora has rank, alpha"),
        ("data.held_out_clips: 4, 8", "the section data can't be varied"),
        ("hub.private: true", "the section hub can't be varied"),
        ("lora.rank: 8 to 4", "the first number must be below the second"),
        ("lora.rank: 4 to nan", "the first number must be below the second"),
        ("lora.rank: low to high", "expected two numbers"),
        ("optimization.optimizer_type: adamw to prodigy", "has no numbers: list its values"),
        ("lora.rank: [8", "can't be read; divide them by commas"),
        ("lora.rank: 4\nlora.rank: 8", "lora.rank stands twice"),
        ("\n".join(["lora.rank: 4"] * 17), "at most 16"),
        ("lora.rank: " + ", ".join(["1"] * 65), "expected 1 to 64 values"),
    ],
)
def test_what_can_not_be_varied_is_named(text, told):
    with pytest.raises(ConfigurationError) as raised:
        read_space(text)
    assert told in str(raised.value)
    assert str(raised.value).count("vary: ") >= 1


def test_searches_have_bounds():
    ranges = read_space(RANGES)
    with pytest.raises(ConfigurationError, match="a grid needs listed values"):
        search_of("grid", ranges, 0, 0)
    for count in (0, -1, MOST_TRIALS + 1):
        with pytest.raises(ConfigurationError, match="expected 1 to 256"):
            search_of("random", ranges, count, 0)
    numbers = ", ".join(map(str, range(1, 18)))
    wide = read_space(f"lora.rank: {numbers}\nlora.alpha: {numbers}")
    with pytest.raises(ConfigurationError, match="more than 256 combinations"):
        search_of("grid", wide, 0, 0)
    assert search_of("grid", wide, 5, 0).count == 5
