"""The node that reads the size of a preprocessed data set's clips."""

from collections.abc import Mapping

from comfy_api.latest import io

from ...ltxv_train_core.errors import LTXVTrainError
from ..comfy.folders import input_path
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY
from ..comfy.widget_problems import WidgetProblem
from ..config.section_nodes import data_set_problems
from .changes import state_of_files


class LTXVTrainDatasetSize(io.ComfyNode):
    """Outputs the size that most clips of a data set have."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetSize",
            display_name="Read LTXV Dataset Size",
            category=CATEGORY,
            description="Reads the size that most clips of a preprocessed data set have, to generate "
            "videos in the size on which you train.",
            **search_aliases("dataset", "width", "height", "length", "fps", "resolution"),
            inputs=[
                io.String.Input(
                    "preprocessed_data_root",
                    default="",
                    tooltip="The preprocessed data set, from Preprocess LTXV Dataset.",
                )
            ],
            outputs=[
                io.Int.Output(display_name="width", tooltip="Width in pixels."),
                io.Int.Output(display_name="height", tooltip="Height in pixels."),
                io.Int.Output(display_name="frames", tooltip="Number of frames; 1 is an image."),
                io.Float.Output(
                    display_name="frame_rate", tooltip="Frames per second of most of these clips."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, preprocessed_data_root: str | None = None) -> str:
        """Reads again when the data set at a written path has changed."""
        from ...ltxv_train_core.datasets.index import find_index

        try:
            return state_of_files(find_index(input_path(preprocessed_data_root or "")))
        except LTXVTrainError as error:
            return str(error)

    @classmethod
    def widget_problems(cls, written: Mapping[str, object]) -> list[WidgetProblem]:
        """A path that leads to no data set."""
        root = written.get("preprocessed_data_root")
        return data_set_problems(root) if isinstance(root, str) else []

    @classmethod
    def execute(cls, preprocessed_data_root: str) -> io.NodeOutput:
        from ...ltxv_train_core.datasets.index import read_index
        from ...ltxv_train_core.datasets.summary import common_size

        size, fps = common_size(read_index(input_path(preprocessed_data_root)))
        return io.NodeOutput(size.width, size.height, size.frames, fps)
