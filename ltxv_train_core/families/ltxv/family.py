from ..family import Family
from . import layers
from .checkpoint_export import TRANSFORMER_ARCHITECTURE
from .miniature import shipped
from .versions import MAIN_REPOSITORY, VERSIONS

LTXV = Family(
    name="LTX-Video",
    architecture=TRANSFORMER_ARCHITECTURE,
    versions=VERSIONS,
    repositories=frozenset(
        {MAIN_REPOSITORY, *(version.repository for version in VERSIONS.values())}
    ),
    layers=layers,
    shipped=shipped.FOLDER,
)
