"""The samples of a run as they go into its page: of some steps, without what their files say beside."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from ...runs.folder import RunFolder, SampleSet

MOST_STEPS = 5
MOST_PROMPTS = 6
MOST_BYTES = 24 * 2**20
"""Of all videos: a page that is sent around should stay small."""


@dataclass(frozen=True)
class SampleRow:
    """A prompt with its video at each of the shown steps, as data addresses; None where there is none."""

    prompt: str
    videos: tuple[str | None, ...]


@dataclass(frozen=True)
class Samples:
    """Attributes:
    left_out: how many videos are not in the page, because it would grow too large.
    """

    steps: tuple[int, ...]
    rows: tuple[SampleRow, ...]
    left_out: int


def samples_of(run: RunFolder, prompts: Sequence[str], best: int | None) -> Samples:
    """The samples of the first and last step, of that of the best one, and of steps between.

    Args:
        prompts: in the order of the files.
        best: a step; the samples next to it are shown.
    """
    shown = _chosen(run.sample_sets(), best)
    count = max((len(each.videos) for each in shown), default=0)
    columns: list[list[str | None]] = [[] for _ in range(min(count, MOST_PROMPTS))]
    left_out, size = sum(max(0, len(each.videos) - MOST_PROMPTS) for each in shown), 0
    for each in shown:
        for number, column in enumerate(columns):
            video = _embedded(each.videos[number]) if number < len(each.videos) else None
            if video is not None and size + len(video) > MOST_BYTES:
                left_out, video = left_out + 1, None
            size += len(video or "")
            column.append(video)
    rows = tuple(
        SampleRow(prompts[number] if number < len(prompts) else "", tuple(column))
        for number, column in enumerate(columns)
    )
    return Samples(tuple(each.step for each in shown), rows, left_out)


def _chosen(sets: Sequence[SampleSet], best: int | None) -> list[SampleSet]:
    if len(sets) <= MOST_STEPS:
        return list(sets)
    numbers = {round(k * (len(sets) - 1) / (MOST_STEPS - 1)) for k in range(MOST_STEPS)}
    if best is not None:
        numbers.add(min(range(len(sets)), key=lambda n: abs(sets[n].step - best)))
    return [sets[number] for number in sorted(numbers)]


def _embedded(path: Path) -> str | None:
    """A video as a data address; None for what is no mp4. Its pictures and sound are copied, not its texts:
    those have the graph, with folders of whoever made it."""
    target = io.BytesIO()
    try:
        with (
            av.open(
                str(path.absolute()),
                format="mp4",
                container_options={"protocol_whitelist": "file"},
            ) as source,
            av.open(target, "w", format="mp4") as copy,
        ):
            copied = {
                stream.index: copy.add_stream_from_template(stream)
                for stream in (*source.streams.video[:1], *source.streams.audio[:1])
            }
            for packet in source.demux([source.streams[index] for index in copied]):
                if packet.dts is not None:
                    packet.stream = copied[packet.stream.index]
                    copy.mux(packet)
    except (av.FFmpegError, OSError, ValueError):
        return None
    return f"data:video/mp4;base64,{base64.b64encode(target.getvalue()).decode('ascii')}"
