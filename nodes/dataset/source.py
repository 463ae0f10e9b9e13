"""What is wrong with a data set that is named on a node, before the graph runs."""

from collections.abc import Mapping

from ...ltxv_train_core.datasets.foreign_folders import holds_pt_latents
from ...ltxv_train_core.manifests.manifest import Columns, read_manifest
from ..comfy.folders import hub_dataset_folder, input_path
from ..comfy.widget_problems import WidgetProblem, problems_at
from ..config.widgets import path_problems

_COLUMNS = {
    "caption_column": "caption",
    "video_column": "media",
    "reference_column": "reference",
    "mask_column": "mask",
    "audio_column": "audio",
    "speech_column": "speech",
    "reference_audio_column": "reference_audio",
    "audio_mask_column": "audio_mask",
}


def source_problems(
    written: Mapping[str, object], require_captions: bool = True, takes_hub_names: bool = False
) -> list[WidgetProblem]:
    """No path, one that leads to nothing, or to metadata that can't be read; one that is linked has none yet.

    Args:
        written: widgets, among them `dataset_path` and the columns.
        require_captions: clips without a caption can't be used.
        takes_hub_names: the path may be the name of a data set of the Hub, or a folder that ltx-trainer has
            preprocessed.
    """
    path = written.get("dataset_path")
    if not isinstance(path, str) or (takes_hub_names and hub_dataset_folder(path)):
        return []
    columns = Columns(
        **{field: str(written[w]).strip() for w, field in _COLUMNS.items() if w in written}
    )
    default = str(written.get("default_caption", ""))

    def read() -> None:
        source = input_path(path)
        if takes_hub_names and holds_pt_latents(source):
            return  # of ltx-trainer; the model tells more
        read_manifest(source, columns, default, require_captions)

    return path_problems("dataset_path", path) or problems_at("dataset_path", read, written)
