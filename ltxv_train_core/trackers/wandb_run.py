import os
import re
import uuid
from pathlib import Path

from ..config import TrackersConfig, TrainingConfig
from ..config.redact import shareable
from ..errors import LTXVTrainError
from ..events import SamplesWritten, StepCompleted
from ..permissions import policy
from ..storage.atomic import write_text
from ..storage.reading import read_text
from .base import scalars

_STAYS_HERE = {"offline", "dryrun", "disabled"}


def leaves(wanted: TrackersConfig) -> bool:
    """Whether a run asks for logs that go to Weights & Biases."""
    return wanted.wandb and os.environ.get("WANDB_MODE") not in _STAYS_HERE


def is_refused(wanted: TrackersConfig) -> bool:
    """Whether it asks for logs that this machine's user has not allowed. Its client is not even
    started then: offline too, it sends counts of its use."""
    return leaves(wanted) and not policy().may_log_to(wanted.entity)


_ID = re.compile("[A-Za-z0-9_-]{1,64}")


class WandbRun:
    """A run at Weights & Biases. The run's folder holds its id, so that it resumes there too.

    W&B's own counter of log calls is not used: everything is drawn over `step`. Steps that it
    shows already, made again after a crash, are the same and are skipped.

    Raises:
        LTXVTrainError: when nobody is logged in.
    """

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int):
        import wandb

        wanted = config.trackers
        if leaves(wanted) and not wandb.login(prompt=False):
            raise LTXVTrainError(
                "not logged in; run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline"
            )
        self._run = wandb.init(
            project=wanted.project,
            entity=wanted.entity,
            tags=wanted.tags,
            name=folder.name,
            id=_run_id(folder),
            resume="allow",
            reinit="create_new",
            dir=str(folder),
            config=shareable(config).model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._video = wandb.Video
        self._shown = int(self._run.summary.get("step", 0))

    def step(self, event: StepCompleted) -> None:
        """Logs the scalars of a step, unless the service has it already."""
        if event.step > self._shown:
            self._run.log({"step": event.step, **scalars(event)})

    def samples(self, event: SamplesWritten) -> None:
        """Logs the videos of the validation samples."""
        videos = [self._video(str(path), format="mp4") for path in event.videos]
        self._run.log({"step": event.step, "validation/videos": videos})

    def close(self) -> None:
        """Sends what is left and ends the run there."""
        self._run.finish()


def _run_id(folder: Path) -> str:
    """The one that the folder knows, or a new one: what is no id there is nothing to send away."""
    file = folder / "wandb_id.txt"
    try:
        known = "" if file.is_symlink() else read_text(file, 1000).strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    if not _ID.fullmatch(known):
        known = uuid.uuid4().hex[:12]
        write_text(file, known)
    return known
