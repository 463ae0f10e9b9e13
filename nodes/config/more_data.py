"""The node that adds a data set to those of a training."""

from collections.abc import Mapping
from dataclasses import replace

from comfy_api.latest import io

from ...ltxv_train_core.config import DataConfig, options
from ...ltxv_train_core.config.data_set_lines import MOST_STAGES, data_set_line
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.folders import input_path
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY
from ..comfy.widget_problems import WidgetProblem
from .section_nodes import data_set_problems
from .widgets import widget

_AS_CONFIGURED = -1.0


class LTXVTrainAddDataset(io.ComfyNode):
    """Writes a line of `data.more_data_sets`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainAddDataset",
            display_name="Add LTXV Dataset",
            category=CATEGORY,
            description="Adds a preprocessed data set to those of a training, with its repeats, its weight and its "
            "stages. Connect it to more_data_sets of Configure LTXV Data, or to another node of this kind for "
            "more than two data sets.",
            **search_aliases("dataset", "repeats", "several", "stages", "progressive", "join"),
            inputs=[
                io.String.Input(
                    "preprocessed_data_root",
                    default="",
                    tooltip="The preprocessed data set, from Preprocess LTXV Dataset.",
                ),
                _like_option(
                    "repeats",
                    "How often each clip is seen where one of a data set with 1 is seen once.",
                ),
                _like_option("weight", "A factor on the loss of its clips."),
                io.Float.Input(
                    "caption_dropout",
                    default=_AS_CONFIGURED,
                    min=_AS_CONFIGURED,
                    max=1.0,
                    step=0.01,
                    tooltip="Probability that one of its samples has the empty caption. -1: as in Configure LTXV "
                    "Conditioning.",
                ),
                io.Int.Input(
                    "first_stage",
                    default=1,
                    min=1,
                    max=MOST_STAGES,
                    tooltip="The stage from which on it is trained, see stage_steps of Configure LTXV Data.",
                ),
                io.Int.Input(
                    "last_stage",
                    default=1,
                    min=1,
                    max=MOST_STAGES,
                    tooltip="The stage until which it is trained.",
                ),
                io.Boolean.Input(
                    "held_out",
                    default=False,
                    tooltip="Never train on it, only measure its loss at each checkpoint. The other settings have no "
                    "effect then.",
                ),
                io.String.Input(
                    "more_data_sets",
                    default="",
                    multiline=True,
                    tooltip="From another Add LTXV Dataset: its data sets come first. Empty: none.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="more_data_sets",
                    tooltip="For more_data_sets of Configure LTXV Data, or of another Add LTXV Dataset.",
                )
            ],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A path that leads to no data set, and stages that go backwards."""
        root = written.get("preprocessed_data_root")
        found = data_set_problems(root) if isinstance(root, str) else []
        first, last = written.get("first_stage"), written.get("last_stage")
        if isinstance(first, int) and isinstance(last, int) and last < first:
            found.append(WidgetProblem("last_stage", _BACKWARDS.format(first, last)))
        return found

    @classmethod
    def execute(
        cls,
        preprocessed_data_root: str,
        repeats: float,
        weight: float,
        caption_dropout: float,
        first_stage: int,
        last_stage: int,
        held_out: bool,
        more_data_sets: str,
    ) -> io.NodeOutput:
        dropout = None if caption_dropout < 0 else caption_dropout
        if last_stage < first_stage:
            raise ConfigurationError([f"last_stage: {_BACKWARDS.format(first_stage, last_stage)}"])
        root = str(input_path(preprocessed_data_root))
        stages = first_stage, last_stage
        try:
            line = data_set_line(root, repeats, weight, dropout, stages, held_out).written
        except ValueError as error:
            raise ConfigurationError([str(error)]) from None
        return io.NodeOutput("\n".join(filter(None, [more_data_sets.strip(), line])))


def _like_option(name: str, description: str) -> io.Input:
    """The widget of an option of the data section, here of the data set that is added."""
    (found,) = (option for option in options(DataConfig) if option.name == name)
    return widget(replace(found, description=description, advanced=False))


_BACKWARDS = (
    "first_stage {} and last_stage {} go backwards; the last one is the first or a later one"
)
