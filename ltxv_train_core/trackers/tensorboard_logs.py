from pathlib import Path

import numpy as np
from PIL import Image

from ..config import TrainingConfig, yaml_file
from ..config.redact import shareable
from ..events import SamplesWritten, StepCompleted
from .base import scalars


class TensorBoardLogs:
    """TensorBoard's log files in the folder `tensorboard` of the run."""

    def __init__(self, config: TrainingConfig, folder: Path, first_step: int):
        from torch.utils.tensorboard import SummaryWriter

        logs = folder / "tensorboard"
        is_new = not logs.exists()
        self._writer = SummaryWriter(str(logs), purge_step=None if is_new else first_step)
        if is_new:
            text = yaml_file.dump(shareable(config))
            self._writer.add_text("configuration", f"```yaml\n{text}```", 0)

    def step(self, event: StepCompleted) -> None:
        """Logs the scalars of a step."""
        for name, value in scalars(event).items():
            self._writer.add_scalar(name, value, event.step)

    def samples(self, event: SamplesWritten) -> None:
        """Logs the contact sheet, and writes the log to disk."""
        sheet = np.array(Image.open(event.sheet).convert("RGB"))
        self._writer.add_image("validation", sheet, event.step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left and closes the log."""
        self._writer.close()
