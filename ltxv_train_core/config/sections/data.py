from typing import ClassVar

from pydantic import field_validator, model_validator

from ..base import Section, option
from ..data_set_lines import (
    LEAST_REPEATS,
    MOST_LINES,
    MOST_REPEATS,
    MOST_STAGES,
    MOST_WEIGHT,
    DataSetLine,
    data_set_names,
    parse_data_set_line,
)


class DataConfig(Section):
    """The section `data`."""

    summary: ClassVar[str] = "The preprocessed data set and how it is loaded."

    preprocessed_data_root: str = option(
        ...,
        "The preprocessed data set: the .precomputed folder, or the folder it is in, for the one that "
        "was preprocessed last; or the index of one of several in a folder.",
        min_length=1,
    )
    num_dataloader_workers: int = option(
        2,
        "Threads that load batches ahead of training; 0 loads in the training thread.",
        ge=0,
        le=64,
        advanced=True,
    )
    allow_other_encoders: bool = option(
        False,
        "Train on a data set that was encoded with another VAE or text encoder than the model's. Only "
        "if you know that both give the same numbers, such as the same weights in another precision.",
        advanced=True,
    )
    held_out_clips: int = option(
        0,
        "So many clips are never trained on. Their loss is measured at each checkpoint, always with the same noise, and "
        "tells which step is best. Clips of one video stay together. 0: none.",
        ge=0,
        le=10_000,
    )
    prior_data_root: str | None = option(
        None,
        "Prior preservation: a second preprocessed data set, of clips as the base model makes them without what is to "
        "be learned. Each step also trains on as many of them; see optimization.prior_weight. Empty: none.",
        advanced=True,
    )
    more_data_sets: tuple[str, ...] = option(
        (),
        "Further preprocessed data sets of the same run, one per line: PATH, or 'PATH: repeats 2, weight 0.5, "
        "caption_dropout 0.1, stage 2' with any of these. repeats and weight: as below. caption_dropout: instead of "
        "conditioning.caption_dropout_p. stage 2, stages 2-3: when, see stage_steps. 'PATH: held_out': never trained on, "
        "only measured, like held_out_clips.",
        advanced=True,
    )
    repeats: float = option(
        1.0,
        "With more_data_sets: how often each clip of preprocessed_data_root is seen where one of a data set with 1 is "
        "seen once.",
        ge=LEAST_REPEATS,
        le=MOST_REPEATS,
        step=0.1,
        advanced=True,
    )
    weight: float = option(
        1.0,
        "With more_data_sets: a factor on the loss of the clips of preprocessed_data_root.",
        ge=LEAST_REPEATS,
        le=MOST_WEIGHT,
        step=0.1,
        advanced=True,
    )
    balanced: bool = option(
        False,
        "With more_data_sets: each data set is seen equally often, however many clips it has; repeats multiply that.",
        advanced=True,
    )
    stage_steps: tuple[int, ...] = option(
        (),
        "Progressive training: the steps of each stage but the last, with commas between them. "
        "preprocessed_data_root is trained in stage 1, and each of more_data_sets in those that its line names: for "
        "example small clips first, then large ones.",
        advanced=True,
    )

    @property
    def further(self) -> tuple[DataSetLine, ...]:
        """`more_data_sets`, read."""
        return tuple(map(parse_data_set_line, self.more_data_sets))

    @property
    def trained(self) -> tuple[DataSetLine, ...]:
        """All data sets that are trained on, that of `preprocessed_data_root` first; without the prior."""
        first = DataSetLine(self.preprocessed_data_root, repeats=self.repeats, weight=self.weight)
        return (first, *(line for line in self.further if not line.is_held_out))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the data sets that are trained on, in the order of `StepCompleted.loss_by_data_set`."""
        return data_set_names(self.trained)

    @property
    def holds_out(self) -> bool:
        """Whether there are clips that are only measured."""
        return self.held_out_clips > 0 or any(line.is_held_out for line in self.further)

    @property
    def roots(self) -> tuple[tuple[str, str], ...]:
        """All data sets that the run reads, each with the option that names it."""
        own = [
            (name, getattr(self, name)) for name in ("preprocessed_data_root", "prior_data_root")
        ]
        more = [("more_data_sets", line.root) for line in self.further]
        return tuple((name, root) for name, root in (*own, *more) if root)

    @field_validator("more_data_sets")
    @classmethod
    def _lines_that_can_be_read(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        if len(lines) > MOST_LINES:
            raise ValueError(
                f"{len(lines)} data sets: at most {MOST_LINES} can be added; join some of them"
            )
        for line in lines:
            try:
                parse_data_set_line(line)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return lines

    @field_validator("stage_steps")
    @classmethod
    def _some_steps_each(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(each < 1 for each in steps) or len(steps) >= MOST_STAGES:
            raise ValueError(
                f"expected a number of steps above 0 for each stage but the last, of {MOST_STAGES} stages at most"
            )
        return steps

    @model_validator(mode="after")
    def _a_data_set_for_each_stage(self) -> "DataConfig":
        stages = len(self.stage_steps) + 1
        last = max(line.stages[1] for line in self.trained)
        if last > stages:
            raise ValueError(
                f"more_data_sets: names stage {last}, and stage_steps has steps for {stages - 1} of the stages before the "
                f"last, which makes {stages}; give the steps of each stage but the last, such as 1000, 1000 for three"
            )
        for stage in range(1, stages + 1):
            if not any(line.is_in(stage) for line in self.trained):
                raise ValueError(
                    f"stage_steps: stage {stage} of {stages} has no data set; write 'stage {stage}' behind one of "
                    "more_data_sets, or give fewer steps"
                )
        return self
