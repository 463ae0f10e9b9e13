"""The settings that a recipe goes through, from the fastest to the leanest."""

from ltxv_train_core.recipes.ladder import (
    ACCUMULATION,
    BATCH,
    CHECKPOINTING,
    INPUTS_ON_HOST,
    OFFLOAD,
    OPTIMIZER,
    QUANTIZATION,
    Base,
    ladder,
)

COLUMNS = (CHECKPOINTING, OPTIMIZER, QUANTIZATION, OFFLOAD, BATCH, ACCUMULATION)


def settings(base: Base) -> list[dict]:
    return [{choice.option: choice.value for choice in rung} for rung in ladder(base)]


def values(base: Base) -> list[tuple]:
    """Of the options of `COLUMNS` that there are."""
    found = settings(base)
    return [tuple(each[name] for name in COLUMNS if name in each) for each in found]


def test_the_ladder_of_a_lora():
    """Checkpointing, optimizer, quantization, offloaded blocks, batch size, accumulation."""
    rungs = settings(Base(is_full=False, samples_per_step=1, blocks=28))
    assert [each.get(INPUTS_ON_HOST, False) for each in rungs] == [False] * 4 + [True] * 8
    assert values(Base(is_full=False, samples_per_step=1, blocks=28)) == [
        (False, "adamw", None, 0, 1, 1),
        (True, "adamw", None, 0, 1, 1),
        (True, "adamw8bit", None, 0, 1, 1),
        (True, "adamw8bit", "int8-quanto", 0, 1, 1),
        (True, "adamw8bit", "int8-quanto", 0, 1, 1),
        (True, "adamw8bit", "int8-quanto", 7, 1, 1),
        (True, "adamw8bit", "int8-quanto", 14, 1, 1),
        (True, "adamw8bit", "nf4", 0, 1, 1),
        (True, "adamw8bit", "nf4", 7, 1, 1),
        (True, "adamw8bit", "nf4", 14, 1, 1),
        (True, "adamw8bit", "nf4", 21, 1, 1),
        (True, "adamw8bit", "nf4", 28, 1, 1),
    ]


def test_a_file_in_fp8_is_not_quantized_again():
    rungs = values(Base(is_full=False, samples_per_step=1, blocks=4, is_fp8=True))
    assert [rung[2:4] for rung in rungs] == [(None, n) for n in (0, 0, 0, 0, 1, 2, 3, 4)]


def test_a_cpu_offloads_nothing():
    rungs = values(Base(is_full=False, samples_per_step=1, blocks=4, can_offload=False))
    assert [rung[2:4] for rung in rungs] == [
        *[(None, 0)] * 3,
        ("int8-quanto", 0),
        ("nf4", 0),
    ]


def test_what_is_not_available_is_left_out():
    base = Base(False, 1, 4, can_offload=False, unavailable=frozenset({"adamw8bit", "nf4"}))
    assert values(base)[-1] == (True, "adamw", "int8-quanto", 0, 1, 1)


def test_without_nf4_all_blocks_in_8_bits_go_to_host_memory():
    rungs = values(Base(False, 1, 28, unavailable=frozenset({"nf4"})))
    assert [rung[2:4] for rung in rungs[3:]] == [("int8-quanto", n) for n in (0, 0, 7, 14, 21, 28)]


def test_the_ladder_of_full_training_with_four_samples_for_each_step():
    rungs = values(Base(is_full=True, samples_per_step=4, blocks=28))
    assert [rung[:2] for rung in rungs[:-3:3]] == [
        (False, "adamw"),
        (True, "adamw"),
        (True, "adamw8bit"),
        (True, "adafactor"),
    ]
    assert [rung[2:] for rung in rungs] == [(4, 1), (2, 2), (1, 4)] * 5


def test_six_samples_for_each_step():
    rungs = values(Base(is_full=True, samples_per_step=6, blocks=1))
    assert [rung[2:] for rung in rungs[:4]] == [(6, 1), (3, 2), (2, 3), (1, 6)]
