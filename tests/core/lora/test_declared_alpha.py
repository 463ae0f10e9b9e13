"""alpha as the adapter's metadata declare it, layer by layer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.errors import ModelError
from ltxv_train_core.lora.declared_alpha import ADAPTER_METADATA, MOST_PATTERNS, declared_alphas

LAYER = "transformer_blocks.3.attn1.to_q"


def alpha(name=LAYER, rank=4, **declared):
    return declared_alphas({ADAPTER_METADATA: json.dumps(declared)}, "x")(name, rank)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(given=st.floats(-1e6, 1e6), rank=st.integers(1, 512))
def test_alpha_is_the_declared_one_and_grows_with_the_root_of_the_rank(given, rank):
    assert alpha(rank=rank, lora_alpha=given) == given
    assert alpha(rank=rank, **{"transformer.lora_alpha": given}) == given
    rooted = alpha(rank=rank, lora_alpha=given, use_rslora=True)
    assert rooted / rank == pytest.approx(given / rank**0.5)


@pytest.mark.parametrize("metadata", [{}, {ADAPTER_METADATA: ""}, {ADAPTER_METADATA: "{}"}])
def test_without_a_word_alpha_is_the_rank(metadata):
    for rank in (1, 4, 9):
        assert declared_alphas(metadata, "x")(LAYER, rank) == rank
    assert alpha(rank=5, lora_alpha=None, use_rslora=True) == 5
    assert alpha(rank=5, lora_alpha=3, alpha_pattern={"to_q": None}) == 5


def test_a_name_stands_for_the_layers_that_end_in_it_and_the_longest_wins():
    declared = {"to_q": 1, "attn1.to_q": 2, "2.attn1.to_q": 3, "o_q": 4}
    for name, wanted in (
        (LAYER, 2),
        ("transformer_blocks.2.attn1.to_q", 3),
        ("transformer_blocks.2.attn2.to_q", 1),
        ("to_q", 1),
        ("attn1.to_k", 7),
        ("to_q.0", 7),
    ):
        assert alpha(name, lora_alpha=7, alpha_pattern=declared) == wanted, name


def test_a_pattern_stands_for_whole_parts_and_a_name_wins_over_it():
    declared = {r"attn[12]\.to_.": 5, r".*\.net\.\d*": 6, "^x$": 8}
    for name, wanted in (
        (LAYER, 5),
        ("attn2.to_k", 5),
        ("transformer_blocks.0.attn2.to_out", 7),
        ("my_attn1.to_q", 7),
    ):
        assert alpha(name, lora_alpha=7, alpha_pattern=declared) == wanted, name
    assert alpha(lora_alpha=7, alpha_pattern=declared | {"to_q": 9}) == 9
    assert alpha(alpha_pattern={"to_[qk]": 1, "to_[q]": 2}) == 1, "the first of several"


def patterns(count):
    return {f"to_[{'q' * n}]": 5 for n in range(1, count + 1)}


def test_so_many_patterns_are_read_and_any_number_of_names():
    assert MOST_PATTERNS == 20
    names = {f"layer_{n}": 3 for n in range(50)}
    assert alpha(alpha_pattern=names | patterns(20)) == 5
    with pytest.raises(ModelError, match="alpha_pattern has more than 20 patterns"):
        alpha(alpha_pattern=patterns(21))


def test_names_and_patterns_have_at_most_200_letters():
    for name in ("a" * 200, "a" * 199 + "*"):
        assert alpha("a" * 200, alpha_pattern={name: 5}) == 5
    for name in ("a" * 201, "a" * 200 + "*"):
        with pytest.raises(ModelError, match="is no name of a layer"):
            alpha(alpha_pattern={name: 5})


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a+)+", "a*b*c*", "a**", "(", "", "a{9}", "é"])
def test_a_pattern_that_could_take_for_ever_or_is_none_is_refused(pattern):
    with pytest.raises(ModelError, match=r"x: its lora_adapter_metadata can't be read .*no name"):
        alpha(alpha_pattern={pattern: 5})


@pytest.mark.parametrize("value", [True, "8", 1e9, -1e9, 10**400, [1], float("nan")])
@pytest.mark.parametrize("place", ["lora_alpha", "name", "pattern"])
def test_what_is_no_alpha_is_refused(value, place):
    declared = {
        "lora_alpha": {"lora_alpha": value},
        "name": {"alpha_pattern": {"to_q": value}},
        "pattern": {"alpha_pattern": {"to_[q]": value}},
    }[place]
    with pytest.raises(ModelError, match="lora_adapter_metadata can't be read"):
        alpha(**declared)


@pytest.mark.parametrize("value", [0, -5, 1e-9, 999_999_999, -999_999_999.5])
def test_any_other_number_is_an_alpha(value):
    assert alpha(lora_alpha=value) == value


@pytest.mark.parametrize("text", ["[]", "3", '{"alpha_pattern": [1]}', "{", "null"])
def test_metadata_of_another_kind_are_refused(text):
    with pytest.raises(ModelError, match="x: its lora_adapter_metadata can't be read"):
        declared_alphas({ADAPTER_METADATA: text}, "x")
