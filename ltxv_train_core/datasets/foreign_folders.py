"""Whether a folder was preprocessed by another trainer, by the names of its files alone. No torch."""

from pathlib import Path

from ..config.tools.preprocessing import OUTPUT_FOLDER

LATENTS_FOLDER, SUFFIX = "latents", ".pt"


def holds_pt_latents(folder: Path) -> bool:
    """Whether it, or `.precomputed` in it, has latents that torch.save has written."""
    places = (folder / OUTPUT_FOLDER / LATENTS_FOLDER, folder / LATENTS_FOLDER)
    return any(next(place.rglob(f"*{SUFFIX}"), None) for place in places)
