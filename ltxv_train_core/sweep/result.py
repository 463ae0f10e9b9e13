"""What a sweep has found: a table for people, JSON for programs, and a chart of all held-out losses."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image, ImageDraw, ImageFont

from ..errors import shown
from ..storage.atomic import atomic_path, write_json, write_text
from .search import Values

FORMAT = 1
Outcome = Literal["finished", "ended early", "failed"]
_SIZE = (640, 360)
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 30, _SIZE[0] - 14, _SIZE[1] - 26
_BACKGROUND, _GRID, _TEXT, _OTHER, _BEST = "#1e1e24", "#3a3a44", "#d8d8e0", "#5f7fa0", "#ffd166"


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        values: what was varied, by dotted name.
        run: the name of its folder; empty where it failed before it began.
        measured: (step, held-out loss) in order.
        text: why it ended, where it didn't finish.
    """

    number: int
    values: Values
    run: str
    outcome: Outcome
    measured: tuple[tuple[int, float], ...]
    text: str = ""

    @classmethod
    def read(cls, record: dict[str, Any]) -> "Trial":
        """One of `sweep.json`. Raises ValueError, TypeError or KeyError for what was never written there."""
        measured = tuple((step, loss) for step, loss in record["measured"])
        kinds = {"number": int, "values": dict, "run": str, "text": str}
        numbers = all(type(step) is int and type(loss) is float for step, loss in measured)
        if not numbers or any(type(record[name]) is not kind for name, kind in kinds.items()):
            raise ValueError("no run of a sweep")
        if record["outcome"] not in get_args(Outcome):
            raise ValueError("no outcome of a run")
        return cls(**{**record, "measured": measured})

    @property
    def best(self) -> tuple[int, float]:
        """The step with the lowest loss, and that; (0, inf) where nothing was measured."""
        return min(self.measured, key=lambda pair: pair[1], default=(0, math.inf))


@dataclass(frozen=True)
class SweepResult:
    """All runs so far, in the order in which they were trained.

    Attributes:
        steps: of a run that is not ended early.
        missing: runs that were not trained, because the sweep was stopped.
    """

    trials: Sequence[Trial]
    steps: int
    missing: int = 0

    @property
    def ranked(self) -> list[Trial]:
        """The best first."""
        return sorted(self.trials, key=lambda trial: (trial.best[1], trial.number))

    @property
    def best(self) -> Trial | None:
        """The run with the lowest held-out loss."""
        ranked = self.ranked
        return ranked[0] if ranked and ranked[0].measured else None

    @property
    def text(self) -> str:
        """The table in Markdown."""
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.values))
        head = ("rank", *names, "held-out loss", "best step", "outcome", "run")
        rows = [
            (
                str(place),
                *(_cell(trial.values.get(name)) for name in names),
                f"{trial.best[1]:.4f}" if trial.measured else "",
                str(trial.best[0]) if trial.measured else "",
                trial.outcome,
                trial.run or shown(trial.text, 120),
            )
            for place, trial in enumerate(self.ranked, start=1)
        ]
        lines = [head, ("---",) * len(head), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        left = f"\n\n{self.missing} runs were not trained." if self.missing else ""
        return f"{table}{left}\n"

    def as_json(self) -> dict[str, Any]:
        """The same for programs, trial by trial."""
        trials = [{**asdict(trial), "values": dict(trial.values)} for trial in self.trials]
        return {"format": FORMAT, "steps": self.steps, "missing": self.missing, "trials": trials}

    def write(self, folder: Path) -> None:
        """Writes sweep.md, sweep.json and sweep.png, each atomically."""
        write_text(folder / "sweep.md", self.text)
        write_json(folder / "sweep.json", self.as_json())
        with atomic_path(folder / "sweep.png") as temporary:
            self.chart().save(temporary, format="PNG")

    def chart(self) -> Image.Image:
        """The held-out loss of each run by step; the best one bright."""
        image = Image.new("RGB", _SIZE, _BACKGROUND)
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
        losses = [loss for trial in self.trials for _, loss in trial.measured]
        low, high = (min(losses), max(losses)) if losses else (0.0, 1.0)
        high = high if high > low else low + 1
        for k in range(5):
            y = _TOP + (_BOTTOM - _TOP) * k / 4
            draw.line([(_LEFT, y), (_RIGHT, y)], fill=_GRID)
            value = f"{high - (high - low) * k / 4:.3f}"
            draw.text((_LEFT - 6, y), value, font=font, fill=_TEXT, anchor="rm")
        draw.text((_LEFT, _BOTTOM + 6), "0", font=font, fill=_TEXT)
        draw.text((_RIGHT, _BOTTOM + 6), str(self.steps), font=font, fill=_TEXT, anchor="ra")
        best = self.best
        for trial in [*self.ranked[::-1]]:
            points = [
                (
                    _LEFT + (_RIGHT - _LEFT) * step / max(1, self.steps),
                    _BOTTOM - (_BOTTOM - _TOP) * (loss - low) / (high - low),
                )
                for step, loss in trial.measured
            ]
            is_best = trial is best
            if len(points) > 1:
                draw.line(points, fill=_BEST if is_best else _OTHER, width=3 if is_best else 1)
        if best is not None:
            told = ", ".join(
                f"{name.partition('.')[2]} {_cell(v)}" for name, v in best.values.items()
            )
            draw.text((_LEFT, 8), f"best: {told}", font=font, fill=_BEST)
        return image


def _cell(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str("none" if value is None else value)
    return text.replace("|", "\\|").replace("\n", " ")
