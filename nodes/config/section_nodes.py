"""One node for each section of the configuration, all from the same piece of code.

A node's widgets are the section's options: default, bounds, choices and tooltip come from the
pydantic field. Workflows store widget values by position, so a section's fields are only ever
appended.
"""

from typing import ClassVar

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS, Option, from_widgets, options
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.folders import input_path
from ..comfy.model_files import inputs_with_lists, missing_files, with_files
from ..comfy.sockets import CONFIG_CATEGORY, SECTION_SOCKETS

_NAMES = {
    "model": ("LTXVTrainModelConfig", "Configure LTXV Model"),
    "lora": ("LTXVTrainLoRAConfig", "Configure LTXV LoRA"),
    "conditioning": ("LTXVTrainConditioningConfig", "Configure LTXV Conditioning"),
    "optimization": ("LTXVTrainOptimizationConfig", "Configure LTXV Optimization"),
    "acceleration": ("LTXVTrainAccelerationConfig", "Configure LTXV Acceleration"),
    "data": ("LTXVTrainDataConfig", "Configure LTXV Data"),
    "validation": ("LTXVTrainValidationConfig", "Configure LTXV Validation"),
    "checkpoints": ("LTXVTrainCheckpointsConfig", "Configure LTXV Checkpoints"),
    "hub": ("LTXVTrainHubConfig", "Configure LTXV Hub Upload"),
    "flow_matching": ("LTXVTrainFlowMatchingConfig", "Configure LTXV Flow Matching"),
    "trackers": ("LTXVTrainTrackersConfig", "Configure LTXV Trackers"),
}

PATHS = {"preprocessed_data_root", "load_checkpoint", "images", "reference_videos"}


class SectionNode(io.ComfyNode):
    """The node of one section; `section` is its name in the configuration."""

    section: ClassVar[str]

    @classmethod
    def define_schema(cls) -> io.Schema:
        node_id, display_name = _NAMES[cls.section]
        section = SECTIONS[cls.section]
        return io.Schema(
            node_id=node_id,
            display_name=display_name,
            category=CONFIG_CATEGORY,
            description=f"{section.summary} Connect it to Join LTXV Training Configuration.",
            inputs=[widget(option) for option in options(section)],
            outputs=[
                SECTION_SOCKETS[cls.section].Output(
                    display_name=cls.section,
                    tooltip=f"The {cls.section} section of a training configuration.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, **values: object) -> bool | str:
        """Refuses a prompt before anything of it runs. Linked widgets are None then: they are left
        out, and so is what depends on several widgets."""
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

    @classmethod
    def execute(cls, **values: object) -> io.NodeOutput:
        located = {name: _locate(name, value) for name, value in values.items()}
        return io.NodeOutput(from_widgets(SECTIONS[cls.section], located, cls.section))


class ModelSectionNode(SectionNode):
    """The model's node also lists the files of ComfyUI's model folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = super().define_schema()
        schema.inputs = inputs_with_lists(options(SECTIONS[cls.section]), schema.inputs)
        return schema

    @classmethod
    def validate_inputs(
        cls,
        model_file: str | None = None,
        text_encoder_file: str | None = None,
        vae_file: str | None = None,
    ) -> str | bool:
        return missing_files(
            model_file=model_file, text_encoder_file=text_encoder_file, vae_file=vae_file
        )

    @classmethod
    def execute(cls, **values: object) -> io.NodeOutput:
        return super().execute(**with_files(values))


def widget(option: Option) -> io.Input:
    """The widget of an option."""
    common = {"tooltip": tooltip(option), "default": option.default}
    if option.kind == "int":
        return io.Int.Input(
            option.name,
            min=option.minimum,
            max=option.maximum,
            step=option.step,
            control_after_generate=False if option.name == "seed" else None,
            **common,
        )
    if option.kind == "float":
        return io.Float.Input(
            option.name, min=option.minimum, max=option.maximum, step=option.step, **common
        )
    if option.kind == "bool":
        return io.Boolean.Input(option.name, **common)
    if option.kind == "choice":
        return io.Combo.Input(option.name, options=list(option.choices), **common)
    common["default"] = option.default or ""
    return io.String.Input(option.name, multiline=option.multiline, **common)


def tooltip(option: Option) -> str:
    """What an option does, and how to write null."""
    null = {"int": "0", "float": "0", "choice": "none"}.get(option.kind, "Empty")
    return f"{option.description} {null}: not set." if option.optional else option.description


def _locate(name: str, value: object) -> object:
    """Absolute paths for what names a file; one path per line."""
    if name not in PATHS or not isinstance(value, str):
        return value
    return "\n".join(str(input_path(line)) for line in value.splitlines() if line.strip())


_BASES = {"model": ModelSectionNode}

SECTION_NODES: tuple[type[SectionNode], ...] = tuple(
    type(node_id, (_BASES.get(section, SectionNode),), {"section": section, "__module__": __name__})
    for section, (node_id, _) in _NAMES.items()
)
