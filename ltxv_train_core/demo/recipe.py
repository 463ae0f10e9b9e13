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

TRIGGER = "zorp"
SAMPLING_STEPS = 20
GUIDANCE_SCALE = 3.0
_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
_FEED_FORWARD = ("net.0.proj", "net.2")


def training_config(
    task: str, data_root: Path, output_dir: Path, seed: int, model_source: str
) -> TrainingConfig:
    """The configuration for a data set of a miniature ("stripes", "mirror", "up", "stripes_and_beep")."""
    follows_reference = task == "mirror"
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
            mode="reference_video" if follows_reference else "none",
            first_frame_conditioning_p=0.0,
        ),
        optimization=OptimizationConfig(
            learning_rate=2e-3,
            steps=300 if follows_reference else 150,
            batch_size=8,
            scheduler_type="cosine",
        ),
        acceleration=AccelerationConfig(compile_with_inductor=False),
        data=DataConfig(preprocessed_data_root=str(data_root)),
        flow_matching=FlowMatchingConfig(timestep_sampling_params={"std": 1.2, "shift": 0.4}),
    )
