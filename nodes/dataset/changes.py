"""Whether a data set has changed since a node looked at it."""

from pathlib import Path

from comfy_api.latest import io

from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.manifests.manifest import Columns, Manifest, read_manifest
from ...ltxv_train_core.storage.atomic import sha256_json
from ...ltxv_train_core.storage.paths import files_below
from ..comfy.folders import input_path
from ..training.result_files import Given

written = Given()
"""The metadata files that nodes have written."""


class WritesDataset(io.ComfyNode):
    """A node whose data set is written again when it was deleted."""

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> int:
        return written.count_gone()


def state_of_source(dataset_path: str, columns: Columns, default_caption: str = "") -> str:
    """Changes with the metadata and the files of a data set as written on the canvas."""
    try:
        return state_of(read_manifest(input_path(dataset_path), columns, default_caption))
    except LTXVTrainError as error:
        return str(error)


def state_of(manifest: Manifest) -> str:
    """Changes with every caption, and with the size or time of every file."""
    files = [
        (clip, path) for clip in manifest.clips for path in (clip.media, clip.reference, clip.mask)
    ]
    states = [
        (clip.name, clip.captions, path.stat().st_size, path.stat().st_mtime_ns)
        for clip, path in files
        if path is not None
    ]
    skipped = [(skip.name, skip.reason) for skip in manifest.skipped]
    return sha256_json([states, skipped])


def state_of_files(*paths: Path) -> str:
    """Changes with the size or time of the files, and of all files in the folders, named."""
    files = [f for p in paths for f in (files_below(p) if p.is_dir() else [p])]
    states = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return sha256_json(states)
