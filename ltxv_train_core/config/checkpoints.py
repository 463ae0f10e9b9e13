from typing import ClassVar

from .section import Section, option


class CheckpointsConfig(Section):
    summary: ClassVar[str] = "When the state is saved and how much of it is kept."

    interval: int | None = option(
        None, "Steps between two checkpoints; the last step always makes one.", ge=1, le=10_000_000
    )
    keep_last_n: int = option(
        5, "Checkpoints to keep, the newest ones; -1 keeps all.", ge=-1, le=10_000
    )
