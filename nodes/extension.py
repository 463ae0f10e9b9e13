"""All nodes of this pack, as ComfyUI asks for them."""

from comfy_api.latest import ComfyExtension, io

from .config_builders import SECTION_NODES
from .config_files import LTXVTrainLoadConfig, LTXVTrainSaveConfig
from .config_join import LTXVTrainConfig
from .demo import LTXVTrainDemoDataset, LTXVTrainMiniatureCheckpoint, LTXVTrainMiniaturePrompt
from .load_lora import LTXVTrainLoadLoRA
from .preprocess import LTXVTrainDatasetPreprocess
from .reference import LTXVTrainApplyReference
from .train import LTXVTrainICLoRA, LTXVTrainLoRA
from .wait import LTXVTrainWait

NODES: tuple[type[io.ComfyNode], ...] = (
    LTXVTrainDatasetPreprocess,
    *SECTION_NODES,
    LTXVTrainConfig,
    LTXVTrainLoadConfig,
    LTXVTrainSaveConfig,
    LTXVTrainLoRA,
    LTXVTrainICLoRA,
    LTXVTrainWait,
    LTXVTrainLoadLoRA,
    LTXVTrainApplyReference,
    LTXVTrainDemoDataset,
    LTXVTrainMiniatureCheckpoint,
    LTXVTrainMiniaturePrompt,
)


class LTXVTrainExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
