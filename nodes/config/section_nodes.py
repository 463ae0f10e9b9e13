"""One node for each section of the configuration.

A node's widgets are the section's options: default, bounds, choices and tooltip come from the
pydantic field. Workflows store widget values by position, so a section's fields are only ever
appended.
"""

from typing import ClassVar

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS, from_widgets, options
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.folders import input_path
from ..comfy.model_files import ChoosesModelFiles, inputs_with_lists, with_files
from ..comfy.schema import search_aliases
from ..comfy.sockets import CONFIG_CATEGORY, SECTION_SOCKETS
from .widgets import widget

PATHS = {"preprocessed_data_root", "load_checkpoint", "images", "reference_videos"}


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


class CheckedSectionNode(SectionNode):
    """A section node whose widgets are checked before the prompt runs."""

    @classmethod
    def validate_inputs(cls, **values: object) -> bool | str:
        """Refuses a prompt before any of its nodes runs. Linked widgets are None then and are not
        checked, nor are rules about several widgets."""
        section = SECTIONS[cls.section]
        written = {name: value for name, value in values.items() if value is not None}
        try:
            from_widgets(section, written, cls.section)
        except ConfigurationError as error:
            problems = error.problems
            if len(written) < len(options(section)):
                known = tuple(f"{cls.section}.{name}:" for name in written)
                problems = [line for line in problems if line.startswith(known)]
            return "; ".join(problems) or True
        return True


class LTXVTrainModelConfig(ChoosesModelFiles, SectionNode):
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


class LTXVTrainLoRAConfig(CheckedSectionNode):
    """The size of the LoRA and the layers that have one."""

    section = "lora"
    node_id = "LTXVTrainLoRAConfig"
    display_name = "Configure LTXV LoRA"
    description = (
        "Sets how much the LoRA can learn (its rank), and which layers of the model it changes."
    )
    aliases = ("rank", "alpha", "lora")


class LTXVTrainConditioningConfig(CheckedSectionNode):
    """What the model is given besides the caption: first frames, reference videos, masks."""

    section = "conditioning"
    node_id = "LTXVTrainConditioningConfig"
    display_name = "Configure LTXV Conditioning"
    description = (
        "Sets what the model sees besides the text while it learns: a first frame to animate, a "
        "video to follow, a part to keep."
    )
    aliases = ("image to video", "reference", "mask")


class LTXVTrainOptimizationConfig(CheckedSectionNode):
    """Steps, batch size, learning rate, optimizer and schedule."""

    section = "optimization"
    node_id = "LTXVTrainOptimizationConfig"
    display_name = "Configure LTXV Optimization"
    description = (
        "Sets how long and how fast the model learns: steps, learning rate, batch size, optimizer."
    )
    aliases = ("learning rate", "steps", "optimizer")


class LTXVTrainAccelerationConfig(CheckedSectionNode):
    """Precision, memory and speed."""

    section = "acceleration"
    node_id = "LTXVTrainAccelerationConfig"
    display_name = "Configure LTXV Acceleration"
    description = "Sets precision and memory use, so that training fits your GPU."
    aliases = ("memory", "precision", "vram", "quantization")


class LTXVTrainDataConfig(CheckedSectionNode):
    """Where the preprocessed data set lies, and how it is read."""

    section = "data"
    node_id = "LTXVTrainDataConfig"
    display_name = "Configure LTXV Data"
    description = "Chooses the preprocessed clips to train on."
    aliases = ("dataset",)


class LTXVTrainValidationConfig(CheckedSectionNode):
    """The samples that a run makes while it trains."""

    section = "validation"
    node_id = "LTXVTrainValidationConfig"
    display_name = "Configure LTXV Validation"
    description = "Makes test videos during training, so that you see what the model has learned."
    aliases = ("samples", "preview")


class LTXVTrainCheckpointsConfig(CheckedSectionNode):
    """When checkpoints are written, and how many stay on disk."""

    section = "checkpoints"
    node_id = "LTXVTrainCheckpointsConfig"
    display_name = "Configure LTXV Checkpoints"
    description = (
        "Sets how often training is saved, so that you can resume it and use the LoRA of an "
        "earlier step."
    )
    aliases = ("checkpoint", "save", "resume")


class LTXVTrainHubConfig(CheckedSectionNode):
    """Upload of the finished run to the Hugging Face Hub."""

    section = "hub"
    node_id = "LTXVTrainHubConfig"
    display_name = "Configure LTXV Hub Upload"
    description = "Uploads the finished LoRA to the Hugging Face Hub."
    aliases = ("hugging face", "upload", "share")


class LTXVTrainFlowMatchingConfig(CheckedSectionNode):
    """How timesteps are sampled."""

    section = "flow_matching"
    node_id = "LTXVTrainFlowMatchingConfig"
    display_name = "Configure LTXV Flow Matching"
    description = (
        "Sets how noisy the clips are from which the model learns; the defaults suit most "
        "trainings."
    )
    aliases = ("timesteps", "noise")


class LTXVTrainTrackersConfig(CheckedSectionNode):
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


def _locate(name: str, value: object) -> object:
    """Absolute paths for what names a file; one path per line."""
    if name not in PATHS or not isinstance(value, str):
        return value
    return "\n".join(str(input_path(line)) for line in value.splitlines() if line.strip())
