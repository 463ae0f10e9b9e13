import math
from dataclasses import replace

import pytest

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs.curves import curves
from ltxv_train_core.runs.loss_chart import loss_chart
from ltxv_train_core.runs.smoothing import LossAverage, smooth_losses


def steps(losses, smooth=math.nan):
    return [
        StepCompleted(number, 100, loss, 1e-4, 0.5, 0.1, 1.0, smooth)
        for number, loss in enumerate(losses, start=1)
    ]


def test_the_average_is_right_from_its_first_step():
    assert smooth_losses(steps([2.0, 2.0, 2.0])) == pytest.approx([2.0, 2.0, 2.0])
    first, second = smooth_losses(steps([0.0, 1.0]))
    assert (first, second) == pytest.approx((0.0, 0.05 / (0.05 + 0.95 * 0.05)))


def test_a_loss_that_is_not_finite_leaves_the_average_alone():
    first, gap, last = smooth_losses(steps([1.0, math.nan, 3.0]))
    assert math.isnan(gap)
    assert last == pytest.approx(smooth_losses(steps([1.0, 3.0]))[-1])
    assert first == 1.0


def test_columns_hold_the_average_of_every_step_whatever_their_number():
    rows = steps([1 / number for number in range(1, 41)])
    whole, few = curves(rows), curves(rows, points=4)
    assert whole.smooth_loss == pytest.approx(smooth_losses(rows))
    assert few.smooth_loss == [whole.smooth_loss[at] for at in (9, 19, 29, 39)]
    assert whole.smooth_loss[-1] == pytest.approx(
        LossAverage.of(1 / n for n in range(1, 40)).add(1 / 40)
    )
    recorded = steps([1.0, 2.0], smooth=0.7)
    assert curves(recorded[1:]).smooth_loss == [0.7]


def test_the_chart_draws_the_losses_up_to_the_step_it_is_at():
    empty = loss_chart([], 100)
    half = loss_chart(steps([1.0 - k / 100 for k in range(50)]), 100)
    assert empty.size == half.size == (512, 288)
    drawn = [
        x
        for x in range(512)
        for y in range(30, 260)
        if half.getpixel((x, y)) != empty.getpixel((x, y))
    ]
    assert min(drawn) < 60
    assert 260 < max(drawn) < 300
    heard = [replace(s, video_loss=0.1, audio_loss=0.9) for s in steps([1.0] * 50)]
    colours = {colour for _, colour in loss_chart(heard, 100).getcolors(2**16)}
    assert {(224, 160, 96), (112, 192, 144)} <= colours  # video and audio
    assert not {(224, 160, 96), (112, 192, 144)} & {c for _, c in half.getcolors(2**16)}
    for few in ([1.0], [1.0, 1.0]):
        assert loss_chart(steps(few), 2).size == (512, 288)
