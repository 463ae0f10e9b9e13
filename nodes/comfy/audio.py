"""Sounds as ComfyUI's AUDIO, a dict of `waveform` [B, channels, samples] in -1..1 and `sample_rate`; and what is
heard in its VIDEO."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...ltxv_train_core.errors import DataError
from ...ltxv_train_core.media.sound import Sound, has_sound, read_sound, stereo_of

if TYPE_CHECKING:
    from comfy_api.latest._input import VideoInput

Audio = Mapping[str, Any]


def audio_from_sound(sound: Sound) -> dict[str, Any]:
    """A sound as AUDIO of one entry."""
    waveform = torch.from_numpy(np.ascontiguousarray(sound.samples, np.float32))[None]
    return {"waveform": waveform, "sample_rate": sound.rate}


def sounds_from_audio(audio: Audio) -> list[Sound]:
    """The sounds of an AUDIO, one for each entry of its batch.

    Raises:
        DataError: it is none, or holds numbers that no sound has.
    """
    waveform, rate = audio.get("waveform"), audio.get("sample_rate")
    if not isinstance(waveform, torch.Tensor) or waveform.ndim != 3:
        shape = list(waveform.shape) if isinstance(waveform, torch.Tensor) else waveform
        raise DataError(f"audio: its waveform is {shape}, expected [batch, channels, samples]")
    samples = waveform.detach().cpu()
    if not samples.is_floating_point():  # as older versions of ComfyUI read some files
        samples = samples.float() / (torch.iinfo(samples.dtype).max + 1)
    return [stereo_of(each.float().numpy(), rate, "audio") for each in samples]


def sound_of_video(video: "VideoInput", audio: Audio | None, seconds: float) -> Sound | None:
    """What is heard while a VIDEO's frames are shown; None: nothing.

    That of a file is read by us: ComfyUI takes it as beginning with the frames, and versions before 0.4 as stored.

    Args:
        audio: that of its components.
    """
    from comfy_api.latest import InputImpl

    is_file = isinstance(video, InputImpl.VideoFromFile)
    source = video.get_stream_source() if is_file else None
    if isinstance(source, str):
        path = Path(source)
        trimmed = getattr(video, "get_active_trim_window", None)
        begin = trimmed()[0] if trimmed else 0.0
        return read_sound(path, None, seconds, begin) if has_sound(path) else None
    sounds = [] if audio is None else sounds_from_audio(audio)
    return sounds[0] if sounds else None
