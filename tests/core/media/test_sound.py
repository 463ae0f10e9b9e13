"""A tone of known place, pitch and level, in files of many kinds."""

from fractions import Fraction

import av
import numpy as np
import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.media.sound import Sound, has_sound, read_sound, resample
from ltxv_train_core.media.write import write_video

FRAMES = np.zeros((24, 64, 64, 3), np.uint8)
FPS = 12
TONE_HZ, START, END, LEVEL = 1000.0, 0.5, 0.9, 0.5


def tone(rate, seconds=2.0):
    """A tone of 1 kHz between 0.5 s and 0.9 s."""
    time = np.arange(round(rate * seconds)) / rate
    inside = (time >= START) & (time < END)
    return (LEVEL * np.sin(2 * np.pi * TONE_HZ * time) * inside).astype(np.float32)


def write_file(path, container, video_codec, audio_codec, layout, rate, late=0.0, video_late=0.0):
    """Writes the tone in every channel, `late` seconds after its time."""
    with av.open(str(path), "w", format=container) as file:
        video = file.add_stream(video_codec, rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = file.add_stream(audio_codec, rate=rate, layout=layout)
        for number, pixels in enumerate(FRAMES):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = number + round(video_late * FPS), Fraction(1, FPS)
            file.mux(video.encode(frame))
        file.mux(video.encode())
        channels = av.AudioLayout(layout).nb_channels
        samples = np.ascontiguousarray(np.broadcast_to(tone(rate), (channels, 2 * rate)))
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        sound.sample_rate, sound.pts, sound.time_base = rate, round(late * rate), Fraction(1, rate)
        to_codec = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate)
        for frame in to_codec.resample(sound):
            file.mux(audio.encode(frame))
        file.mux(audio.encode())
    return path


def heard(samples, rate):
    """Beginning and end in seconds, pitch in Hz and level of what is heard on one side."""
    loud = np.flatnonzero(np.abs(samples) > 0.2 * LEVEL)
    spectrum = np.abs(np.fft.rfft(samples))
    middle = samples[loud[0] + 400 : loud[-1] - 400]
    return (
        loud[0] / rate,
        loud[-1] / rate,
        spectrum.argmax() * rate / len(samples),
        float(np.sqrt(2) * middle.std()),
    )


def test_frames_follow_one_another_where_timestamps_are_rounded(tmp_path):
    """Matroska writes whole milliseconds, and a frame of FLAC at 44.1 kHz has 104.49 of them."""
    path = write_file(tmp_path / "a.mkv", "matroska", "libx264", "flac", "stereo", 44100)
    sound = read_sound(path, None, 2.0)
    assert sound.rate == 44100
    assert np.abs(sound.samples - tone(44100)).max() < 1 / 32000


@pytest.mark.parametrize(
    ("name", "container", "video_codec", "audio_codec", "layout", "rate"),
    [
        ("a.mp4", "mp4", "libx264", "aac", "stereo", 48000),
        ("a.mp4", "mp4", "libx264", "aac", "mono", 44100),
        ("a.mkv", "matroska", "libx264", "pcm_s16le", "stereo", 22050),
        ("a.mkv", "matroska", "libx264", "libopus", "stereo", 48000),
        ("a.ts", "mpegts", "libx264", "aac", "stereo", 48000),
        ("a.mov", "mov", "libx264", "pcm_s16le", "mono", 8000),
    ],
)
def test_the_sound_has_its_place_pitch_and_level(
    tmp_path, name, container, video_codec, audio_codec, layout, rate
):
    path = write_file(tmp_path / name, container, video_codec, audio_codec, layout, rate)
    assert has_sound(path)
    sound = read_sound(path, 16000, 2.0)
    assert (sound.samples.shape, sound.samples.dtype, sound.rate) == ((2, 32000), np.float32, 16000)
    for side in sound.samples:
        start, end, hz, level = heard(side, 16000)
        assert start == pytest.approx(START, abs=0.002)
        assert end == pytest.approx(END, abs=0.002)
        assert hz == pytest.approx(TONE_HZ, abs=1)
        assert level == pytest.approx(LEVEL, rel=0.03)


def test_more_channels_are_mixed_down(tmp_path):
    path = write_file(tmp_path / "a.mp4", "mp4", "libx264", "aac", "5.1", 48000)
    left, right = read_sound(path, 16000, 2.0).samples
    assert left == pytest.approx(right, abs=0.005)
    # A front side, the centre and a surround at -3 dB each.
    assert heard(left, 16000)[3] == pytest.approx(LEVEL * (1 + 2 / np.sqrt(2)), rel=0.03)


@pytest.mark.parametrize(("late", "video_late"), [(0.5, 0.0), (0.0, 0.25)])
def test_what_begins_later_than_the_other_stays_where_it_is(tmp_path, late, video_late):
    path = write_file(
        tmp_path / "a.mkv", "matroska", "libx264", "pcm_s16le", "stereo", 48000, late, video_late
    )
    start, end, *_ = heard(read_sound(path, 16000, 2.0).samples[0], 16000)
    assert start == pytest.approx(START + late - video_late, abs=0.002)
    assert end == pytest.approx(END + late - video_late, abs=0.002)


@pytest.mark.parametrize("begin", [0.25, 0.6])
def test_a_part_is_cut_out_to_the_sample(tmp_path, begin):
    path = tmp_path / "a.mp4"
    write_video(path, FRAMES, FPS, sound=Sound(np.stack([tone(48000)] * 2), 48000))
    whole = read_sound(path, 24000, 2.0)
    part = read_sound(path, 24000, 17 / FPS, start_seconds=begin)
    assert part.samples.shape == (2, round(17 / FPS * 24000))
    first = round(begin * 24000)
    inside = whole.samples[:, first:][:, : part.samples.shape[1]]
    assert part.samples[:, : inside.shape[1]] == pytest.approx(inside, abs=0.01)


def test_after_the_end_there_is_silence(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, FRAMES, FPS, sound=Sound(np.stack([tone(16000)] * 2), 16000))
    late = read_sound(path, 16000, 1.0, start_seconds=1.5)
    assert late.seconds == 1.0
    assert np.abs(late.samples[:, 8800:]).max() == 0
    assert np.abs(read_sound(path, 16000, 1.0, start_seconds=30).samples).max() == 0


def test_sides_stay_apart(tmp_path):
    path, silent = tmp_path / "a.mp4", np.zeros(2 * 48000, np.float32)
    write_video(path, FRAMES, FPS, sound=Sound(np.stack([silent, tone(48000)]), 48000))
    left, right = read_sound(path, 16000, 2.0).samples
    assert np.abs(left).max() < 0.01
    assert heard(right, 16000)[3] == pytest.approx(LEVEL, rel=0.03)


def test_a_file_without_sound_has_none(tmp_path):
    write_video(tmp_path / "a.mp4", FRAMES, FPS)
    assert not has_sound(tmp_path / "a.mp4")
    assert read_sound(tmp_path / "a.mp4", 16000, 1.0) is None
    assert read_sound(tmp_path / "a.png", 16000, 1.0) is None


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DataError, match=r"a\.mp4"):
        read_sound(tmp_path / "a.mp4", 16000, 1.0)
    with pytest.raises(DataError, match=r"b\.mp4: no such file"):
        read_sound(tmp_path / "b.mp4", 16000, 1.0)


def test_the_picture_is_the_same_with_and_without_sound(tmp_path):
    from ltxv_train_core.media.video import iterate_frames

    frames = np.random.default_rng(0).integers(0, 255, (24, 64, 64, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, FPS)
    write_video(tmp_path / "b.mp4", frames, FPS, sound=Sound(np.stack([tone(16000)] * 2), 16000))
    silent, sounding = (
        np.stack(list(iterate_frames(tmp_path / name))) for name in ("a.mp4", "b.mp4")
    )
    np.testing.assert_array_equal(silent, sounding)


def test_another_rate_keeps_the_length_and_the_tone():
    sound = resample(Sound(np.stack([tone(16000)] * 2), 16000), 48000)
    assert sound.rate == 48000
    assert sound.samples.shape[1] == pytest.approx(96000, abs=50)
    start, end, hz, level = heard(sound.samples[0], 48000)
    assert (start, end) == (pytest.approx(START, abs=0.001), pytest.approx(END, abs=0.001))
    assert hz == pytest.approx(TONE_HZ, abs=1)
    assert level == pytest.approx(LEVEL, rel=0.01)
