"""One node for each section of the configuration.

A node's widgets are the section's options: default, bounds, choices and tooltip come from the
pydantic field. Workflows store widget values by position, so a section's fields are only ever
appended.
"""

from collections.abc import Mapping
from typing import ClassVar

from comfy_api.latest import io

from ...ltxv_train_core.config import SAMPLE_MEDIA, SECTIONS, from_widgets, options
from ...ltxv_train_core.config.data_set_lines import DataSetLine, parse_data_set_line
from ..comfy.folders import input_path
from ..comfy.model_files import (
    chosen_file_problems,
    inputs_with_lists,
    model_problems,
    with_files,
)
from ..comfy.schema import search_aliases
from ..comfy.sockets import CONFIG_CATEGORY, SECTION_SOCKETS
from ..comfy.widget_problems import WidgetProblem, problems_at
from .widgets import option_problems, path_problems, widget

DATA_SETS = "more_data_sets"
PATHS = {"preprocessed_data_root", "prior_data_root", "load_checkpoint", *SAMPLE_MEDIA}


class SectionNode(io.ComfyNode):
    """What the nodes of all sections do.

    Attributes:
        section: the section's name in the configuration.
        node_id: the name of the class; workflows hold it.
        display_name: the node's title on the canvas.
        description: what it is for, in a sentence that a newcomer understands.
        aliases: other words by which the node is found.
    """

    section: ClassVar[str]
    node_id: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]

    @classmethod
    def define_schema(cls) -> io.Schema:
        section = SECTIONS[cls.section]
        return io.Schema(
            node_id=cls.node_id,
            display_name=cls.display_name,
            category=CONFIG_CATEGORY,
            description=f"{cls.description} Connect it to Join LTXV Training Configuration.",
            **search_aliases(*cls.aliases),
            inputs=[widget(option) for option in options(section)],
            outputs=[
                SECTION_SOCKETS[cls.section].Output(
                    display_name=cls.section,
                    tooltip=f"The {cls.section} section of a training configuration.",
                )
            ],
        )

    @classmethod
    def execute(cls, **values: object) -> io.NodeOutput:
        located = {name: _locate(name, value) for name, value in values.items()}
        return io.NodeOutput(from_widgets(SECTIONS[cls.section], located, cls.section))

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options."""
        return option_problems(SECTIONS[cls.section], written, cls.section)

    @classmethod
    def missing_here(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """Files that a training on this machine needs and that are nowhere."""
        return [
            problem
            for name in sorted(PATHS & written.keys())
            for problem in path_problems(name, written[name])
        ]


class LTXVTrainModelConfig(SectionNode):
    """The base model. Its node also lists the files of ComfyUI's model folders."""

    section = "model"
    node_id = "LTXVTrainModelConfig"
    display_name = "Configure LTXV Model"
    description = "Chooses the video model that is trained."
    aliases = ("base model", "checkpoint")

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = super().define_schema()
        schema.inputs = inputs_with_lists(options(SECTIONS[cls.section]), schema.inputs)
        return schema

    @classmethod
    def execute(cls, **values: object) -> io.NodeOutput:
        return super().execute(**with_files(values))

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the options, and chosen files that are gone."""
        return super().widget_problems(written) or chosen_file_problems(written)

    @classmethod
    def missing_here(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """Models and a start file that are nowhere."""
        return [*model_problems(written), *super().missing_here(written)]


class LTXVTrainLoRAConfig(SectionNode):
    """The size of the LoRA and the layers that have one."""

    section = "lora"
    node_id = "LTXVTrainLoRAConfig"
    display_name = "Configure LTXV LoRA"
    description = (
        "Sets how much the LoRA can learn (its rank), and which layers of the model it changes."
    )
    aliases = ("rank", "alpha", "lora")


class LTXVTrainConditioningConfig(SectionNode):
    """What the model is given besides the caption: first frames, reference videos, masks."""

    section = "conditioning"
    node_id = "LTXVTrainConditioningConfig"
    display_name = "Configure LTXV Conditioning"
    description = (
        "Sets what the model sees besides the text while it learns: a first frame to animate, a "
        "video to follow, a part to keep."
    )
    aliases = ("image to video", "reference", "mask")


class LTXVTrainOptimizationConfig(SectionNode):
    """Steps, batch size, learning rate, optimizer and schedule."""

    section = "optimization"
    node_id = "LTXVTrainOptimizationConfig"
    display_name = "Configure LTXV Optimization"
    description = (
        "Sets how long and how fast the model learns: steps, learning rate, batch size, optimizer."
    )
    aliases = ("learning rate", "steps", "optimizer")


class LTXVTrainAccelerationConfig(SectionNode):
    """Precision, memory and speed."""

    section = "acceleration"
    node_id = "LTXVTrainAccelerationConfig"
    display_name = "Configure LTXV Acceleration"
    description = "Sets precision and memory use, so that training fits your GPU."
    aliases = ("memory", "precision", "vram", "quantization")


class LTXVTrainDataConfig(SectionNode):
    """Where the preprocessed data set lies, and how it is read."""

    section = "data"
    node_id = "LTXVTrainDataConfig"
    display_name = "Configure LTXV Data"
    description = "Chooses the preprocessed clips to train on."
    aliases = ("dataset",)

    @classmethod
    def missing_here(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A path that leads to no data set."""
        roots = {name: written.get(name) for name in ("preprocessed_data_root", "prior_data_root")}
        more = [(DATA_SETS, line.root) for line in _data_set_lines(written.get(DATA_SETS))]
        return [
            problem
            for name, root in (*roots.items(), *more)
            if isinstance(root, str) and (root.strip() or name == "preprocessed_data_root")
            for problem in data_set_problems(root, name)
        ]


class LTXVTrainValidationConfig(SectionNode):
    """The samples that a run makes while it trains."""

    section = "validation"
    node_id = "LTXVTrainValidationConfig"
    display_name = "Configure LTXV Validation"
    description = "Makes test videos during training, so that you see what the model has learned."
    aliases = ("samples", "preview")


class LTXVTrainCheckpointsConfig(SectionNode):
    """When checkpoints are written, and how many stay on disk."""

    section = "checkpoints"
    node_id = "LTXVTrainCheckpointsConfig"
    display_name = "Configure LTXV Checkpoints"
    description = (
        "Sets how often training is saved, so that you can resume it and use the LoRA of an "
        "earlier step."
    )
    aliases = ("checkpoint", "save", "resume")


class LTXVTrainHubConfig(SectionNode):
    """Upload of the finished run to the Hugging Face Hub."""

    section = "hub"
    node_id = "LTXVTrainHubConfig"
    display_name = "Configure LTXV Hub Upload"
    description = "Uploads the finished LoRA to the Hugging Face Hub."
    aliases = ("hugging face", "upload", "share")


class LTXVTrainFlowMatchingConfig(SectionNode):
    """How timesteps are sampled."""

    section = "flow_matching"
    node_id = "LTXVTrainFlowMatchingConfig"
    display_name = "Configure LTXV Flow Matching"
    description = (
        "Sets how noisy the clips are from which the model learns; the defaults suit most "
        "trainings."
    )
    aliases = ("timesteps", "noise")


class LTXVTrainTrackersConfig(SectionNode):
    """Loss curves and samples in W&B and TensorBoard."""

    section = "trackers"
    node_id = "LTXVTrainTrackersConfig"
    display_name = "Configure LTXV Trackers"
    description = (
        "Shows loss curves and samples in TensorBoard or Weights & Biases, where runs can be "
        "compared."
    )
    aliases = ("tensorboard", "wandb", "log")


SECTION_NODES: tuple[type[SectionNode], ...] = (
    LTXVTrainModelConfig,
    LTXVTrainLoRAConfig,
    LTXVTrainConditioningConfig,
    LTXVTrainOptimizationConfig,
    LTXVTrainAccelerationConfig,
    LTXVTrainDataConfig,
    LTXVTrainValidationConfig,
    LTXVTrainCheckpointsConfig,
    LTXVTrainHubConfig,
    LTXVTrainFlowMatchingConfig,
    LTXVTrainTrackersConfig,
)


def _data_set_lines(value: object) -> list[DataSetLine]:
    """Those of a widget; none where one can't be read, which is told elsewhere."""
    lines = value.splitlines() if isinstance(value, str) else []
    try:
        return [parse_data_set_line(line.strip()) for line in lines if line.strip()]
    except ValueError:
        return []


def _locate(name: str, value: object) -> object:
    """Absolute paths for what names a file; one path per line."""
    if name == DATA_SETS and (lines := _data_set_lines(value)):
        return "\n".join(line.at(str(input_path(line.root))).written for line in lines)
    if name not in PATHS or not isinstance(value, str):
        return value
    return "\n".join(str(input_path(line)) for line in value.splitlines() if line.strip())


def data_set_problems(root: str, widget: str = "preprocessed_data_root") -> list[WidgetProblem]:
    """A path in a widget that leads to no data set."""
    from ...ltxv_train_core.datasets.stored_files import require_dataset

    return path_problems(widget, root) or problems_at(
        widget, lambda: require_dataset(input_path(root))
    )
