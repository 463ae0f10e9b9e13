"""The configuration of a training run: eleven sections, each option defined once."""

from .base import Section
from .part_sources import PART_SOURCES
from .redact_workflow import shareable_graph
from .sections.acceleration import AccelerationConfig
from .sections.checkpoints import CheckpointsConfig
from .sections.conditioning import ConditioningConfig
from .sections.data import DataConfig
from .sections.flow_matching import FlowMatchingConfig
from .sections.hub import HubConfig
from .sections.lora import LoRAConfig
from .sections.model import ModelConfig
from .sections.optimization import OptimizationConfig
from .sections.trackers import TrackersConfig
from .sections.validation import SAMPLE_MEDIA, ValidationConfig
from .tools.captioning import CaptionSettings
from .tools.preprocessing import PreprocessSettings
from .tools.references import ReferenceFilter, ReferenceSettings
from .tools.scenes import SplitSettings
from .tools.transcription import TranscribeSettings
from .training import SECTIONS, TrainingConfig, build
from .unused import ignored
from .widgets import Option, from_widgets, options, to_widgets, top_level_options

__all__ = [
    "PART_SOURCES",
    "SAMPLE_MEDIA",
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
    "TranscribeSettings",
    "ValidationConfig",
    "build",
    "from_widgets",
    "ignored",
    "options",
    "shareable_graph",
    "to_widgets",
    "top_level_options",
]
