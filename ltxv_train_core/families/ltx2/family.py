from ..family import Family, ModelSize
from ..names import AUDIO, AUDIO_TEXT, VIDEO, VIDEO_TEXT
from ..video_format import VideoFormat
from .activation_bytes import LORA_IN_HALF, saved_bytes
from .formats import GRID, NAME, AudioFormat
from .layers import LAYERS
from .miniature import shipped

ARCHITECTURE = "ltx-2"
GEMMA_BYTES = 24_000_000_000
"""Of Gemma 3 12B, in bfloat16."""

LTX2 = Family(
    name=NAME,
    grid=GRID,
    streams={VIDEO: VideoFormat(GRID, scales_references=True), AUDIO: AudioFormat()},
    text=(VIDEO_TEXT, AUDIO_TEXT),
    sizes=(ModelSize("19B to 22B", 48, 4096, 38_000_000_000, LORA_IN_HALF),),
    architecture=ARCHITECTURE,
    called=r"ltx[-_ ]?(video[-_ ]?)?2(?![b\d])|ltxav",
    versions={},
    repositories=frozenset(),
    layers=LAYERS,
    miniature=shipped.MINIATURE,
    shipped=shipped.FOLDER,
    saved_bytes=saved_bytes,
    text_encoder_bytes=GEMMA_BYTES,
)
