"""Nodes that make values and tell what they were given."""

import json
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import torch
from comfy_api.latest import ComfyExtension, io

from .probe_forward import ProbeForward, ProbeGiven
from .probe_ltx2 import ProbeLtx2Clip, ProbeLtx2Text, ProbeLtx2Vae

CATEGORY = "testing"


class ProbeValue(io.ComfyNode):
    """Shows a value as JSON; tensors by shape, mean and a checksum of their content."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeValue",
            category=CATEGORY,
            is_output_node=True,
            inputs=[io.AnyType.Input("value")],
        )

    @classmethod
    def execute(cls, value: Any) -> io.NodeOutput:
        return io.NodeOutput(ui={"text": [json.dumps(described(value))]})


class ProbeNumber(io.ComfyNode):
    """A number that is known when the prompt runs, not before."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeNumber",
            category=CATEGORY,
            inputs=[io.Int.Input("value")],
            outputs=[io.Int.Output()],
        )

    @classmethod
    def execute(cls, value: int) -> io.NodeOutput:
        return io.NodeOutput(value)


class ProbeFrames(io.ComfyNode):
    """A video that gets brighter from frame to frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeFrames",
            category=CATEGORY,
            inputs=[io.Int.Input(name) for name in ("frames", "height", "width")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, frames: int, height: int, width: int) -> io.NodeOutput:
        brightness = torch.linspace(0, 1, frames)[:, None, None, None]
        return io.NodeOutput(brightness.expand(frames, height, width, 3).clone())


class ProbeSound(io.ComfyNode):
    """A tone of 1 kHz between 0.5 s and 0.9 s, in 1.68 s, in every channel of every entry of a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeSound",
            category=CATEGORY,
            inputs=[
                io.Int.Input("rate"),
                io.Int.Input("channels", default=1, optional=True),
                io.Int.Input("batch", default=1, optional=True),
                io.Float.Input("level", default=0.5, optional=True),
            ],
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(
        cls, rate: int, channels: int = 1, batch: int = 1, level: float = 0.5
    ) -> io.NodeOutput:
        time = torch.arange(round(1.68 * rate)) / rate
        tone = level * torch.sin(2 * torch.pi * 1000 * time) * ((time >= 0.5) & (time < 0.9))
        return io.NodeOutput(
            {"waveform": tone.expand(batch, channels, -1).clone(), "sample_rate": rate}
        )


class ProbeHeard(io.ComfyNode):
    """Tells where a tone begins and ends in a sound, its pitch, and the sound's form."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeHeard",
            category=CATEGORY,
            inputs=[io.Audio.Input("audio")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, audio: dict[str, Any]) -> io.NodeOutput:
        sound, rate = audio["waveform"][0, 0], audio["sample_rate"]
        loud = (sound.abs() > 0.1).nonzero().flatten()
        told = {"shape": list(audio["waveform"].shape), "rate": rate}
        if len(loud):
            tone = sound[loud[0] : loud[-1]]
            pitch = torch.fft.rfft(tone).abs().argmax() * rate / len(tone)
            told |= {"begin": loud[0].item() / rate, "end": loud[-1].item() / rate}
            told["pitch"] = pitch.item()
        return io.NodeOutput(ui={"text": [json.dumps(told)]})


class ProbeVideo(io.ComfyNode):
    """The same video as a VIDEO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeVideo",
            category=CATEGORY,
            inputs=[io.Image.Input("images"), io.Float.Input("fps")],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, fps: float) -> io.NodeOutput:
        return io.NodeOutput(_Video(images, fps))


class _Video:
    def __init__(self, images: torch.Tensor, fps: float):
        self.images, self.fps = images, fps

    def get_components(self) -> SimpleNamespace:
        return SimpleNamespace(images=self.images, frame_rate=Fraction(self.fps))


class ProbeLatent(io.ComfyNode):
    """An empty latent video of ones, with `mask_frames` as Set Latent Noise Mask sets a mask: black
    above, white below."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeLatent",
            category=CATEGORY,
            inputs=[
                *(io.Int.Input(name) for name in ("batch", "frames", "height", "width")),
                io.Int.Input("mask_frames", default=0, optional=True),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, batch: int, frames: int, height: int, width: int, mask_frames: int = 0
    ) -> io.NodeOutput:
        latent = {"samples": torch.ones(batch, 128, frames, height, width)}
        if mask_frames:
            latent["noise_mask"] = torch.ones(mask_frames, 1, height * 32, width * 32)
            latent["noise_mask"][:, :, : height * 16] = 0
        return io.NodeOutput(latent)


class ProbeVae(io.ComfyNode):
    """A VAE whose latents are the mean brightness of the pixels they stand for."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="ProbeVae", category=CATEGORY, outputs=[io.Vae.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(_BrightnessVae())


class _BrightnessVae:
    downscale_index_formula = (8, 32, 32)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """[F, H, W, 3] -> [1, 128, (F - 1) / 8 + 1, H / 32, W / 32]."""
        grey = pixels.mean(-1)[None, None]
        parts = [torch.nn.functional.avg_pool3d(grey[:, :, :1], (1, 32, 32))]
        if len(pixels) > 1:
            parts.append(torch.nn.functional.avg_pool3d(grey[:, :, 1:], (8, 32, 32)))
        return torch.cat(parts, dim=2).expand(-1, 128, -1, -1, -1)


class ProbeClip(io.ComfyNode):
    """ComfyUI's own text encoder for LTX-Video around a small T5, read from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeClip",
            category=CATEGORY,
            inputs=[io.String.Input("path"), io.String.Input("config")],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, path: str, config: str) -> io.NodeOutput:
        import comfy.sd
        import comfy.text_encoders.lt
        import comfy.utils

        target = SimpleNamespace(
            params={},
            clip=comfy.text_encoders.lt.ltxv_te(),
            tokenizer=comfy.text_encoders.lt.LTXVT5Tokenizer,
        )
        options = {"t5xxl_model_config": json.loads(config), "dtype": torch.float32}
        clip = comfy.sd.CLIP(target, model_options=options)
        clip.load_sd(comfy.utils.load_torch_file(path, safe_load=True))
        return io.NodeOutput(clip)


class ProbeConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeConditioning", category=CATEGORY, outputs=[io.Conditioning.Output()]
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput([[torch.zeros(1, 4, 8), {"attention_mask": torch.ones(1, 4)}]])


class ProbeModel(io.ComfyNode):
    """A MODEL with a few weights that notes what is put into it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="ProbeModel", category=CATEGORY, outputs=[io.Model.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(_NotedModel())


class _Weights(torch.nn.Module):
    def __init__(self):
        super().__init__()
        attention = torch.nn.ModuleDict({"to_q": torch.nn.Linear(4, 4)})
        layers = {
            "to_q": torch.nn.Linear(4, 4),
            "to_k": torch.nn.Linear(4, 4),
            "transformer_blocks": torch.nn.ModuleList([torch.nn.ModuleDict({"attn1": attention})]),
        }
        self.diffusion_model = torch.nn.ModuleDict(layers)
        self.model_config = SimpleNamespace(unet_config={})


class _NotedModel:
    def __init__(self):
        self.model = _Weights()
        self.noted: dict[str, Any] = {}

    def clone(self) -> "_NotedModel":
        return _NotedModel()

    def add_patches(self, patches: dict[str, Any], strength: float) -> list[str]:
        self.noted |= {"patches": sorted(patches), "strength": strength}
        return list(patches)

    def set_attachments(self, name: str, value: Any) -> None:
        self.noted[name] = value

    def model_dump(self, mode: str) -> dict[str, Any]:
        return self.noted


def described(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        numbers = value.double()
        return {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "mean": numbers.mean().item(),
            "std": numbers.std().item() if value.numel() > 1 else 0.0,
            "values": value.flatten().tolist() if value.numel() <= 4096 else None,
        }
    if isinstance(value, dict):
        return {str(key): described(item) for key, item in value.items()}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


class ProbeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            ProbeValue,
            ProbeFrames,
            ProbeNumber,
            ProbeVideo,
            ProbeSound,
            ProbeHeard,
            ProbeLatent,
            ProbeVae,
            ProbeClip,
            ProbeConditioning,
            ProbeModel,
            ProbeGiven,
            ProbeForward,
            ProbeLtx2Vae,
            ProbeLtx2Clip,
            ProbeLtx2Text,
        ]
