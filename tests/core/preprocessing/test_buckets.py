import pytest

from ltxv_train_core.errors import ConfigurationError, DataError
from ltxv_train_core.geometry import Grid, VideoSize
from ltxv_train_core.media.info import MediaInfo
from ltxv_train_core.preprocessing.buckets import (
    BucketSet,
    choose_bucket,
    choose_length,
    filled_size,
    read_buckets,
)

GRID = Grid(spatial=32, temporal=8)


def video(width, height, frames):
    return MediaInfo(width, height, frames, 25.0, False)


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (video(1920, 1080, 300), "768x448x89"),
        (video(1080, 1920, 300), "448x768x89"),
        (video(1920, 1080, 88), "768x448x25"),
        (video(800, 800, 30), "512x512x25"),
        (video(520, 520, 300), "512x512x25"),
        (MediaInfo(4000, 3000, 1, 25.0, True), "1024x768x1"),
    ],
)
def test_most_frames_first_then_the_closest_shape(media, expected):
    buckets = read_buckets("448x768x89;768x448x89;768x448x25;512x512x25;1024x768x1;512x512x1", GRID)
    assert str(choose_bucket(buckets, media)) == expected


def test_of_one_shape_the_larger():
    buckets = read_buckets("256x256x9;512x512x9", GRID)
    assert str(choose_bucket(buckets, video(600, 600, 9))) == "512x512x9"
    assert str(choose_bucket(buckets, video(500, 500, 9))) == "256x256x9"


def test_a_pair_gets_what_both_fill():
    buckets = read_buckets("64x64x17;64x64x9", GRID)
    assert str(choose_bucket(buckets, video(64, 64, 40), video(64, 64, 12))) == "64x64x9"
    with pytest.raises(DataError, match="too short: 64x64 with 8 frames"):
        choose_bucket(buckets, video(64, 64, 40), video(64, 64, 8))


def test_refusals_name_the_clip_the_bucket_and_the_cure():
    buckets = read_buckets("768x448x89;512x512x49", GRID)
    with pytest.raises(DataError, match=r"too short: 640x480 with 24 frames.* needs 49 frames; "):
        choose_bucket(buckets, video(640, 480, 24))
    with pytest.raises(
        DataError, match=r"too small: 640x400 with 60 frames.* enlarged for 512x512x49; use a"
    ):
        choose_bucket(buckets, video(640, 400, 60))
    with pytest.raises(DataError, match="too short: an image of 900x900"):
        choose_bucket(buckets, MediaInfo(900, 900, 1, 25.0, True))


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (video(96, 64, 17), "96x64x9"),  # area first: the square one has more frames
        (video(96, 95, 17), "64x64x17"),
        (video(256, 144, 9), "96x64x9"),  # 16:9: of 3:2 and 2:1, 3:2 crops 16 %, 2:1 11 %
    ],
)
def test_area_counts_before_frames(media, expected):
    assert str(choose_bucket(read_buckets("64x64x17;96x64x9", GRID), media)) == expected


def test_a_video_is_no_image_unless_nothing_else_is_filled():
    buckets = read_buckets("256x128x1;64x64x17", GRID)
    assert str(choose_bucket(buckets, video(256, 128, 20))) == "64x64x17"
    assert str(choose_bucket(buckets, video(256, 128, 9))) == "256x128x1"


def test_nothing_is_enlarged_without_being_told():
    buckets = read_buckets("256x256x9;128x128x9", GRID)
    small = video(100, 90, 9)
    with pytest.raises(DataError, match=r"too small: 100x90.* or allow upscaling"):
        choose_bucket(buckets, small)
    assert str(choose_bucket(buckets, small, allow_upscaling=True)) == "128x128x9"
    large = video(300, 300, 9)
    assert str(choose_bucket(buckets, large, allow_upscaling=True)) == "256x256x9"


def test_frames_count_at_the_rate_that_videos_are_resampled_to():
    buckets = read_buckets("64x64x25;64x64x9", GRID)
    clip = video(64, 64, 30)
    assert str(choose_bucket(buckets, clip)) == "64x64x25"
    assert str(choose_bucket(buckets, clip, fps=12.5)) == "64x64x9"
    with pytest.raises(DataError, match="with 6 frames at 5 frames per second"):
        choose_bucket(buckets, clip, fps=5.0)


SHAPES = [(1920, 1080), (1080, 1920), (640, 480), (1000, 1000), (2560, 1080), (1440, 1080)]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_automatic_set_keeps_aspect_ratios_within_its_budget(shape):
    sets = read_buckets("auto:768x448x89", GRID)
    for width, height in (shape, (shape[0] * 4, shape[1] * 4)):
        chosen = choose_bucket(sets, video(width, height, 300))
        assert chosen.frames == 89
        ratio = chosen.width / chosen.height / (width / height)
        assert 0.93 < ratio < 1.07
        pixels = chosen.width * chosen.height
        budget = min(768 * 448, width * height)
        assert 0.5 * budget <= pixels <= 768 * 448


def test_an_automatic_set_has_shorter_buckets_and_those_of_images():
    sets = read_buckets(" auto:256x256x89 ", GRID)
    chosen = [choose_bucket(sets, video(512, 512, n)) for n in (89, 88, 41, 40, 16, 9)]
    assert [str(c) for c in chosen] == [
        "256x256x89",
        "256x256x41",
        "256x256x41",
        "256x256x17",
        "256x256x9",
        "256x256x9",
    ]
    assert str(choose_bucket(sets, MediaInfo(512, 512, 1, 25.0, True))) == "256x256x1"
    assert str(choose_bucket(sets, video(200, 200, 9))) == "192x192x9"
    assert (
        str(choose_bucket(read_buckets("auto:768x448x89", GRID), video(640, 360, 41)))
        == "640x352x41"
    )
    with pytest.raises(
        DataError,
        match=r"too small: 90x90.* for 128x128x9 and \d+x\d+x9, the nearest of \d+ buckets",
    ):
        choose_bucket(sets, video(90, 90, 9))


def test_what_is_no_budget_is_refused():
    with pytest.raises(ConfigurationError, match="the nearest is 768x448x89"):
        read_buckets("auto:768x448x90", GRID)
    with pytest.raises(ConfigurationError, match="WIDTHxHEIGHTxFRAMES"):
        read_buckets("auto:", GRID)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(800, 500, 100)], "768x448x89"),  # the bucket itself
        ([(700, 500, 100)], "672x448x89"),
        ([(800, 300, 100)], "768x288x89"),
        ([(800, 500, 60)], "768x448x57"),
        ([(800, 500, 100), (100, 400, 30)], "96x384x25"),
        ([(800, 500, 9)], "768x448x9"),
        ([(800, 500, 8)], None),
        ([(31, 500, 100)], None),
        ([(800, 31, 100)], None),
    ],
)
def test_a_size_that_all_clips_fill_is_the_bucket_made_smaller(sizes, expected):
    (bucket,) = read_buckets("768x448x89", GRID)[0].sizes
    found = filled_size(bucket, [video(*each) for each in sizes], GRID)
    assert (found and str(found)) == expected


def test_images_fill_a_single_frame():
    (bucket,) = read_buckets("64x64x1", GRID)[0].sizes
    image = MediaInfo(100, 90, 1, 25.0, True)
    assert str(filled_size(bucket, [image], GRID)) == "64x64x1"
    assert filled_size(bucket, [image, video(100, 90, 1)], GRID) is None


def test_of_two_clips_the_smaller_area_is_named_and_the_shape_next_to_it():
    buckets = read_buckets("640x384x9;256x640x9;384x384x9;96x96x9", GRID)
    with pytest.raises(DataError, match=r"too small: 96x64 with 20 frames") as raised:
        choose_bucket(buckets, video(96, 64, 20), video(80, 128, 20))
    assert "enlarged for 96x96x9 and 384x384x9, the nearest of 4 buckets" in str(raised.value)


def test_crops_count_in_steps_that_are_rounded_to_the_nearest():
    sizes = (VideoSize(800, 768, 25), VideoSize(768, 768, 9))
    square = video(832, 832, 100)
    assert choose_bucket((BucketSet(sizes, crop_step=0.05),), square) == sizes[1], "4 % is a step"
    assert choose_bucket((BucketSet(sizes, crop_step=0.1),), square) == sizes[0], "4 % is none"


def test_enlargements_compare_in_percents():
    def chosen(*sizes):
        sets = (BucketSet(sizes),)
        return choose_bucket(sets, video(499, 499, 100), allow_upscaling=True)

    small = VideoSize(500, 500, 9)
    for side, is_taken in ((501, True), (520, False)):  # 0.4 and 4.2 %, beside 0.2 %
        longer = VideoSize(side, side, 25)
        assert chosen(longer, small) == (longer if is_taken else small)


@pytest.mark.parametrize(
    ("frames", "fps", "expected"),
    [
        (300, None, 89),
        (60, None, 49),
        (49, None, 49),
        (48, None, 25),
        (49, 50.0, 89),
        (49, 12.5, 9),
        (9, None, 9),
    ],
)
def test_a_sound_takes_the_longest_length_that_it_fills(frames, fps, expected):
    """In the smallest picture of the grid, whatever the sizes of the buckets."""
    sets = (
        BucketSet((VideoSize(512, 512, 25), VideoSize(512, 512, 1)), 0.01),
        BucketSet(tuple(VideoSize(256, 64, n) for n in (9, 49, 89)), 0.01),
    )
    sound = MediaInfo(0, 0, frames, 25.0, False)
    assert choose_length(sets, sound, GRID, fps) == VideoSize(32, 32, expected)


@pytest.mark.parametrize(
    ("lengths", "fps", "needed"),
    [
        ((25, 49, 1), None, "needs at least 1.00 seconds (25 frames per second); use a longer"),
        ((25, 49), 12.5, "needs at least 2.00 seconds (12.5 frames per second); use a longer"),
    ],
)
def test_a_sound_that_is_too_short_is_told_in_seconds(lengths, fps, needed):
    sets = (BucketSet(tuple(VideoSize(64, 64, n) for n in lengths), 0.01),)
    with pytest.raises(DataError) as told:
        choose_length(sets, MediaInfo(0, 0, 20, 25.0, False), GRID, fps)
    assert f"too short: a sound of 0.80 seconds, and the shortest bucket {needed}" in str(
        told.value
    )


def test_a_sound_fills_no_bucket_of_images():
    sets = (BucketSet((VideoSize(64, 64, 1),), 0.01),)
    with pytest.raises(DataError, match="a sound fills no bucket of 1 frame"):
        choose_length(sets, MediaInfo(0, 0, 20, 25.0, False), GRID)
