"""What was measured on held-out clips, on the disk, and which step is best by it."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ltxv_train_core.runs.best_step import best_step
from ltxv_train_core.runs.held_out_file import (
    HeldOutLosses,
    append_losses,
    read_losses,
    write_losses,
)

LEVELS = (0.25, 0.75)


def losses(step, *clips):
    return HeldOutLosses(step, LEVELS, tuple((each + 1, each - 1) for each in clips))


def curve(*steps):
    """Steps 0, 10, 20, ... with the mean loss of each clip."""
    return [losses(10 * n, *clips) for n, clips in enumerate(steps)]


def test_lines_are_read_back(tmp_path):
    file = tmp_path / "held_out.jsonl"
    assert read_losses(file) == []
    first = HeldOutLosses(
        0,
        LEVELS,
        ((1.0, 3.0), (5.0, 7.0)),
        {"video": ((1.0, 2.0), (3.0, 4.0))},
        ((1.0, 1.0), (2.0, 2.0)),
        0.5,
        0.25,
        0.034,
    )
    append_losses(file, first)
    append_losses(file, losses(10, 1.0, 2.0))
    found = read_losses(file)
    assert found == [first, losses(10, 1.0, 2.0)]
    assert (first.loss, first.average_loss) == (4.0, 1.5)
    assert first.by_level == (3.0, 5.0)
    assert first.by_clip == (2.0, 6.0)
    write_losses(file, found[:1])
    assert read_losses(file) == [first]


def test_a_step_that_was_measured_again_counts_once_and_damaged_lines_cost_themselves(tmp_path):
    file = tmp_path / "held_out.jsonl"
    for each in (losses(0, 3.0), losses(10, 2.0), losses(10, 1.0)):
        append_losses(file, each)
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"step": 20, "levels": [0.25, 0.75], "clips": [[1.0]]}\n{"step": 30, "lev')
    assert read_losses(file) == [losses(0, 3.0), losses(10, 1.0)]
    # Another number of clips is no point of the same curve.
    file.write_text("", encoding="utf-8")
    for each in (losses(0, 3.0, 4.0), losses(10, 2.0)):
        append_losses(file, each)
    assert read_losses(file) == [losses(10, 2.0)]


def test_the_lowest_is_best_and_a_clear_one_is_sure():
    best = best_step(curve((4, 6, 8), (2, 3, 4), (3, 4.5, 6), (3.5, 5, 7)))
    assert (best.step, best.first, best.last) == (10, 10, 10)
    assert best.loss == pytest.approx(3.0)
    assert best.gain == pytest.approx(0.5)
    assert (best.steps_since, best.overfits) == (20, True)
    assert best.text == (
        "best step 10: held-out loss 3.0000, 50.0 % below the first measured. It has risen since: the run learns "
        "its clips by heart (overfitting). Use this step, or train on more clips"
    )


def test_clips_that_disagree_make_it_unsure():
    best = best_step(curve((9, 9, 9, 9), (1, 5, 1, 5), (5, 1, 5, 0.9)))
    assert best.step == 20
    assert (best.first, best.last) == (10, 20)
    assert "best step 20 (as likely from 10 to 20)" in best.text


def test_a_rise_that_one_clip_makes_is_no_overfitting():
    best = best_step(curve((9, 9, 9), (5, 5, 5), (5, 5.01, 4.999)))
    assert (best.step, best.overfits) == (10, False)
    assert "Nothing gained in 10 steps since: " in best.text


def test_of_equal_steps_the_earliest_and_of_none_none():
    assert best_step(curve((2, 2), (2, 2))).step == 0
    assert best_step([]) is None


def test_lines_of_earlier_versions_are_read_and_say_nothing_of_it(tmp_path):
    file = tmp_path / "held_out.jsonl"
    file.write_text(
        '{"step": 3, "levels": [0.5], "clips": [[1.0]], "seconds": 1}', encoding="utf-8"
    )
    (found,) = read_losses(file)
    assert (found.moved, found.moved_without_prompt, found.moved_text) == (None, None, "")
    assert "Without a prompt" not in best_step([found]).text
    for number in ("NaN", "1e308"):
        file.write_text(
            f'{{"step": 3, "levels": [0.5], "clips": [[1.0]], "moved_without_prompt": {number}}}',
            encoding="utf-8",
        )
        assert read_losses(file) == []


def test_how_far_it_has_moved_is_said_and_named_at_the_best_step_where_it_is_far():
    moved = [replace(each, moved=0.25, moved_without_prompt=0.034) for each in curve((4,), (2,))]
    assert moved[1].moved_text == "moved with captions: 25 %, without prompt: 3.4 %"
    assert (best_step(moved).moved_without_prompt, best_step(moved).forgets) == (0.034, False)
    far = [
        replace(each, moved_without_prompt=share)
        for each, share in zip(moved, (0.0, 0.1), strict=True)
    ]
    assert best_step(far).text.endswith(
        "Without a prompt it has moved 10 % from its base (with captions 25 %): what the base could is changed too. "
        "Use an earlier step, a lower strength, or optimization.preservation"
    )
    unknown = replace(moved[0], moved_without_prompt=None)
    assert unknown.moved_text.endswith("not measured, the data set has no empty caption)")


@pytest.mark.parametrize("number", ["1e308", "NaN", "Infinity", "-1e99"])
def test_numbers_that_no_loss_can_be_cost_their_line(tmp_path, number):
    file = tmp_path / "held_out.jsonl"
    append_losses(file, losses(0, 3.0))
    good = '"step": 10, "levels": [0.25, 0.75], "clips": [[1.0, 2.0]]'
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f'{{{good}, "seconds": {number}}}\n')
        lines.write(f"{{{good.replace('0.25', number)}}}\n{{{good.replace('1.0', number)}}}\n")
    assert read_losses(file) == [losses(0, 3.0)]


def test_a_curve_that_begins_at_nothing_has_gained_nothing():
    assert best_step(curve((0, 0), (0, 0))).gain == 0.0


def test_many_steps_of_many_clips_take_little_memory():
    random = np.random.default_rng(1)
    many = [
        HeldOutLosses(step, (0.5,), tuple((x,) for x in random.normal(3 - step / 100, 0.1, 500)))
        for step in range(100)
    ]
    tracemalloc.start()
    best = best_step(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (best.step, best.last) == (99, 99)
    assert peak < 150e6, "all draws at once take 800 MB"


def test_where_data_sets_differ_each_one_s_best_step_is_named_instead_of_an_advice():
    sets = ("small", "large", "large")
    losses = {0: (5.0, 4.0, 4.0), 10: (1.0, 3.0, 3.0), 20: (6.0, 1.0, 1.5), 30: (7.0, 1.5, 1.5)}
    measured = [
        HeldOutLosses(step, (0.5,), tuple((loss,) for loss in clips), data_sets=sets)
        for step, clips in losses.items()
    ]
    best = best_step(measured)
    assert best.step == 10
    assert best.by_data_set == {"small": 10, "large": 20}
    assert best.text.endswith(
        "Each data set has a best step of its own, 10 of small; 20 of large: use that of the one you train for"
    )
    alike = [replace(each, clips=tuple((each.step + 1.0,) for _ in sets)) for each in measured]
    assert best_step(alike).by_data_set == {"small": 0, "large": 0}
    assert "of its own" not in best_step(alike).text
    assert "Nothing gained in 30 steps" in best_step(alike).text or best_step(alike).overfits
    alone = [replace(each, data_sets=()) for each in measured]
    assert best_step(alone).by_data_set == {}
