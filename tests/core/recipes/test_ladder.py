"""The settings that a recipe goes through, from the fastest to the leanest."""

from ltxv_train_core.recipes.ladder import Base, ladder


def values(base: Base) -> list[tuple]:
    return [tuple(choice.value for choice in rung) for rung in ladder(base)]


def test_the_ladder_of_a_lora():
    """Checkpointing, optimizer, quantization, offloaded blocks, batch size, accumulation."""
    assert values(Base(is_full=False, samples_per_step=1, blocks=28)) == [
        (False, "adamw", None, 0, 1, 1),
        (True, "adamw", None, 0, 1, 1),
        (True, "adamw8bit", None, 0, 1, 1),
        (True, "adamw8bit", "int8-quanto", 0, 1, 1),
        (True, "adamw8bit", "int8-quanto", 7, 1, 1),
        (True, "adamw8bit", "int8-quanto", 14, 1, 1),
        (True, "adamw8bit", "int8-quanto", 21, 1, 1),
        (True, "adamw8bit", "int8-quanto", 28, 1, 1),
    ]


def test_a_file_in_fp8_is_not_quantized_again():
    rungs = values(Base(is_full=False, samples_per_step=1, blocks=4, is_fp8=True))
    assert [rung[2:4] for rung in rungs] == [(None, n) for n in (0, 0, 0, 1, 2, 3, 4)]


def test_a_cpu_offloads_nothing():
    rungs = values(Base(is_full=False, samples_per_step=1, blocks=4, can_offload=False))
    assert [rung[3] for rung in rungs] == [0, 0, 0, 0]


def test_what_is_not_available_is_left_out():
    base = Base(False, 1, 4, can_offload=False, unavailable=frozenset({"adamw8bit"}))
    assert values(base)[-1] == (True, "adamw", "int8-quanto", 0, 1, 1)


def test_the_ladder_of_full_training_with_four_samples_for_each_step():
    rungs = values(Base(is_full=True, samples_per_step=4, blocks=28))
    assert [rung[:2] for rung in rungs[::3]] == [
        (False, "adamw"),
        (True, "adamw"),
        (True, "adamw8bit"),
        (True, "adafactor"),
    ]
    assert [rung[2:] for rung in rungs] == [(4, 1), (2, 2), (1, 4)] * 4


def test_six_samples_for_each_step():
    rungs = values(Base(is_full=True, samples_per_step=6, blocks=1))
    assert [rung[2:] for rung in rungs[:4]] == [(6, 1), (3, 2), (2, 3), (1, 6)]
