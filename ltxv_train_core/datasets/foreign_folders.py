"""Whether a folder was preprocessed by another trainer, by the names of its files alone. No torch."""

from pathlib import Path

from ..config.tools.preprocessing import OUTPUT_FOLDER
from .index import data_folder, index_path

LATENTS_FOLDER, SUFFIX = "latents", ".pt"


def holds_pt_latents(folder: Path) -> bool:
    """Whether it, or `.precomputed` in it, has latents that torch.save has written."""
    places = (folder / OUTPUT_FOLDER / LATENTS_FOLDER, folder / LATENTS_FOLDER)
    return any(next(place.rglob(f"*{SUFFIX}"), None) for place in places)


def find_root(folder: Path) -> Path | None:
    """The folder with `latents/*.pt`, the one given or `.precomputed` in it; None if neither is.

    An index of ours, and a folder with one, is none of theirs.
    """
    if data_folder(folder) != folder:
        return None
    for root in (folder / OUTPUT_FOLDER, folder):
        if index_path(root).is_file():
            return None
        if next((root / LATENTS_FOLDER).rglob(f"*{SUFFIX}"), None):
            return root
    return None
