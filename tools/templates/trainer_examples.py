"""Templates with the values of LTX-Video-Trainer's example configurations: a node for each section that differs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .canvas import Schemas, Workflow

Values = dict[str, object]

LEFT, WIDE, MIDDLE, RIGHT = 255, 325, 290, 330
LOW_RANK: Values = {"rank": 32, "alpha": 32}
HIGH_RANK: Values = {"rank": 128, "alpha": 128}
LAYERS = "to_k\nto_q\nto_v\nto_out.0"
PROMPTS = "a portrait of a woman by a window\na man in a grey suit walks down a street"


@dataclass(frozen=True)
class Example:
    """What one of the configurations sets.

    Attributes:
        note: what it is for, one or two sentences.
        model: the base model's version.
        size: of clips and samples, WIDTHxHEIGHTxFRAMES.
        lora: None where every weight is trained.
    """

    note: str
    model: str
    size: str
    optimization: Values
    acceleration: Values
    checkpoints: Values
    lora: Values | None = None
    conditioning: Values = field(default_factory=lambda: {"first_frame_conditioning_p": 0.1})
    validation: Values = field(default_factory=lambda: {"prompts": PROMPTS, "interval": 100})
    train: str = "LTXVTrainLoRA"


_ONE_CLIP: Values = {"batch_size": 1, "gradient_accumulation_steps": 1, "scheduler_type": "linear"}
_UNCOMPILED: Values = {"mixed_precision_mode": "bf16", "compile_with_inductor": False}
_EVERY_250: Values = {"interval": 250, "keep_last_n": -1}

EXAMPLES = {
    "LoRA 2B": Example(
        note="A LoRA of LTX-Video 2B, for a card of 40 GB or more.",
        model="LTXV_2B_0.9.6_DEV",
        size="768x448x89",
        lora=LOW_RANK,
        optimization=_ONE_CLIP | {"learning_rate": 2e-4, "steps": 1500, "optimizer_type": "adamw"},
        acceleration=_UNCOMPILED | {"load_text_encoder_in_8bit": True},
        checkpoints=_EVERY_250,
    ),
    "LoRA 2B on 24 GB": Example(
        note="A LoRA of LTX-Video 2B for a card of 24 GB: 8 bit weights and optimizer, and "
        "gradient checkpointing.",
        model="LTXV_2B_0.9.6_DEV",
        size="768x448x89",
        lora=LOW_RANK,
        optimization=_ONE_CLIP
        | {
            "learning_rate": 2e-4,
            "steps": 1500,
            "optimizer_type": "adamw8bit",
            "enable_gradient_checkpointing": True,
        },
        acceleration=_UNCOMPILED
        | {"load_text_encoder_in_8bit": True, "quantization": "fp8-quanto"},
        checkpoints=_EVERY_250,
    ),
    "LoRA 13B": Example(
        note="A LoRA of LTX-Video 13B that learns an effect, for a card of 80 GB. Half of the clips "
        "are trained with their first frame given.",
        model="LTXV_13B_097_DEV",
        size="576x576x121",
        lora=HIGH_RANK,
        conditioning={"first_frame_conditioning_p": 0.5},
        optimization=_ONE_CLIP
        | {
            "learning_rate": 2e-4,
            "steps": 2000,
            "optimizer_type": "adamw",
            "enable_gradient_checkpointing": True,
        },
        acceleration=_UNCOMPILED,
        validation={"prompts": PROMPTS, "interval": 250},
        checkpoints=_EVERY_250,
    ),
    "IC-LoRA 13B": Example(
        note="An IC-LoRA of LTX-Video 13B, which follows a second video, for a card of 80 GB. The "
        "metadata need a column `reference_path`. For samples, write prompts and as many reference "
        "videos into *Configure LTXV Validation*.",
        model="LTXV_13B_097_DEV",
        size="512x512x81",
        lora=HIGH_RANK | {"target_modules": f"{LAYERS}\nff.net.0.proj\nff.net.2"},
        conditioning={"mode": "reference_video", "first_frame_conditioning_p": 0.2},
        optimization=_ONE_CLIP
        | {
            "learning_rate": 2e-4,
            "steps": 2000,
            "optimizer_type": "adamw",
            "enable_gradient_checkpointing": True,
        },
        acceleration=_UNCOMPILED,
        validation={"interval": 250},
        checkpoints={"interval": 250, "keep_last_n": 3},
        train="LTXVTrainICLoRA",
    ),
    "Full fine-tune 2B": Example(
        note="Every weight of LTX-Video 2B, for a card of 80 GB and a large data set.",
        model="LTXV_2B_0.9.6_DEV",
        size="768x448x89",
        optimization=_ONE_CLIP
        | {
            "learning_rate": 1e-5,
            "steps": 1000,
            "gradient_accumulation_steps": 4,
            "optimizer_type": "adamw",
        },
        acceleration={
            "mixed_precision_mode": "bf16",
            "compile_with_inductor": True,
            "compilation_mode": "reduce-overhead",
            "load_text_encoder_in_8bit": True,
        },
        validation={"prompts": PROMPTS, "interval": 200},
        checkpoints={"interval": 500, "keep_last_n": -1},
        train="LTXVTrainModel",
    ),
}


def template(example: Example) -> Callable[[Schemas], Workflow]:
    """The template of an example: data set, a node for each section, and training."""
    return lambda schemas: _workflow(schemas, example)


def _workflow(schemas: Schemas, example: Example) -> Workflow:
    w = Workflow(schemas)
    note = w.add(
        "MarkdownNote",
        (LEFT, 225),
        "Start here",
        text=f"{example.note}\n\n1. *Preprocess*: write the **path** of your videos or metadata.\n2. *Base "
        "model*: `LTXV_MINIATURE` tries the graph without a download.\n3. *Validation*: write prompts for "
        "samples.\n4. Press **Run**.\n\nThe values are those of LTX-Video-Trainer's example.",
    )
    model = w.add("LTXVTrainModelConfig", (LEFT, 130), "Base model", model_source=example.model)
    data = w.add(
        "LTXVTrainDatasetPreprocess",
        (LEFT, 240),
        model=model["model"],
        dataset_path="",
        resolution_buckets=example.size,
    )
    sections = {"model": model["model"]}
    lora = w.add("LTXVTrainLoRAConfig", (WIDE, 106), **example.lora) if example.lora else None
    if lora:
        sections["lora"] = lora["lora"]
    conditioning = w.add("LTXVTrainConditioningConfig", (WIDE, 154), **example.conditioning)
    optimization = w.add("LTXVTrainOptimizationConfig", (WIDE, 202), **example.optimization)
    read = w.add(
        "LTXVTrainDataConfig",
        (WIDE, 82),
        preprocessed_data_root=data["preprocessed_data_root"],
        num_dataloader_workers=2,
    )
    acceleration = w.add("LTXVTrainAccelerationConfig", (MIDDLE, 154), **example.acceleration)
    validation = w.add(
        "LTXVTrainValidationConfig",
        (MIDDLE, 292),
        **{"video_dims": example.size, "inference_steps": 50, "guidance_scale": 3.5}
        | example.validation,
    )
    checkpoints = w.add("LTXVTrainCheckpointsConfig", (MIDDLE, 106), **example.checkpoints)
    for node in (conditioning, optimization, acceleration, read, validation, checkpoints):
        (section,) = node.shape.outputs
        sections[section] = node[section]
    joined = w.add("LTXVTrainConfig", (RIGHT, 282), seed=42, name="my-training", **sections)
    train = w.add(example.train, (RIGHT, 400), config=joined["config"])
    w.column("1  Data", note, model, data)
    w.column("2  Settings", *filter(None, (lora, conditioning, optimization, read)))
    w.column("2  Settings", acceleration, checkpoints, validation)
    w.column("3  Training", joined, train)
    return w
