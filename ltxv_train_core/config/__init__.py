"""The configuration of a training run: eleven sections, each option defined once."""

from .acceleration import AccelerationConfig
from .captioning import CaptionSettings
from .checkpoints import CheckpointsConfig
from .conditioning import ConditioningConfig
from .data import DataConfig
from .flow_matching import FlowMatchingConfig
from .hub import HubConfig
from .ignored import ignored
from .lora import LoRAConfig
from .model import ModelConfig
from .optimization import OptimizationConfig
from .options import Option, from_widgets, options, to_widgets, top_level_options
from .preprocessing import PreprocessSettings
from .references import ReferenceFilter, ReferenceSettings
from .scenes import SplitSettings
from .section import Section
from .shared_graph import shareable_graph
from .trackers import TrackersConfig
from .validation import ValidationConfig
from .whole import SECTIONS, TrainingConfig, build

__all__ = [
    "SECTIONS",
    "AccelerationConfig",
    "CaptionSettings",
    "CheckpointsConfig",
    "ConditioningConfig",
    "DataConfig",
    "FlowMatchingConfig",
    "HubConfig",
    "LoRAConfig",
    "ModelConfig",
    "OptimizationConfig",
    "Option",
    "PreprocessSettings",
    "ReferenceFilter",
    "ReferenceSettings",
    "Section",
    "SplitSettings",
    "TrackersConfig",
    "TrainingConfig",
    "ValidationConfig",
    "build",
    "from_widgets",
    "ignored",
    "options",
    "shareable_graph",
    "to_widgets",
    "top_level_options",
]
