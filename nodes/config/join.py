"""The node that joins the sections to a whole configuration."""

from collections.abc import Mapping

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS, DataConfig, TrainingConfig, build
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.folders import runs_folder
from ..comfy.prompts import Prompt
from ..comfy.schema import search_aliases
from ..comfy.sockets import CONFIG_CATEGORY, SECTION_SOCKETS, TRAINING_CONFIG
from ..comfy.widget_problems import WidgetProblem, problems_at

_WHOLE = {"data": DataConfig(preprocessed_data_root=".")}
"""With the options that belong to no section it is a configuration."""

NOT_CONNECTED = (
    "not connected. Connect a Configure LTXV Data node (LTXVTrainDataConfig) to the data input; it says "
    "where the preprocessed data set is"
)


class LTXVTrainConfig(io.ComfyNode):
    """Joins the sections. The training node validates them together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        fields = TrainingConfig.model_fields
        sections = [
            SECTION_SOCKETS[name].Input(
                name,
                optional=True,
                tooltip=f"{section.summary} "
                + ("Required." if name == "data" else "Not connected: defaults."),
            )
            for name, section in SECTIONS.items()
        ]
        return io.Schema(
            node_id="LTXVTrainConfig",
            display_name="Join LTXV Training Configuration",
            category=CONFIG_CATEGORY,
            description="Joins all settings of a training into one, for the training node. Only "
            "the data section is required; a section that isn't connected has its "
            "defaults.",
            **search_aliases("settings", "options"),
            inputs=[
                *sections,
                io.Int.Input(
                    "seed",
                    default=fields["seed"].default,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip=fields["seed"].description,
                ),
                io.String.Input(
                    "name",
                    default=fields["name"].default,
                    tooltip=fields["name"].description,
                ),
            ],
            outputs=[
                TRAINING_CONFIG.Output(
                    display_name="config",
                    tooltip="The whole configuration, for Train LTXV LoRA or IC-LoRA.",
                )
            ],
        )

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the name and the seed."""
        return name_problems(written)

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """A section that must be connected and isn't."""
        if "data" in prompt[node_id][1]:
            return []
        return [(node_id, WidgetProblem("data", NOT_CONNECTED))]

    @classmethod
    def execute(cls, seed: int, name: str, **sections: object) -> io.NodeOutput:
        given = {key: section for key, section in sections.items() if section is not None}
        if "data" not in given:
            raise ConfigurationError([f"data: {NOT_CONNECTED}"])
        own = _stripped({"seed": seed, "name": name})
        return io.NodeOutput({**given, **own, "output_dir": str(runs_folder())})


def name_problems(written: Mapping[str, object]) -> list[WidgetProblem]:
    """What is wrong with the options that belong to no section."""
    own = {name: written[name] for name in ("name", "seed") if name in written}
    return problems_at("name", lambda: build(TrainingConfig, {**_WHOLE, **_stripped(own)}), own)


def _stripped(values: Mapping[str, object]) -> dict[str, object]:
    return {name: v.strip() if isinstance(v, str) else v for name, v in values.items()}
