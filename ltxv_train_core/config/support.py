"""What this version can't do yet. Such options are refused by name, never ignored."""

from .whole import TrainingConfig


def unsupported(config: TrainingConfig) -> list[str]:
    """One line for each option whose value this version can't follow."""
    rules = [
        (
            config.model.training_mode == "full",
            "model.training_mode: full is not available yet; use lora",
        ),
        (
            config.model.load_checkpoint is not None,
            "model.load_checkpoint: starting from another LoRA is not available yet; leave it empty "
            "(an interrupted run goes on by itself)",
        ),
        (
            config.optimization.optimizer_type == "adamw8bit",
            "optimization.optimizer_type: adamw8bit is not available yet; use adamw",
        ),
        (
            config.acceleration.mixed_precision_mode == "fp16",
            "acceleration.mixed_precision_mode: fp16 is not available yet; use bf16 or no",
        ),
        (
            config.acceleration.quantization is not None,
            "acceleration.quantization: not available yet; leave it at none",
        ),
        (
            config.acceleration.load_text_encoder_in_8bit,
            "acceleration.load_text_encoder_in_8bit: not available yet; switch it off",
        ),
        (
            config.validation.images is not None,
            "validation.images: image to video samples are not available yet; leave it empty",
        ),
        (
            config.hub.push_to_hub,
            "hub.push_to_hub: uploads are not available yet; switch it off",
        ),
    ]
    return [line for refused, line in rules if refused]
