"""What LTX-Video 0.9.x takes for a video. No torch."""

from ..grids import GRIDS
from ..video_format import VIDEO_CHANNELS

NAME = "LTX-Video"
GRID = GRIDS[NAME]
LATENT_CHANNELS = VIDEO_CHANNELS
