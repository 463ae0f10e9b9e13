"""All nodes of this pack, as ComfyUI asks for them."""

from comfy_api.latest import ComfyExtension, io

from .config_builders import SECTION_NODES
from .config_files import LTXVTrainLoadConfig, LTXVTrainSaveConfig
from .config_join import LTXVTrainConfig
from .demo import LTXVTrainDemoDataset, LTXVTrainMiniatureCheckpoint, LTXVTrainMiniaturePrompt
from .load_lora import LTXVTrainLoadLoRA
from .lora_files import (
    LTXVTrainConvertLoRA,
    LTXVTrainExtractLoRA,
    LTXVTrainMergeLoRA,
    LTXVTrainResizeLoRA,
)
from .preprocess import LTXVTrainDatasetPreprocess
from .reference import LTXVTrainApplyReference
from .train import LTXVTrainICLoRA, LTXVTrainLoRA

NODES: tuple[type[io.ComfyNode], ...] = (
    LTXVTrainDatasetPreprocess,
    *SECTION_NODES,
    LTXVTrainConfig,
    LTXVTrainLoadConfig,
    LTXVTrainSaveConfig,
    LTXVTrainLoRA,
    LTXVTrainICLoRA,
    LTXVTrainLoadLoRA,
    LTXVTrainApplyReference,
    LTXVTrainConvertLoRA,
    LTXVTrainResizeLoRA,
    LTXVTrainMergeLoRA,
    LTXVTrainExtractLoRA,
    LTXVTrainDemoDataset,
    LTXVTrainMiniatureCheckpoint,
    LTXVTrainMiniaturePrompt,
)


class LTXVTrainExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
