"""The rule by which a clip gets its bucket, over sizes that hypothesis draws."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.geometry import Grid
from ltxv_train_core.media.info import MediaInfo
from ltxv_train_core.preprocessing.buckets import choose_bucket, read_buckets

sides = st.integers(1, 6).map(lambda n: 32 * n)
lengths = st.integers(1, 4).map(lambda n: 8 * n + 1)
buckets = st.lists(st.tuples(sides, sides, lengths), min_size=1, max_size=8, unique=True)
clips = st.tuples(st.integers(32, 300), st.integers(32, 300), st.integers(9, 40))

GRID = Grid(spatial=32, temporal=8)


def video(width, height, frames):
    return MediaInfo(width, height, frames, 25.0, False)


def text(sizes):
    return ";".join("x".join(map(str, size)) for size in sizes)


def cropped(bucket, clip):
    """The share of a clip's area that is cut off, in whole percent."""
    shapes = bucket[0] / bucket[1], clip[0] / clip[1]
    return round(100 * (1 - min(shapes) / max(shapes)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(buckets, clips)
def test_the_least_cropped_then_the_longest_then_the_largest(sizes, clip):
    filled = [b for b in sizes if all(c >= s for c, s in zip(clip, b, strict=True))]
    assume(filled)
    chosen = choose_bucket(read_buckets(text(sizes), GRID), video(*clip))
    found = (chosen.width, chosen.height, chosen.frames)

    def rank(bucket):
        return cropped(bucket, clip), -bucket[2], -bucket[0] * bucket[1]

    assert rank(found) == min(map(rank, filled))


def test_frames_count_before_size():
    sizes = read_buckets("64x64x17;128x128x9;96x96x17", GRID)
    assert str(choose_bucket(sizes, video(128, 128, 20))) == "96x96x17"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(buckets, clips, clips)
def test_a_pair_fills_its_bucket_and_what_fills_none_is_refused(sizes, first, second):
    filled = [b for b in sizes if all(min(p) >= s for *p, s in zip(first, second, b, strict=True))]
    try:
        chosen = choose_bucket(read_buckets(text(sizes), GRID), video(*first), video(*second))
    except DataError:
        assert not filled
        return
    assert (chosen.width, chosen.height, chosen.frames) in filled


@settings(max_examples=50, deadline=None, derandomize=True)
@given(buckets, clips)
def test_upscaling_enlarges_least(sizes, clip):
    long_enough = [b for b in sizes if b[2] <= clip[2]]
    assume(long_enough)
    assume(not any(b[0] <= clip[0] and b[1] <= clip[1] for b in long_enough))

    def enlargement(bucket):
        return round(max(bucket[0] / clip[0], bucket[1] / clip[1]), 2)

    chosen = choose_bucket(read_buckets(text(sizes), GRID), video(*clip), allow_upscaling=True)
    found = (chosen.width, chosen.height, chosen.frames)
    assert enlargement(found) == min(map(enlargement, long_enough))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sides, sides, lengths)
def test_a_budget_has_every_shape_within_it(width, height, frames):
    assume(max(width, height) <= 512)
    pixels, large = width * height, 1 << 12
    whole, smaller = read_buckets(f"auto:{width}x{height}x{frames}", GRID)
    shapes = [
        (w, h)
        for w in range(32, large, 32)
        for h in range(32, pixels // w + 1, 32)
        if w <= 3 * h and h <= 3 * w
    ]
    assert {(s.width, s.height) for s in whole.sizes} == {
        (w, h) for w, h in shapes if w * (h + 32) > pixels
    } & {(w, h) for w, h in shapes if 4 * w * h >= pixels}
    assert {(s.width, s.height) for s in smaller.sizes} == {
        (w, h) for w, h in shapes if 4 * w * h >= pixels
    }
    found = {s.frames for s in smaller.sizes}
    assert {1, frames} <= found
    for longer, shorter in zip(sorted(found)[1:], sorted(found), strict=False):
        assert shorter == 1 or shorter == longer // 16 * 8 + 1
    assert sorted(found)[1] in (9, frames)
    assert (whole.crop_step, smaller.crop_step) == (0.05, 0.05)


def test_the_lengths_of_a_budget_halve():
    _, smaller = read_buckets("auto:64x64x89", GRID)
    assert sorted({size.frames for size in smaller.sizes}) == [1, 9, 17, 41, 89]


def test_the_largest_budget():
    whole, _ = read_buckets("auto:4096x4096x1", GRID)
    assert max(size.width * size.height for size in whole.sizes) == 4096 * 4096
    with pytest.raises(ConfigurationError, match=r"at most 16,777,216 pixels \(4096x4096\)"):
        read_buckets("auto:4128x4096x1", GRID)


def test_a_budget_lets_five_percent_of_crop_go_for_frames_and_a_list_one_percent():
    """A clip of 100:96 in a square bucket loses 4 %."""
    clip = video(1000, 960, 17)
    sizes = "320x320x17;800x768x9"
    assert str(choose_bucket(read_buckets(sizes, GRID), clip)) == "800x768x9"
    assert str(choose_bucket(read_buckets("auto:320x320x17", GRID), clip)) == "320x320x17"


def test_upscaling_in_a_budget_counts_crop_as_the_budget_does():
    small = video(100, 90, 20)
    chosen = choose_bucket(read_buckets("auto:320x320x17", GRID), small, allow_upscaling=True)
    assert (chosen.width, chosen.height, chosen.frames) == (160, 160, 17)


def test_a_refusal_names_the_smallest_file_and_the_two_nearest_buckets():
    sizes = read_buckets("256x256x9;288x288x9;320x320x9;352x352x9;384x384x9", GRID)
    with pytest.raises(
        DataError,
        match=r"^too small: 10x300 with 9 frames, and would be enlarged for 256x256x9 and 288x288x9, "
        r"the nearest of 5 buckets; use",
    ):
        choose_bucket(sizes, video(10, 300, 9), video(100, 90, 9))
    with pytest.raises(DataError, match=r"256x256x9 and 288x288x9; use"):
        choose_bucket(read_buckets("256x256x9;288x288x9", GRID), video(100, 90, 9))
