"""One forward pass of a training run, and the same one in ComfyUI's sampler.

Shapes: N tokens of the target, M tokens in all, C 128, f h w latent frames, rows, columns.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.datasets.index import Example, read_index
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.forward import TIMESTEPS_PER_LEVEL
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.names import PROMPT, VIDEO
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.training.trainer import TrainingResult, train
from tests.graph import Graph, Node
from tests.helpers.video import to_latents
from tests.host import Host, models_folder, run
from tests.nodes.workflows import SIZE


def write_checkpoint(host: Host, causal: bool) -> Path:
    """The miniature among ComfyUI's checkpoints, with metadata that decide its positions."""
    path = export(models_folder(host, "checkpoints") / f"parity-{causal}.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    config["transformer"]["causal_temporal_positioning"] = causal
    write_safetensors(path, load_file(path), metadata | {"config": json.dumps(config)})
    return path


@dataclass(frozen=True)
class Forward:
    """What a transformer is given and what it answers.

    Attributes:
        tokens: [M, C]
        prediction: [N, C] in training, [M, C] in ComfyUI
        timesteps: [M] or [1]
        positions: [3, M]
    """

    tokens: torch.Tensor
    timesteps: torch.Tensor
    positions: torch.Tensor
    prediction: torch.Tensor


@dataclass(frozen=True)
class Trained:
    """The first forward pass of a run of one step, with what the run was made of."""

    forward: Forward
    call: dict[str, Any]
    item: Example
    result: TrainingResult


@dataclass(frozen=True)
class OneClip:
    """A preprocessed data set of one clip."""

    root: Path

    @classmethod
    def make(cls, task: str, folder: Path) -> "OneClip":
        dataset = generate(task, folder, clips=1)
        return cls(preprocess(PreprocessSettings(dataset.metadata, MINIATURE, SIZE)).root)

    @property
    def item(self) -> Example:
        return read_index(self.root).items[0]

    def train(self, folder: Path, model_source: str, **sections: dict[str, Any]) -> Trained:
        """Trains one step, whose change is too small to see, and keeps its forward pass."""
        values: dict[str, Any] = {
            "output_dir": str(folder),
            "model": {"model_source": model_source},
            "lora": {"rank": 4, "alpha": 4},
            "optimization": {"steps": 1, "learning_rate": 1e-12},
            "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
            "conditioning": {"first_frame_conditioning_p": 0.0},
            "data": {"preprocessed_data_root": str(self.root), "num_dataloader_workers": 0},
        }
        for name, options in sections.items():
            values[name] = {**values.get(name, {}), **options}
        calls: list[tuple[dict[str, Any], torch.Tensor]] = []
        original = LTXVideoDenoiser.denoise

        def denoise(denoiser: Any, inputs: Any, text: Any) -> Any:
            found = original(denoiser, inputs, text)
            calls.append((_call(inputs[VIDEO], text), found[VIDEO].detach().float().clone()))
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LTXVideoDenoiser, "denoise", denoise)
            result = train(build(TrainingConfig, values))
        call, prediction = calls[0]
        return Trained(
            Forward(
                call["hidden_states"][0].float(),
                call["timestep"][0].float(),
                call["video_coords"][0].float(),
                prediction[0],
            ),
            call,
            self.item,
            result,
        )


def _call(video: StreamInput, text: Text) -> dict[str, Any]:
    """What diffusers' transformer is called with for the same."""
    return {
        "hidden_states": video.tokens,
        "encoder_hidden_states": text.tensors[PROMPT],
        "timestep": video.levels * TIMESTEPS_PER_LEVEL,
        "encoder_attention_mask": text.mask,
        "video_coords": video.positions,
    }


@torch.no_grad()
def answer(transformer: LTXVideoTransformer3DModel, trained: Trained) -> torch.Tensor:
    """What another transformer answers to the same call, [N, C]."""
    found: torch.Tensor = transformer(**trained.call)[0][0].float()
    return found[: len(trained.forward.prediction)]


def sampled(
    host: Host,
    trained: Trained,
    checkpoint: str,
    name: str,
    lora: dict[str, Any] | None = None,
    guide: str | None = None,
    frames: torch.Tensor | None = None,
    encodes: bool = False,
) -> Forward:
    """The forward pass of ComfyUI's sampler at the same noise level, over the same noisy tokens.

    Args:
        checkpoint: name of the checkpoint for the stock loader.
        lora: a LoRA loader's class and inputs.
        guide: the node that gives the reference video `frames` [F, H, W, 3].
        encodes: let ComfyUI's VAE encode it, instead of giving it the latents of training.
    """
    _write_given(host, trained, name, frames)
    graph = Graph()
    given = graph.add("ProbeGiven", name=name)
    loaded = graph.add("CheckpointLoaderSimple", ckpt_name=checkpoint)
    model = graph.add(lora["node"], model=loaded, **lora["inputs"]) if lora else loaded
    text = graph.add("LTXVTrainMiniaturePrompt", text=trained.item.caption.text)
    prompts = graph.add(
        "LTXVConditioning", positive=text, negative=text, frame_rate=trained.item.fps
    )
    positive, latent = prompts, given[1]
    if guide:
        vae = loaded[2] if encodes else given[4]
        positive = _guided(graph, guide, prompts, vae, given)
        latent = positive[2]
    recorded = graph.add("ProbeForward", model=model, name=name)
    samples = graph.add(
        "SamplerCustomAdvanced",
        noise=given[0],
        guider=graph.add("BasicGuider", model=recorded, conditioning=positive),
        sampler=graph.add("KSamplerSelect", sampler_name="euler"),
        sigmas=given[2],
        latent_image=latent,
    )
    graph.add("SaveLatent", samples=samples, filename_prefix=name)
    run(host, graph.prompt).succeeded()
    assert "lora key not loaded" not in host.log()
    seen = load_file(host.base / "output" / f"{name}.safetensors")
    return Forward(
        seen["tokens"][0], seen["timesteps"].flatten(), seen["positions"], seen["prediction"][0]
    )


def _guided(graph: Graph, node: str, prompts: Node, vae: Any, given: Node) -> Node:
    inputs = {"positive": prompts[0], "negative": prompts[1], "vae": vae, "latent": given[1]}
    if node == "LTXVAddGuide":
        return graph.add(node, **inputs, image=given[3], frame_idx=0, strength=1.0)
    return graph.add(node, **inputs, reference=given[3])


def _write_given(host: Host, trained: Trained, name: str, frames: torch.Tensor | None) -> None:
    """What makes ComfyUI's sampler arrive at the noisy tokens of the training step.

    It mixes sigma * noise + (1 - sigma) * latent where it samples, and takes the latent where the
    noise mask is 0.
    """
    size = LTXV.grid.latent(VideoSize.parse(trained.item.size))
    count = size.tokens
    tokens, timesteps = trained.forward.tokens[:count], trained.forward.timesteps[:count]
    sigma = timesteps.max() / 1000
    noised = (timesteps > 0)[:, None]
    latents = to_latents(tokens[None], size)
    mask = to_latents(noised.float()[None], size)
    given = {
        "samples": latents * (1 - mask),
        "noise": latents * mask / sigma,
        "sigmas": torch.stack([sigma, torch.zeros(())]),
    }
    if not noised.all():
        given["noise_mask"] = mask
    if frames is not None:
        given["frames"] = frames
        given["reference"] = to_latents(trained.forward.tokens[None, count:], size)
    path = host.base / "input" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in given.items()}, path)
