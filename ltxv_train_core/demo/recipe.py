"""How the miniature's LoRAs are trained."""

from pathlib import Path

from ..config import (
    AccelerationConfig,
    ConditioningConfig,
    DataConfig,
    FlowMatchingConfig,
    LoRAConfig,
    ModelConfig,
    OptimizationConfig,
    TrainingConfig,
)
from ..config.sections.conditioning import ConditioningMode

TRIGGER = "zorp"
SAMPLING_STEPS = 20
GUIDANCE_SCALE = 3.0
_MODES: dict[str, ConditioningMode] = {
    "mirror": "reference_video",
    "mirror_with_sound": "reference_video_audio",
}
_STEPS = {"mirror": 300, "mirror_with_sound": 300}
_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
_FEED_FORWARD = ("net.0.proj", "net.2")


def training_config(
    task: str, data_root: Path, output_dir: Path, seed: int, model_source: str
) -> TrainingConfig:
    """The configuration for a data set of a miniature ("stripes", "mirror", "up", "stripes_and_beep",
    "mirror_with_sound")."""
    mode = _MODES.get(task, "none")
    follows_reference, hears = mode != "none", mode == "reference_video_audio"
    return TrainingConfig(
        name=f"demo-{task}",
        seed=seed,
        output_dir=str(output_dir),
        model=ModelConfig(model_source=model_source),
        lora=LoRAConfig(
            rank=16,
            alpha=16,
            target_modules=_ATTENTION + (_FEED_FORWARD if follows_reference else ()),
        ),
        conditioning=ConditioningConfig(
            mode=mode,
            first_frame_conditioning_p=0.0,
        ),
        optimization=OptimizationConfig(
            learning_rate=5e-3 if hears else 2e-3,
            steps=_STEPS.get(task, 150),
            batch_size=8,
            scheduler_type="cosine",
        ),
        acceleration=AccelerationConfig(compile_with_inductor=False),
        data=DataConfig(preprocessed_data_root=str(data_root)),
        flow_matching=FlowMatchingConfig(
            timestep_sampling_params={"std": 1.2, "shift": 1.4 if hears else 0.4}
        ),
    )
