"""Whether a folder was preprocessed by another trainer, by the names of its files alone. No torch."""

from pathlib import Path

from ..config.tools.preprocessing import OUTPUT_FOLDER
from .index import data_folder, index_path

LATENTS_FOLDERS, SUFFIX = ("latents", "audio_latents"), ".pt"
"""Of videos, and of sounds, which may be alone."""


def holds_pt_latents(folder: Path) -> bool:
    """Whether it, or `.precomputed` in it, has latents that torch.save has written."""
    roots = (folder / OUTPUT_FOLDER, folder)
    places = (root / name for root in roots for name in LATENTS_FOLDERS)
    return any(next(place.rglob(f"*{SUFFIX}"), None) for place in places)


def find_root(folder: Path, latents: str = LATENTS_FOLDERS[0]) -> Path | None:
    """The folder with `latents/*.pt`, the one given or `.precomputed` in it; None if neither is.

    An index of ours, and a folder with one, is none of theirs.
    """
    if data_folder(folder) != folder:
        return None
    for root in (folder / OUTPUT_FOLDER, folder):
        if index_path(root).is_file():
            return None
        if next((root / latents).rglob(f"*{SUFFIX}"), None):
            return root
    return None
