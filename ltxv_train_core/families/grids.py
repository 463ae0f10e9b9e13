"""The sizes of videos that model families take.

The configuration refuses other sizes before a model is known, so this table stands below it and imports
nothing but the geometry.
"""

from ..errors import ConfigurationError
from ..geometry import Grid, VideoSize

GRIDS = {
    "LTX-Video": Grid(spatial=32, temporal=8),
    "LTX-2": Grid(spatial=32, temporal=8),
}
"""By the name of the family."""


def require_size(size: VideoSize) -> None:
    """Raises `ConfigurationError` for a size that no family takes."""
    problems = [grid.problem(size) for grid in GRIDS.values()]
    if None not in problems:
        raise ConfigurationError([str(problems[0])])
