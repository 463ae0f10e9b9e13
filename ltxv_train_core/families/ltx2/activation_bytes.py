"""What a step of LTX-2.x saves for its backward pass. No torch.

Counted as autograd saves it, with the proportions of the published models (the sound is half as wide as the
video) and a LoRA on all attentions; a test counts again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...models.memory.activations import ActivationBytes
from ..names import AUDIO, VIDEO
from .formats import TEXT_TOKENS


@dataclass(frozen=True)
class _StepBytes:
    """For each token and channel.

    Attributes:
        video, audio: of the streams, where both are there.
        alone: of a stream without the other one.
        text: of a stream's own text, by that stream's channels.
    """

    video: ActivationBytes
    audio: ActivationBytes
    alone: ActivationBytes
    text: ActivationBytes


LORA_IN_HALF = ActivationBytes(block=45.7, recomputed=2.0, shared=12.0)
_BYTES = {
    ("lora", "half"): _StepBytes(
        video=LORA_IN_HALF,
        audio=ActivationBytes(block=51.4, recomputed=2.0, shared=15.9),
        alone=ActivationBytes(block=34.4, recomputed=2.0, shared=8.0),
        text=ActivationBytes(block=6.1, recomputed=0.0, shared=0.0),
    ),
    ("lora", "float32"): _StepBytes(
        video=ActivationBytes(block=91.0, recomputed=4.0, shared=12.0),
        audio=ActivationBytes(block=102.1, recomputed=4.0, shared=15.9),
        alone=ActivationBytes(block=68.7, recomputed=4.0, shared=8.0),
        text=ActivationBytes(block=12.1, recomputed=0.0, shared=0.0),
    ),
    ("full", "half"): _StepBytes(
        video=ActivationBytes(block=79.5, recomputed=4.0, shared=21.0),
        audio=ActivationBytes(block=87.1, recomputed=4.0, shared=26.1),
        alone=ActivationBytes(block=62.3, recomputed=4.0, shared=17.0),
        text=ActivationBytes(block=10.0, recomputed=0.0, shared=4.0),
    ),
    ("full", "float32"): _StepBytes(
        video=ActivationBytes(block=142.7, recomputed=4.0, shared=26.0),
        audio=ActivationBytes(block=157.4, recomputed=4.0, shared=32.1),
        alone=ActivationBytes(block=112.5, recomputed=4.0, shared=22.0),
        text=ActivationBytes(block=16.0, recomputed=0.0, shared=4.0),
    ),
}
"""By training mode and precision of the forward pass; of 2.3 and 2.5, and a tenth more than of 2.0."""


def saved_bytes(
    config: Mapping[str, Any],
    tokens: Mapping[str, int],
    samples: int,
    training_mode: str,
    precision: str,
    recomputed: int,
    compiled: bool,
) -> int:
    """See `families.family.SavedBytes`. Compiled blocks were not counted: they are taken to save as much."""
    saved, layers = _BYTES[training_mode, precision], config["num_layers"]
    width = config["num_attention_heads"] * config["attention_head_dim"]
    words = samples * TEXT_TOKENS
    audio_width = config["audio_num_attention_heads"] * config["audio_attention_head_dim"]
    widths = {VIDEO: width, AUDIO: audio_width}
    if len(tokens) == 1:
        ((stream, count),) = tokens.items()
        text = saved.text.bytes(words, widths[stream], layers, recomputed)
        return text + saved.alone.bytes(count, widths[stream], layers, recomputed)
    return (
        saved.text.bytes(words, width, layers, recomputed)
        + saved.text.bytes(words, audio_width, layers, recomputed)
        + saved.video.bytes(tokens[VIDEO], width, layers, recomputed)
        + saved.audio.bytes(tokens[AUDIO], audio_width, layers, recomputed)
    )
