"""Templates for the published files of LTX-2.3: video with sound, from one file or several, IC-LoRA, and sound alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .canvas import Schemas, Workflow

Values = Mapping[str, object]

LEFT, MIDDLE, RIGHT = 270, 300, 340
PROMPT = "what is seen, what is heard, and your trigger word"


@dataclass(frozen=True)
class File:
    """A file of the model as ComfyUI's own templates name it: it offers to download what is missing.

    Attributes:
        what: in a word or two.
        folder: below models.
        url: as ComfyUI's templates and the publishers' pages give it.
    """

    what: str
    folder: str
    name: str
    url: str

    @property
    def link(self) -> str:
        """For a note: newer interfaces name missing files of lists alone, not of what is written."""
        return f"[{self.what}]({self.url}) in *{self.folder}*"

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "url": self.url, "directory": self.folder}


_HUB = "https://huggingface.co"
_KIJAI = f"{_HUB}/Kijai/LTX2.3_comfy/resolve/main"

CHECKPOINT = File(
    "checkpoint",
    "checkpoints",
    "ltx-2.3-22b-dev.safetensors",
    f"{_HUB}/Lightricks/LTX-2.3/resolve/main/ltx-2.3-22b-dev.safetensors",
)
GEMMA = File(
    "Gemma",
    "text_encoders",
    "gemma_3_12B_it_fp8_scaled.safetensors",
    f"{_HUB}/Comfy-Org/ltx-2/resolve/main/split_files/text_encoders/gemma_3_12B_it_fp8_scaled.safetensors",
)
TRANSFORMER = File(
    "transformer",
    "diffusion_models",
    "ltx-2.3-22b-dev_transformer_only_fp8_scaled.safetensors",
    f"{_KIJAI}/diffusion_models/ltx-2.3-22b-dev_transformer_only_fp8_scaled.safetensors",
)
VIDEO_VAE = File(
    "video VAE",
    "vae",
    "LTX23_video_vae_bf16.safetensors",
    f"{_KIJAI}/vae/LTX23_video_vae_bf16.safetensors",
)
AUDIO_VAE = File(
    "audio VAE",
    "vae",
    "LTX23_audio_vae_bf16.safetensors",
    f"{_KIJAI}/vae/LTX23_audio_vae_bf16.safetensors",
)
PROJECTION = File(
    "projection",
    "text_encoders",
    "ltx-2.3_text_projection_bf16.safetensors",
    f"{_KIJAI}/text_encoders/ltx-2.3_text_projection_bf16.safetensors",
)

ONE_FILE = {"model_source": CHECKPOINT, "text_encoder_source": GEMMA}
SPLIT_FILES = {
    "model_source": TRANSFORMER,
    "text_encoder_source": GEMMA,
    "vae_source": VIDEO_VAE,
    "audio_vae_source": AUDIO_VAE,
    "text_projection_source": PROJECTION,
}


@dataclass(frozen=True)
class Example:
    """What one of the templates sets.

    Attributes:
        note: what it is for, and what is needed.
        files: of the model, by the option that names each.
        layers: of `lora.target_modules`; None: all attention.
    """

    note: str
    files: Mapping[str, File] = field(default_factory=lambda: ONE_FILE)
    size: str = "768x448x89"
    rank: int = 32
    layers: str | None = None
    conditioning: Values = field(default_factory=lambda: {"first_frame_conditioning_p": 0.1})
    validation: Values = field(default_factory=lambda: {"prompts": PROMPT})
    acceleration: Values = field(default_factory=lambda: {"mixed_precision_mode": "bf16"})
    train: str = "LTXVTrainLoRA"


EXAMPLES = {
    "LTX-2.3 LoRA with sound": Example(
        note="## LTX-2.3: what is seen and heard\n\nA LoRA from videos with sound. **Base model** names the published "
        "checkpoint and Gemma (see its two files); its weights are quantized to 8 bits.",
        acceleration={
            "mixed_precision_mode": "bf16",
            "quantization": "int8-quanto",
        },
    ),
    "LTX-2.3 LoRA from split files": Example(
        note="## LTX-2.3 from split files\n\nThe same with five files: transformer in fp8 with connectors, both VAEs, "
        "Gemma and text projection, as *Base model* names them. fp8 stays fp8; four blocks wait in host memory.",
        files=SPLIT_FILES,
        acceleration={"mixed_precision_mode": "bf16", "blocks_to_offload": 4},
    ),
    "LTX-2.3 IC-LoRA with sound": Example(
        note="## An IC-LoRA that follows video and sound\n\nThe metadata need the columns `reference_path` and "
        "`reference_audio`. For samples write prompts, and as many paths into *reference_videos* and "
        "*reference_audios*.",
        conditioning={"mode": "reference_video_audio", "first_frame_conditioning_p": 0.0},
        validation={},
        train="LTXVTrainICLoRA",
    ),
    "LTX-2.3 voice": Example(
        note="## A voice, from sounds alone\n\nThe sound of your videos is learned, their pictures aren't looked at "
        "(*modalities*: audio); a folder of sound files does as well. Captions say who speaks, how, and what. Afterwards *LTXV runs*, tab **Voice**, "
        "**Listen**: was it learned?",
        layers="audio",
        conditioning={"modalities": "audio", "first_frame_conditioning_p": 0.0},
        acceleration={
            "mixed_precision_mode": "bf16",
            "quantization": "int8-quanto",
        },
    ),
}


def template(example: Example) -> Callable[[Schemas], Workflow]:
    """The template of an example."""
    return lambda schemas: _workflow(schemas, example)


def _workflow(schemas: Schemas, example: Example) -> Workflow:
    w = Workflow(schemas)
    links = ", ".join(file.link for file in example.files.values())
    note = w.add(
        "MarkdownNote",
        (LEFT, 235),
        "Start here",
        text=f"{example.note}\n\nFiles: {links}.\n\n1. *Preprocess*: **path** of your videos.\n2. *Validation*: prompts.\n"
        "3. **Run**. `LTX2_MINIATURE` as the only source, size `96x96x17`, tries it in minutes.",
    )
    named = {option: file.name for option, file in example.files.items()}
    model = w.add("LTXVTrainModelConfig", (LEFT, 130), "Base model", **named)
    model.models = [file.to_json() for file in example.files.values()]
    data = w.add(
        "LTXVTrainDatasetPreprocess",
        (LEFT, 240),
        model=model["model"],
        dataset_path="",
        resolution_buckets=example.size,
    )
    layers = {} if example.layers is None else {"target_modules": example.layers}
    sections = [
        w.add(
            "LTXVTrainLoRAConfig", (MIDDLE, 106), rank=example.rank, alpha=example.rank, **layers
        ),
        w.add("LTXVTrainConditioningConfig", (MIDDLE, 154), **example.conditioning),
        w.add(
            "LTXVTrainOptimizationConfig",
            (MIDDLE, 202),
            learning_rate=2e-4,
            steps=2000,
            batch_size=1,
            enable_gradient_checkpointing=True,
        ),
        w.add("LTXVTrainAccelerationConfig", (MIDDLE, 154), **example.acceleration),
        w.add(
            "LTXVTrainValidationConfig",
            (MIDDLE, 292),
            **{
                "video_dims": example.size,
                "frame_rate": 24.0,
                "inference_steps": 30,
                "guidance_scale": 3.0,
                "audio_guidance_scale": 7.0,
                "interval": 250,
            }
            | dict(example.validation),
        ),
        w.add(
            "LTXVTrainDataConfig",
            (MIDDLE, 82),
            preprocessed_data_root=data["preprocessed_data_root"],
        ),
    ]
    joined = w.add(
        "LTXVTrainConfig",
        (RIGHT, 282),
        name="my-training",
        model=model["model"],
        **{
            next(iter(each.shape.outputs)): each[next(iter(each.shape.outputs))]
            for each in sections
        },
    )
    train = w.add(example.train, (RIGHT, 400), config=joined["config"])
    w.column("1  Data", note, model, data)
    w.column("2  Settings", *sections[:3], sections[5])
    w.column("2  Settings", *sections[3:5])
    w.column("3  Training", joined, train)
    return w
