import pytest

from ltxv_train_core.data.buckets import choose_bucket
from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import parse_buckets
from ltxv_train_core.media.video import MediaInfo


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
    buckets = parse_buckets("448x768x89;768x448x89;768x448x25;512x512x25;1024x768x1;512x512x1")
    assert str(choose_bucket(buckets, media)) == expected


def test_of_one_shape_the_larger():
    buckets = parse_buckets("256x256x9;512x512x9")
    assert str(choose_bucket(buckets, video(600, 600, 9))) == "512x512x9"
    assert str(choose_bucket(buckets, video(500, 500, 9))) == "256x256x9"


def test_a_pair_gets_what_both_fill():
    buckets = parse_buckets("64x64x17;64x64x9")
    assert str(choose_bucket(buckets, video(64, 64, 40), video(64, 64, 12))) == "64x64x9"
    with pytest.raises(DataError, match="too short: 64x64 with 8 frames"):
        choose_bucket(buckets, video(64, 64, 40), video(64, 64, 8))


def test_refusals_name_the_clip_the_bucket_and_the_cure():
    buckets = parse_buckets("768x448x89;512x512x49")
    with pytest.raises(DataError, match=r"too short: 640x480 with 24 frames.* needs 49 frames; "):
        choose_bucket(buckets, video(640, 480, 24))
    with pytest.raises(
        DataError, match=r"too small: 640x400 with 60 frames.* enlarged for 512x512x49; use a"
    ):
        choose_bucket(buckets, video(640, 400, 60))
    with pytest.raises(DataError, match="too short: an image of 900x900"):
        choose_bucket(buckets, MediaInfo(900, 900, 1, 25.0, True))
