"""All nodes of this pack, as ComfyUI asks for them."""

from comfy_api.latest import ComfyExtension, io

from ..ltxv_train_core.models.packages import drop_irrelevant_lines
from .comfy.model_files import know_comfyui_tokenizer
from .comfy.schema import label_widgets
from .config.join import LTXVTrainConfig
from .config.more_data import LTXVTrainAddDataset
from .config.nodes_of_file import NODES_ROUTE, nodes_of_file
from .config.preset_sizes import PRESETS_ROUTE, presets_of_model
from .config.recipe import LTXVTrainRecipe
from .config.section_nodes import SECTION_NODES
from .config.yaml_nodes import LTXVTrainLoadConfig, LTXVTrainSaveConfig
from .dataset.canvas_videos import (
    LTXVTrainDatasetFromVideos,
    LTXVTrainDatasetVideos,
    LTXVTrainDatasetWithReferences,
)
from .dataset.demo import (
    LTXVTrainDemoDataset,
    LTXVTrainMiniatureCheckpoint,
    LTXVTrainMiniaturePrompt,
)
from .dataset.export import LTXVTrainDatasetExport
from .dataset.preprocess import LTXVTrainDatasetPreprocess
from .dataset.raw_videos import (
    LTXVTrainDatasetCaption,
    LTXVTrainDatasetTranscribe,
    LTXVTrainSplitScenes,
)
from .dataset.reference_filter import LTXVTrainApplyReferenceFilter, LTXVTrainDatasetReferences
from .dataset.size import LTXVTrainDatasetSize
from .lora.inspect_file import LTXVTrainInspectFile
from .lora.load_lora import LTXVTrainLoadLoRA
from .lora.load_model import LTXVTrainLoadModel
from .lora.lora_files import (
    LTXVTrainConvertLoRA,
    LTXVTrainExtractLoRA,
    LTXVTrainMergeLoRA,
    LTXVTrainResizeLoRA,
)
from .lora.reference_video import LTXVTrainApplyReference
from .lora.strengths import LTXVTrainStrengths
from .server.canvas_permissions import report_missing_permission
from .training.benchmark import LTXVTrainBenchmark
from .training.sweep import LTXVTrainSweep
from .training.train import LTXVTrainICLoRA, LTXVTrainLoRA, LTXVTrainModel
from .training.wait import LTXVTrainWait

NODES: tuple[type[io.ComfyNode], ...] = (
    LTXVTrainSplitScenes,
    LTXVTrainDatasetCaption,
    LTXVTrainDatasetTranscribe,
    LTXVTrainDatasetFromVideos,
    LTXVTrainDatasetVideos,
    LTXVTrainDatasetWithReferences,
    LTXVTrainDatasetReferences,
    LTXVTrainApplyReferenceFilter,
    LTXVTrainDatasetPreprocess,
    LTXVTrainDatasetSize,
    LTXVTrainDatasetExport,
    LTXVTrainRecipe,
    LTXVTrainBenchmark,
    *SECTION_NODES,
    LTXVTrainAddDataset,
    LTXVTrainConfig,
    LTXVTrainLoadConfig,
    LTXVTrainSaveConfig,
    LTXVTrainLoRA,
    LTXVTrainICLoRA,
    LTXVTrainModel,
    LTXVTrainSweep,
    LTXVTrainWait,
    LTXVTrainLoadModel,
    LTXVTrainLoadLoRA,
    LTXVTrainStrengths,
    LTXVTrainInspectFile,
    LTXVTrainApplyReference,
    LTXVTrainConvertLoRA,
    LTXVTrainResizeLoRA,
    LTXVTrainMergeLoRA,
    LTXVTrainExtractLoRA,
    LTXVTrainDemoDataset,
    LTXVTrainMiniatureCheckpoint,
    LTXVTrainMiniaturePrompt,
)
ROUTES = {NODES_ROUTE: nodes_of_file, PRESETS_ROUTE: presets_of_model}

for _node in NODES:
    report_missing_permission(_node)
    label_widgets(_node)


class LTXVTrainExtension(ComfyExtension):
    """The pack, as ComfyUI loads it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Called by ComfyUI when it loads the pack."""
        know_comfyui_tokenizer()
        drop_irrelevant_lines()
        return list(NODES)
