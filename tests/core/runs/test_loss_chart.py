import pytest

from ltxv_train_core.runs.loss_chart import loss_chart, smooth


def test_the_average_is_right_from_its_first_step():
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smooth([0.0, 1.0], weight=0.5) == pytest.approx([0.0, 2 / 3])


def test_the_chart_draws_the_losses_up_to_the_step_it_is_at():
    empty = loss_chart([], 100)
    half = loss_chart([1.0 - k / 100 for k in range(50)], 100)
    assert empty.size == half.size == (512, 288)
    drawn = [
        x
        for x in range(512)
        for y in range(30, 260)
        if half.getpixel((x, y)) != empty.getpixel((x, y))
    ]
    assert min(drawn) < 60
    assert 260 < max(drawn) < 300
    for few in ([1.0], [1.0, 1.0]):
        assert loss_chart(few, 2).size == (512, 288)
