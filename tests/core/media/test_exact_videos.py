"""Whole clips at their own size, and files that give back exactly what was put in."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.errors import DataError
from ltxv_train_core.media.video import iterate_frames, probe
from ltxv_train_core.media.write import write_exact_video, write_video


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("size", [(34, 51), (64, 96), (1, 1)])
def test_an_exact_video_gives_back_what_was_put_in(tmp_path, size, grey):
    frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
    if grey:
        frames = np.repeat(frames[..., :1], 3, axis=3)
    write_exact_video(tmp_path / "a.mp4", iter(frames), 23.976, grey)
    found = np.stack(list(iterate_frames(tmp_path / "a.mp4")))
    assert np.array_equal(found, frames)
    info = probe(tmp_path / "a.mp4")
    assert (info.height, info.width, info.frames) == (*size, 4)
    assert info.fps == pytest.approx(24000 / 1001, abs=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_come_as_they_are_shown_one_at_a_time(tmp_path):
    frames = np.zeros((30, 48, 80, 3), np.uint8)
    frames[:, :, :40] = 200
    write_video(tmp_path / "a.mp4", frames, fps=25)
    path = rotated(tmp_path / "a.mp4")
    found = iterate_frames(path)
    first = next(found)
    assert first.shape == (80, 48, 3) == (probe(path).height, probe(path).width, 3)
    assert abs(int(first[:40].mean()) - int(first[40:].mean())) > 150
    assert len(list(found)) == 29


def rotated(path: Path) -> Path:
    """The same stream with a note to turn it by 90 degrees."""
    target = path.with_name("rotated.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return target


def test_an_image_is_one_frame(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (frame,) = iterate_frames(tmp_path / "a.png")
    assert np.array_equal(frame, pixels)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"a\.mp4: can't be read"):
        list(iterate_frames(tmp_path / "a.mp4"))
