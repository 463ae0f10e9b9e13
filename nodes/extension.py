"""All nodes of this pack, as ComfyUI asks for them."""

from comfy_api.latest import ComfyExtension, io

from .config_builders import SECTION_NODES
from .config_files import LTXVTrainLoadConfig, LTXVTrainSaveConfig
from .config_join import LTXVTrainConfig
from .dataset_tools import LTXVTrainDatasetCaption, LTXVTrainSplitScenes
from .dataset_videos import (
    LTXVTrainDatasetFromVideos,
    LTXVTrainDatasetVideos,
    LTXVTrainDatasetWithReferences,
)
from .demo import LTXVTrainDemoDataset, LTXVTrainMiniatureCheckpoint, LTXVTrainMiniaturePrompt
from .inspect_file import LTXVTrainInspectFile
from .load_lora import LTXVTrainLoadLoRA
from .lora_files import (
    LTXVTrainConvertLoRA,
    LTXVTrainExtractLoRA,
    LTXVTrainMergeLoRA,
    LTXVTrainResizeLoRA,
)
from .model_files import know_comfyui_tokenizer
from .permissions import show_what_is_asked
from .preprocess import LTXVTrainDatasetPreprocess
from .reference import LTXVTrainApplyReference
from .reference_filter import LTXVTrainApplyReferenceFilter, LTXVTrainDatasetReferences
from .train import LTXVTrainICLoRA, LTXVTrainLoRA, LTXVTrainModel
from .wait import LTXVTrainWait

NODES: tuple[type[io.ComfyNode], ...] = (
    LTXVTrainSplitScenes,
    LTXVTrainDatasetCaption,
    LTXVTrainDatasetFromVideos,
    LTXVTrainDatasetVideos,
    LTXVTrainDatasetWithReferences,
    LTXVTrainDatasetReferences,
    LTXVTrainApplyReferenceFilter,
    LTXVTrainDatasetPreprocess,
    *SECTION_NODES,
    LTXVTrainConfig,
    LTXVTrainLoadConfig,
    LTXVTrainSaveConfig,
    LTXVTrainLoRA,
    LTXVTrainICLoRA,
    LTXVTrainModel,
    LTXVTrainWait,
    LTXVTrainLoadLoRA,
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
for _node in NODES:
    show_what_is_asked(_node)


class LTXVTrainExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        know_comfyui_tokenizer()
        return list(NODES)
