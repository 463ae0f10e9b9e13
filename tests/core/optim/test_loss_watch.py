import pytest

from ltxv_train_core.optim.loss_watch import LossWatch, named_clips


def warnings(losses):
    watch = LossWatch()
    found = [watch.warning(step, loss) for step, loss in enumerate(losses, start=1)]
    return {step: text for step, text in enumerate(found, start=1) if text}


@pytest.mark.parametrize(
    ("losses", "step", "before"),
    [
        ([2, 1, 9, 200.1], 4, "2"),
        ([2, 1, 9, 200.1, 5000], 4, "2"),  # told once
        ([2, float("nan"), 1, float("inf"), 9, 201], 6, "2"),
        ([0.5] * 3 + [4.0] * 30 + [51], 34, "0.5"),  # the lowest median there was
        ([1.0] * 20 + [0.1] * 10 + [60], 31, "0.55"),  # of twenty steps, half are small
    ],
)
def test_a_loss_over_a_hundred_times_the_lowest_median_is_told(losses, step, before):
    (told,) = warnings(losses).items()
    assert told[0] == step
    assert f"step {step}: the loss is {losses[step - 1]:.3g}, over 100 times" in told[1]
    assert f"({before}): training diverges" in told[1]


@pytest.mark.parametrize(
    "losses",
    [
        [2, 1, 9, 200],  # a hundred times, and no more
        [1, 1, 5000],  # two steps have no median yet
        [1.0] * 20 + [0.1] * 9 + [60],
        [float("nan")] * 30,
    ],
)
def test_a_noisy_loss_is_not_told(losses):
    assert warnings(losses) == {}


def test_clips_are_named_up_to_eight():
    clips = [f"{n}.mp4" for n in range(9)]
    assert named_clips(clips, []) == f"its clips: {', '.join(clips[:8])}"
    assert named_clips(clips, ["latents of 3.mp4"]) == (
        "NaN or infinite numbers are in the latents of 3.mp4: delete these files and preprocess again"
    )
    assert "x" * 400 not in named_clips(["x" * 400], [])
