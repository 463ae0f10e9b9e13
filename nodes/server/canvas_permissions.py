"""What graphs may do in this ComfyUI, and how a browser learns of what was refused."""

import functools
import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io
from server import PromptServer

from ...ltxv_train_core.config import CaptionSettings
from ...ltxv_train_core.events import PermissionAsked
from ...ltxv_train_core.families.registry import FAMILIES
from ...ltxv_train_core.permissions import Canvas, GrantFile, NotAllowedError, Places, use
from ...ltxv_train_core.permissions.store import FOLDER, NAME
from ..comfy.folders import LORA_SUBFOLDER
from .broadcast import NodeLocation, broadcast_event

_NO_MODELS = frozenset({"custom_nodes"})


def use_canvas_policy() -> None:
    """Applies the permissions of graphs to this process: they may do what its user has allowed."""
    captioner = CaptionSettings.model_fields["model"].default
    named = {captioner}.union(*(family.repositories for family in FAMILIES))
    file = Path(folder_paths.get_user_directory(), FOLDER, NAME)
    use(Canvas(GrantFile(Path(os.path.abspath(file))), places, named))  # noqa: PTH100


def places() -> Places:
    """ComfyUI's folders, those of extra_model_paths included."""
    kinds = [kind for kind in folder_paths.folder_names_and_paths if kind not in _NO_MODELS]
    models = [path for kind in kinds for path in folder_paths.get_folder_paths(kind)]
    return Places(
        written=_absolute(
            folder_paths.get_input_directory(),
            folder_paths.get_output_directory(),
            folder_paths.get_temp_directory(),
        ),
        models=_absolute(folder_paths.models_dir, *models),
        made=_absolute(*(os.path.join(path, LORA_SUBFOLDER) for path in models)),  # noqa: PTH118
    )


def report_missing_permission(node: type[io.ComfyNode]) -> None:
    """Reports a missing permission of a node to browsers, which show a button that allows it."""
    execute = node.execute.__func__

    @functools.wraps(execute)
    def asks(*arguments: Any, **values: Any) -> Any:
        try:
            return execute(*arguments, **values)
        except NotAllowedError as error:
            node_id = PromptServer.instance.last_node_id
            if node_id is not None:
                event = PermissionAsked(error.ask.kind, error.ask.value)
                broadcast_event(event, NodeLocation(node_id))
            raise

    node.execute = classmethod(asks)


def _absolute(*paths: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.abspath(path) for path in paths))  # noqa: PTH100
