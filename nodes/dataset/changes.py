"""Change detection: fingerprints of data sets."""

from pathlib import Path

from comfy_api.latest import io

from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.manifests.manifest import Columns, Manifest, read_manifest
from ...ltxv_train_core.storage.atomic import sha256_json
from ...ltxv_train_core.storage.paths import files_below
from ..comfy.folders import input_path
from ..training.result_files import ResultFiles

written = ResultFiles()
"""The metadata files that outputs of nodes name."""


class WritesDataset(io.ComfyNode):
    """A node that runs again when the data set that it wrote was deleted."""

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> int:
        """Changes when a data set that such a node wrote was deleted."""
        return written.count_deleted()


def state_of_source(dataset_path: str, columns: Columns, default_caption: str = "") -> str:
    """Fingerprint of a data set's metadata and files; of one that can't be read, the error.

    Args:
        dataset_path: as written on the canvas.
    """
    try:
        return state_of(read_manifest(input_path(dataset_path), columns, default_caption))
    except LTXVTrainError as error:
        return str(error)


def state_of(manifest: Manifest) -> str:
    """Fingerprint of every caption, and of size and modification time of every file."""
    files = [
        (clip, path)
        for clip in manifest.clips
        for path in (clip.media, clip.reference, clip.mask, clip.audio, clip.reference_audio)
    ]
    states = [
        (
            clip.name,
            clip.captions,
            (clip.speech, clip.audio_mask),
            path.stat().st_size,
            path.stat().st_mtime_ns,
        )
        for clip, path in files
        if path is not None
    ]
    skipped = [(skip.name, skip.reason) for skip in manifest.skipped]
    return sha256_json([states, skipped])


def state_of_files(*paths: Path) -> str:
    """Fingerprint of size and modification time of files, and of all files in folders."""
    files = [f for p in paths for f in (files_below(p) if p.is_dir() else [p])]
    states = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return sha256_json(states)
