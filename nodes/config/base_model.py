"""The base model that a node names by itself, or that a connected model section names for it."""

from ..comfy.model_files import chosen_file_problems, model_problems
from ..comfy.prompts import Prompt, is_linked, written_on
from ..comfy.widget_problems import WidgetProblem
from .section_nodes import LTXVTrainModelConfig


def base_model_problems(prompt: Prompt, node_id: str) -> list[tuple[str, WidgetProblem]]:
    """A model that is nowhere, at the node that names it: this one, or the connected model section's."""
    section = prompt[node_id][1].get("model")
    if is_linked(section):
        node_id = section[0]
        if prompt.get(node_id, ("", {}))[0] != LTXVTrainModelConfig.__name__:
            return []
    written = written_on(prompt, node_id)
    return [(node_id, each) for each in chosen_file_problems(written) or model_problems(written)]
