"""Files from the Hugging Face Hub, only those that are needed: parts of models into its cache, data sets into a folder."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import Cancelled, ModelError
from ...events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from .part_config import shards

PHASE, DATASET_PHASE = "download model", "download data set"

# Folders of a repository in the diffusers layout; "" is the top, where an encoder alone lies.
ENCODER_FOLDERS = ("text_encoder", "tokenizer")
TOP = ("",)

_WEIGHTS = (".safetensors", ".bin")
_READ = (*_WEIGHTS, ".json", ".model", ".txt")
_REPORT_EVERY_BYTES = 1_000_000


def download_folders(
    repository: str,
    folders: tuple[str, ...],
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Path:
    """The snapshot of a repository with these folders in it.

    What is complete in the cache isn't asked for again, so that it works without a connection; an
    interrupted download resumes where it stopped.

    Raises:
        ModelError: when the Hub can't be reached, refuses, or has no such folders.
        Cancelled: when it was stopped; what came is kept.
    """
    complete = (s for s in _snapshots(repository) if all(_is_complete(s, f) for f in folders))
    if found := next(complete, None):
        return found
    sizes = _sizes(repository)
    wanted = {name: size for name, size in sizes.items() if _folder(name) in folders}
    pickled = {name for name in wanted if name.endswith((".bin", ".bin.index.json"))}
    if any(name.endswith(".safetensors") for name in wanted):
        wanted = {name: size for name, size in wanted.items() if name not in pickled}
    wanted |= {name: size for name, size in sizes.items() if name == "model_index.json"}
    lacking = set(folders) - {_folder(name) for name in wanted}
    if lacking:
        raise ModelError(f"{repository}: the repository has no folder {', '.join(sorted(lacking))}")
    # A configuration comes last: where it is, its folder is complete.
    order = sorted(wanted, key=lambda name: (name.endswith(("config.json", "index.json")), name))
    path = _download(repository, {name: wanted[name] for name in order}, report, stop)
    return path.parents[len(Path(order[-1]).parts) - 1]


def download_file(
    repository: str, name: str, report: Reporter = ignore, stop: StopSignal | None = None
) -> Path:
    """One file of a repository. Raises as `download_folders` does."""
    found = next((s / name for s in _snapshots(repository) if (s / name).is_file()), None)
    if found:
        return found
    sizes = _sizes(repository)
    if name not in sizes:
        raise ModelError(f"{repository}: the repository has no file {name}")
    return _download(repository, {name: sizes[name]}, report, stop)


def dataset_files(repository: str) -> dict[str, int]:
    """The files of a data set's repository with their bytes. Raises `ModelError` where the Hub can't be asked."""
    return _every_size(repository, "dataset")


def download_dataset_files(
    repository: str,
    sizes: dict[str, int],
    folder: Path,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> None:
    """Brings files of a data set into a folder, under their names. Those that are there are not sent again.

    Raises:
        ModelError: when the Hub can't be reached or refuses.
        Cancelled: when it was stopped; what came is kept.
    """
    follow = _Follow(sum(sizes.values()), report, stop or NeverStop(), DATASET_PHASE)
    _fetch(repository, sizes, follow, repo_type="dataset", local_dir=folder)


def encoder_folders(repository: str) -> tuple[str, ...]:
    """Where a repository has its text encoder: in a whole model's folders, or at the top."""
    for folders in (ENCODER_FOLDERS, TOP):
        if any(all(_is_complete(s, f) for f in folders) for s in _snapshots(repository)):
            return folders
    names = _sizes(repository)
    return ENCODER_FOLDERS if any(n.startswith("text_encoder/") for n in names) else TOP


def require_reachable(repository: str, cached: bool) -> None:
    """Raises `ModelError` for what isn't in the cache where the Hub may not be asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and not cached:
        raise ModelError(
            f"{repository}: isn't in the Hugging Face cache, and HF_HUB_OFFLINE is set. Unset it "
            "to download it once, or give a local file or folder"
        )


def is_downloaded(repository: str, folders: tuple[str, ...] = (), file: str | None = None) -> bool:
    """Whether all of it is in the Hub client's cache."""
    return any(
        all(_is_complete(s, f) for f in folders) and (file is None or (s / file).is_file())
        for s in _snapshots(repository)
    )


def _snapshots(repository: str) -> list[Path]:
    """Cached snapshots of a repository, the newest first."""
    from huggingface_hub import constants

    name = "models--" + repository.replace("/", "--")
    folder = Path(constants.HF_HUB_CACHE, name, "snapshots")
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _is_complete(snapshot: Path, folder: str) -> bool:
    names = {p.name for p in (snapshot / folder).glob("*") if p.is_file()}
    configurations = {n for n in names if n.endswith("config.json")}
    indexes = [n for n in names if n.endswith(".index.json") and n != "model_index.json"]
    weights = {n for n in names if n.endswith(_WEIGHTS)}
    wanted: set[str] = set()
    for name in indexes:
        try:
            wanted |= set(shards(snapshot / folder / name))
        except ModelError:
            return False
    needs_weights = "config.json" in configurations
    return bool(configurations) and wanted <= names and (bool(weights) or not needs_weights)


def _sizes(repository: str) -> dict[str, int]:
    """The files of a repository that a model may be made of, with their bytes."""
    sizes = _every_size(repository, "model")
    return {name: size for name, size in sizes.items() if name.endswith(_READ)}


def _every_size(repository: str, kind: str) -> dict[str, int]:
    from huggingface_hub import HfApi

    require_reachable(repository, cached=False)
    hub = HfApi(endpoint=_endpoint())
    ask = hub.dataset_info if kind == "dataset" else hub.model_info
    try:
        info = ask(repository, files_metadata=True)
    except Exception as error:  # each version of the client raises another library's
        raise _unreachable(repository, error) from error
    return {each.rfilename: each.size or 0 for each in info.siblings or ()}


def _download(
    repository: str, sizes: dict[str, int], report: Reporter, stop: StopSignal | None
) -> Path:
    """Brings files into the cache; returns the path of the last."""
    return _fetch(repository, sizes, _Follow(sum(sizes.values()), report, stop or NeverStop()))


def _fetch(repository: str, sizes: dict[str, int], follow: "_Follow", **where: Any) -> Path:
    from huggingface_hub import hf_hub_download

    options = _progress_options(hf_hub_download, follow) | where
    path = Path()
    try:
        for name, size in sizes.items():
            raise_if_stopped(follow.stop)
            path = Path(hf_hub_download(repository, name, endpoint=_endpoint(), **options))
            follow.finished(size)
    except Cancelled:
        raise
    except Exception as error:
        raise _unreachable(repository, error) from error
    return path


class _Follow:
    """Counts the bytes of all files together."""

    def __init__(self, total: int, report: Reporter, stop: StopSignal, phase: str = PHASE):
        self.total, self.report, self.stop, self.phase = total, report, stop, phase
        self._before = self._told = 0

    def at(self, done: int) -> None:
        """`done` bytes of the current file are there."""
        raise_if_stopped(self.stop)
        if self._before + done - self._told >= _REPORT_EVERY_BYTES:
            self._tell(self._before + done)

    def finished(self, size: int) -> None:
        """The current file is there."""
        self._before += size
        self._tell(self._before)

    def _tell(self, done: int) -> None:
        self._told = done
        total = max(self.total, 1)
        self.report(Progress(self.phase, min(done, total), total, "byte"))


def _progress_options(function: Callable[..., Any], follow: _Follow) -> dict[str, Any]:
    """What makes newer clients report every piece of a file; older ones report whole files."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """The client's progress bar, without a bar."""

        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **(options | {"disable": True}))  # type: ignore[no-untyped-call]
            self.done = int(options.get("initial", 0))

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            follow.at(self.done)

    return {"tqdm_class": Bar} if "tqdm_class" in inspect.signature(function).parameters else {}


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _unreachable(repository: str, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    return ModelError(
        f"{repository}: can't be downloaded from the Hugging Face Hub ({reason}). Check the name and "
        "the connection (and for a gated repository the login, `hf auth login`), or give a local file or "
        "folder. What came so far is kept"
    )
