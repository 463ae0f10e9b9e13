from ..family import Family, ModelSize
from ..names import PROMPT, VIDEO
from ..video_format import VideoFormat
from .activation_bytes import LORA_IN_HALF, saved_bytes
from .checkpoint_export import TRANSFORMER_ARCHITECTURE
from .layers import LAYERS
from .miniature import shipped
from .versions import MAIN_REPOSITORY, T5_XXL_BYTES, VERSIONS
from .video_format import GRID, NAME

LTXV = Family(
    name=NAME,
    grid=GRID,
    streams={VIDEO: VideoFormat(GRID)},
    text=(PROMPT,),
    sizes=(
        ModelSize("2B", 28, 2048, 3_800_000_000, LORA_IN_HALF),
        ModelSize("13B", 48, 4096, 26_100_000_000, LORA_IN_HALF),
    ),
    architecture=TRANSFORMER_ARCHITECTURE,
    called=r"ltx[-_ ]?v(?!ideo[-_ ]?2(?![b\d]))",
    versions=VERSIONS,
    repositories=frozenset(
        {MAIN_REPOSITORY, *(version.repository for version in VERSIONS.values())}
    ),
    layers=LAYERS,
    miniature=shipped.MINIATURE,
    shipped=shipped.FOLDER,
    saved_bytes=saved_bytes,
    text_encoder_bytes=T5_XXL_BYTES,
)
