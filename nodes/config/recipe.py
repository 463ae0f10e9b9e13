"""The node that proposes a whole configuration.

The core's recipes are imported when they are first needed, so that ComfyUI starts quickly.
"""

from collections.abc import Mapping

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS, ModelConfig, Section, TrainingConfig, build, options
from ...ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ...ltxv_train_core.recipes.names import CARDS_GB, EFFORTS, GOALS, Effort, Goal
from ...ltxv_train_core.units import GIB
from ..comfy.device import use_comfyui_device
from ..comfy.folders import input_path, runs_folder
from ..comfy.model_files import lists_behind, with_files
from ..comfy.prompts import Prompt, is_linked
from ..comfy.schema import advanced, search_aliases
from ..comfy.sockets import CATEGORY, SECTION_SOCKETS, TRAINING_CONFIG
from ..comfy.widget_problems import WidgetProblem
from ..dataset.changes import state_of_files
from ..training.progress import NodeProgress
from .base_model import base_model_problems
from .join import name_problems
from .section_nodes import data_set_problems
from .widgets import widget

DETECTED = "detected"
_CARDS = {f"{card} GB": card * GIB for card in CARDS_GB}
NO_DATA = (
    "is empty: connect the output of Preprocess LTXV Dataset, write the path of a preprocessed data set, "
    "or connect a data section"
)
_OPTIONS = {option.name: option for option in options(ModelConfig)}


class LTXVTrainRecipe(io.ComfyNode):
    """Proposes a whole configuration, with reasons."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        fields = TrainingConfig.model_fields
        return io.Schema(
            node_id="LTXVTrainRecipe",
            display_name="Propose LTXV Training Recipe",
            category=CATEGORY,
            description="Chooses every setting for your goal, your card, your model and your clips, and "
            "says why; also the memory and the time that it expects. A connected section counts as it is. "
            "Connect the output to a training node.",
            **search_aliases("style", "character", "motion", "dreambooth", "settings", "preset"),
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "goal",
                    options=list(GOALS),
                    default="style",
                    tooltip="What is to be learned. style: how everything looks. character: a person or "
                    "a thing. motion: a movement or an effect. ic-lora: to follow a reference video "
                    "(control). full: every weight, not a LoRA.",
                ),
                advanced(
                    io.Combo.Input(
                        "card_memory",
                        options=[DETECTED, *_CARDS],
                        default=DETECTED,
                        tooltip="Memory of the card that trains. detected: of this machine's.",
                    )
                ),
                io.Combo.Input(
                    "effort",
                    options=list(EFFORTS),
                    default="normal",
                    tooltip="How long it trains. draft: a third of normal, to see whether it learns; normal "
                    "effort continues it. thorough: three times as many samples, two for each step.",
                ),
                io.String.Input(
                    "preprocessed_data_root",
                    default="",
                    tooltip="The preprocessed data set, from Preprocess LTXV Dataset. The number of its clips "
                    "and their sizes count. Not needed where a data section is connected.",
                ),
                widget(_OPTIONS["model_source"]),
                *lists_behind("vae_source"),
                io.String.Input(
                    "prompts",
                    default="",
                    multiline=True,
                    tooltip="Prompts to sample while it trains, one per line, with the trigger word of your "
                    "captions. Empty: no samples. An IC-LoRA needs a validation section instead.",
                ),
                io.String.Input(
                    "name",
                    default=fields["name"].default,
                    tooltip=fields["name"].description,
                ),
                *(
                    SECTION_SOCKETS[name].Input(
                        name,
                        optional=True,
                        tooltip=f"{section.summary} Connected, it counts as it is; otherwise the "
                        "recipe chooses it.",
                    )
                    for name, section in SECTIONS.items()
                ),
                *lists_behind("text_projection_source"),
            ],
            outputs=[
                TRAINING_CONFIG.Output(
                    display_name="config",
                    tooltip="The whole configuration, for a training node: Train LTXV LoRA, for the goal "
                    "ic-lora Train LTXV IC-LoRA, for the goal full Train LTXV Model.",
                ),
                io.String.Output(
                    display_name="text",
                    tooltip="Expected memory and time, and every choice with its reason.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, preprocessed_data_root: str | None = None, **_: object) -> str:
        """Proposes again when the data set at a written path has changed."""
        from ...ltxv_train_core.datasets.index import find_index

        try:
            return state_of_files(find_index(input_path(preprocessed_data_root or "")))
        except LTXVTrainError as error:
            return str(error)

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """What is wrong with the name."""
        return name_problems(written)

    @classmethod
    def graph_problems(cls, prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
        """A data set that is not named, or is none, and a model that is nowhere."""
        found = base_model_problems(prompt, node_id)
        inputs = prompt[node_id][1]
        root = inputs.get("preprocessed_data_root", "")
        if "data" in inputs or is_linked(root):
            return found
        if not str(root).strip():
            return [*found, (node_id, WidgetProblem("preprocessed_data_root", NO_DATA))]
        return [*found, *((node_id, each) for each in data_set_problems(str(root)))]

    @classmethod
    def execute(
        cls,
        goal: Goal,
        card_memory: str,
        effort: Effort,
        preprocessed_data_root: str,
        prompts: str,
        name: str,
        **values: object,
    ) -> io.NodeOutput:
        from ...ltxv_train_core.models.device import default_device, total_bytes
        from ...ltxv_train_core.recipes.propose import propose
        from ...ltxv_train_core.recipes.request import RecipeRequest

        sections = {key: values.pop(key) for key in SECTIONS if key in values}
        given = {key: each for key, each in sections.items() if isinstance(each, Section)}
        if not preprocessed_data_root.strip() and "data" not in given:
            raise ConfigurationError([f"preprocessed_data_root: {NO_DATA}"])
        use_comfyui_device()
        device = default_device()
        detected = card_memory == DETECTED
        proposal = propose(
            RecipeRequest(
                goal=goal,
                effort=effort,
                card_bytes=total_bytes(device) if detected else _CARDS[card_memory],
                data_root="" if "data" in given else str(input_path(preprocessed_data_root)),
                model=ModelConfig() if "model" in given else _model(values),
                prompts=tuple(line.strip() for line in prompts.splitlines() if line.strip()),
                sections=given,
                device=device,
                name=name.strip(),
                output_dir=str(runs_folder()),
            )
        )
        NodeProgress(cls.hidden.unique_id).show_text(proposal.text)
        whole = proposal.configuration
        config = {key: getattr(whole, key) for key in type(whole).model_fields}
        return io.NodeOutput(config, proposal.text, ui={"text": [proposal.text]})


def _model(values: Mapping[str, object]) -> ModelConfig:
    """The model that the widgets name."""
    return build(ModelConfig, with_files(values), "model")
