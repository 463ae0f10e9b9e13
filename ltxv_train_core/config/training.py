"""The whole configuration: eleven sections, the name, the seed and the output folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigurationError
from ..storage.paths import as_path
from .base import Section, option
from .problems import problem_line
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
from .sections.validation import ValidationConfig

SectionT = TypeVar("SectionT", bound=Section)

# More fill the node and tell nothing new.
MOST_PROBLEMS = 40


class TrainingConfig(Section):
    """The configuration of a training run."""

    name: str = option(
        "ltxv-lora",
        "First part of the run's name and of the LoRA file's name.",
        min_length=1,
        pattern=r"^[\w][\w.\- ]*$",
        allowed="letters, digits, spaces, _ - and ., with a letter, a digit or _ first",
    )
    seed: int = option(42, "Seed of weights, noise and data order.", ge=0, le=2**63 - 1)
    output_dir: str = option("outputs", "Folder that holds the runs.", min_length=1)

    model: ModelConfig = Field(default_factory=ModelConfig)
    lora: LoRAConfig = Field(default_factory=LoRAConfig)
    conditioning: ConditioningConfig = Field(default_factory=ConditioningConfig)
    optimization: OptimizationConfig = Field(default_factory=OptimizationConfig)
    acceleration: AccelerationConfig = Field(default_factory=AccelerationConfig)
    data: DataConfig
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    checkpoints: CheckpointsConfig = Field(default_factory=CheckpointsConfig)
    hub: HubConfig = Field(default_factory=HubConfig)
    flow_matching: FlowMatchingConfig = Field(default_factory=FlowMatchingConfig)
    trackers: TrackersConfig = Field(default_factory=TrackersConfig)

    @model_validator(mode="after")
    def _references_to_validate_with(self) -> "TrainingConfig":
        mode = self.conditioning.mode
        for stream in ("video", "audio"):
            wants = stream in self.conditioning.reference_streams
            has = getattr(self.validation, f"reference_{stream}s") is not None
            if wants and self.validation.prompts and not has:
                raise ValueError(
                    f"validation.reference_{stream}s: an IC-LoRA needs one reference {stream} for each "
                    "validation prompt; give them, or remove the prompts"
                )
            if has and not wants:
                raise ValueError(
                    f"validation.reference_{stream}s would be ignored: remove them, or set "
                    f"conditioning.mode to reference_{stream}"
                )
            if wants and not self.conditioning.learns(stream):
                raise ValueError(
                    f"conditioning.mode {mode}: the {stream} follows a reference, and conditioning.modalities "
                    f"{self.conditioning.modalities} learns none; choose another mode, or modalities joint"
                )
        return self

    @model_validator(mode="after")
    def _has_a_loss(self) -> "TrainingConfig":
        wanted = self.conditioning
        learned = (wanted.seen_streams or {"video", "audio"}) - {wanted.given_stream}
        weights = {each: getattr(self.flow_matching, f"{each}_loss_weight") for each in learned}
        if not any(weights.values()):
            names = " and ".join(f"{each}_loss_weight" for each in sorted(weights))
            raise ValueError(
                f"flow_matching.{names} 0: nothing else is learned with conditioning.modalities {wanted.modalities}; "
                "give one a weight above 0"
            )
        return self

    @model_validator(mode="after")
    def _media_to_validate_with(self) -> "TrainingConfig":
        """Samples are given what training gives, and nothing that they would not use."""
        modalities, validation = self.conditioning.modalities, self.validation
        for name, needing, allowed in (
            ("audios", "audio_to_video", ("joint", "audio_to_video")),
            ("videos", "video_to_audio", ("joint", "video_to_audio")),
            ("images", None, ("joint", "video", "audio_to_video")),
        ):
            has = getattr(validation, name) is not None
            if modalities == needing and validation.prompts and not has:
                raise ValueError(
                    f"validation.{name}: conditioning.modalities {modalities} needs one for each validation "
                    "prompt; give them, or remove the prompts"
                )
            if has and modalities not in allowed:
                raise ValueError(
                    f"validation.{name} would be ignored with conditioning.modalities {modalities}: remove them, "
                    f"or set it to {' or '.join(allowed)}"
                )
        return self

    @model_validator(mode="after")
    def _suits_full_training(self) -> "TrainingConfig":
        if self.model.training_mode == "lora":
            return self
        for name, value in (
            ("quantization", self.acceleration.quantization),
            ("blocks_to_offload", self.acceleration.blocks_to_offload),
            ("quantized_matmul", self.acceleration.quantized_matmul),
        ):
            if value:
                raise ValueError(
                    f"acceleration.{name} {value}: is for frozen weights, and "
                    "model.training_mode full trains every weight: leave it out, or train a LoRA"
                )
        optimization, precision = self.optimization, self.acceleration.mixed_precision_mode
        if optimization.trained_weights == "bf16":
            if optimization.optimizer_type != "adamw":
                raise ValueError(
                    f"optimization.optimizer_type {optimization.optimizer_type}: does not round by chance, which "
                    "optimization.trained_weights bf16 needs: choose adamw, or float32 weights"
                )
            if precision != "bf16":
                raise ValueError(
                    f"acceleration.mixed_precision_mode {precision}: optimization.trained_weights bf16 are computed "
                    "with in bf16: choose bf16, or float32 weights"
                )
        return self

    @model_validator(mode="after")
    def _can_preserve(self) -> "TrainingConfig":
        kind, conditioning = self.optimization.preservation, self.conditioning
        if kind != "none" and self.model.training_mode == "full":
            raise ValueError(
                f"optimization.preservation {kind}: keeps the predictions of the frozen base, and model.training_mode full "
                "has none; train a LoRA, or mix in clips with data.prior_data_root"
            )
        if kind != "none" and conditioning.reference_streams:
            raise ValueError(
                f"optimization.preservation {kind}: conditioning.mode {conditioning.mode} is to follow its references "
                "whatever the prompt is; leave it out"
            )
        if kind == "blank_prompt" and conditioning.caption_dropout_p > 0:
            raise ValueError(
                f"optimization.preservation blank_prompt: conditioning.caption_dropout_p {conditioning.caption_dropout_p:g} "
                "trains the empty caption that it keeps; set it to 0, or choose differential_output"
            )
        if kind == "blank_prompt" and any(line.caption_dropout for line in self.data.further):
            raise ValueError(
                "data.more_data_sets: caption_dropout trains the empty caption that optimization.preservation blank_prompt "
                "keeps; leave it out, or choose differential_output"
            )
        if kind != "none" and self.acceleration.shard_model:
            raise ValueError(
                f"optimization.preservation {kind}: can't be used with acceleration.shard_model; switch it off"
            )
        if self.data.prior_data_root and self.optimization.release_gradients:
            raise ValueError(
                "data.prior_data_root: adds a second backward pass, and optimization.release_gradients moves weights in "
                "each; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _steps_for_the_last_stage(self) -> "TrainingConfig":
        before, steps = sum(self.data.stage_steps), self.optimization.steps
        if before >= steps:
            raise ValueError(
                f"data.stage_steps: the stages before the last have {before} steps, and optimization.steps {steps} leaves "
                "none for the last one; give them fewer, or more steps in all"
            )
        return self

    @model_validator(mode="after")
    def _suits_the_adapter(self) -> "TrainingConfig":
        adapter = self.lora.adapter
        if self.model.training_mode == "full" or adapter in ("lora", "rslora"):
            return self
        if self.checkpoints.write_diffusers:
            raise ValueError(
                f"checkpoints.write_diffusers: diffusers reads no {adapter} (lora.adapter); switch it off, or train "
                "lora or rslora"
            )
        if self.acceleration.shard_model:
            raise ValueError(
                f"acceleration.shard_model: a base that is shared among processes can't be trained with lora.adapter "
                f"{adapter}; switch it off, or train lora or rslora"
            )
        return self

    @model_validator(mode="after")
    def _one_rate_for_prodigy(self) -> "TrainingConfig":
        is_lora = self.model.training_mode == "lora"
        if is_lora and self.lora.has_own_rates and self.optimization.finds_its_rate:
            raise ValueError(
                "lora.layer_rules and lora.lora_plus_ratio: optimization.optimizer_type "
                f"{self.optimization.optimizer_type} finds one rate for all "
                "that is trained; leave out rates, or choose another optimizer"
            )
        return self

    @model_validator(mode="after")
    def _matrices_for_muon(self) -> "TrainingConfig":
        if self.optimization.optimizer_type != "muon":
            return self
        what = "model.training_mode full" if self.model.training_mode == "full" else ""
        if not what and self.lora.adapter == "oft":
            what = "lora.adapter oft"
        if what:
            raise ValueError(
                f"optimization.optimizer_type muon: moves matrices alone, and {what} trains others too; choose adamw, or "
                "train another adapter"
            )
        return self

    @model_validator(mode="after")
    def _can_release_gradients(self) -> "TrainingConfig":
        if self.optimization.release_gradients and self.acceleration.mixed_precision_mode == "fp16":
            raise ValueError(
                "optimization.release_gradients: acceleration.mixed_precision_mode fp16 scales all gradients "
                "together; choose bf16 or no, or switch release_gradients off"
            )
        return self

    @property
    def output_path(self) -> Path:
        """The folder that holds the runs, with ~ expanded."""
        return as_path(self.output_dir)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in TrainingConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def build(section: type[SectionT], values: Mapping[str, object], where: str = "") -> SectionT:
    """Validates values into a section or the whole configuration.

    Args:
        where: put before the option's name in a message, for example "optimization".

    Raises:
        ConfigurationError: with one line for each problem.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = [problem_line(problem, section, where) for problem in error.errors()]
        more = [f"and {len(problems) - MOST_PROBLEMS} more"] if problems[MOST_PROBLEMS:] else []
        raise ConfigurationError(problems[:MOST_PROBLEMS] + more) from None
