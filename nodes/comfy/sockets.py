"""The socket types of this pack: one for each configuration section, so that no wire fits wrongly."""

from comfy_api.latest import io

from ...ltxv_train_core.config import SECTIONS

CATEGORY = "training/LTXV"
CONFIG_CATEGORY = f"{CATEGORY}/config"

SECTION_SOCKETS = {name: io.Custom(f"LTXV_TRAIN_{name.upper()}") for name in SECTIONS}
LORA_MODEL = io.Custom("LORA_MODEL")  # ComfyUI's own: the weights by their names
TRAINING_CONFIG = io.Custom("LTXV_TRAIN_CONFIG")
TRAINING_RUN = io.Custom("LTXV_TRAIN_RUN")
"""The name of a run below ComfyUI's output folder."""


def dataset_output(tooltip: str) -> io.String.Output:
    """The path of a data set, for the nodes that work on one."""
    return io.String.Output(display_name="dataset_path", tooltip=tooltip)
