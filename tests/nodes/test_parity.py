"""What is trained is what is sampled: ComfyUI's sampler and the core's give the same latents."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ltxv_train_core.diffusion.sampler import (
    ConditioningLatents,
    SampleRequest,
    SamplerSettings,
    sample,
)
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.clips import FPS, SIZE, ClipSpec, render
from ltxv_train_core.families.ltxv.miniature.datasets import evaluation_items
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.lora.file import add_trained_lora
from ltxv_train_core.media.tensors import frames_to_tensor
from tests.graph import Node
from tests.host import Host, models_folder, run
from tests.nodes.forward import write_checkpoint
from tests.nodes.test_on_canvas import PROMPT, Canvas
from tests.nodes.workflows import configure, prepare

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]

LATENT = LTXV.grid.latent(SIZE)
STEPS, SEED = 4, 5  # what `Canvas.sample` uses


def sampled_on_canvas(host: Host, canvas: Canvas, latent: Node, name: str) -> torch.Tensor:
    """The latents [128, f, h, w] that ComfyUI samples."""
    canvas.graph.add("SaveLatent", samples=latent, filename_prefix=name)
    run(host, canvas.graph.prompt).succeeded()
    (file,) = Path(host.base / "output").glob(f"{name}*.latent")
    return load_file(file)["latent_tensor"][0]


def sampled_in_core(
    lora_file: Path | None = None,
    reference: torch.Tensor | None = None,
    given: ConditioningLatents | None = None,
    causal: bool = True,
) -> torch.Tensor:
    source = open_model(MINIATURE)
    transformer = source.load_transformer(torch.float32)
    if lora_file is not None:
        add_trained_lora(transformer, lora_file)
    prompt, negative = source.load_text_encoder().encode([PROMPT, ""])
    request = SampleRequest(
        prompt,
        negative,
        SEED,
        {} if reference is None else {"video": reference},
        {} if given is None else {"video": given},
    )
    settings = SamplerSettings({"video": LATENT}, STEPS, 3.0, FPS)
    return sample(LTXVideoDenoiser(transformer, causal), [request], settings)["video"][0]


def test_text_to_video(host: Host) -> None:
    canvas = Canvas()
    latent = canvas.sample(canvas.model, canvas.prompts, canvas.latent, STEPS)
    theirs, ours = sampled_on_canvas(host, canvas, latent, "plain"), sampled_in_core()
    assert ours.std() > 0.3
    assert (theirs - ours).abs().max() < 1e-3


def test_without_causal_positions(host: Host) -> None:
    canvas = Canvas(write_checkpoint(host, causal=False).name)
    latent = canvas.sample(canvas.model, canvas.prompts, canvas.latent, STEPS)
    theirs = sampled_on_canvas(host, canvas, latent, "not-causal")
    ours = sampled_in_core(causal=False)
    assert (ours - sampled_in_core()).abs().max() > 0.05
    assert (theirs - ours).abs().max() < 1e-3


def test_with_a_lora(host: Host) -> None:
    canvas = Canvas()
    _, preprocessed = prepare(canvas.graph, host)
    config = configure(canvas.graph, host, preprocessed, steps=6, name="parity")
    lora_name = canvas.graph.add("LTXVTrainLoRA", config=config)
    model = canvas.graph.add(
        "LTXVTrainLoadLoRA", model=canvas.model, lora_name=lora_name, strength=1.0
    )
    latent = canvas.sample(model, canvas.prompts, canvas.latent, STEPS)
    theirs = sampled_on_canvas(host, canvas, latent, "lora")
    (lora_file,) = models_folder(host, "loras").glob("ltxv_train/parity-*.safetensors")
    ours = sampled_in_core(lora_file)
    assert (ours - sampled_in_core()).abs().max() > 0.05
    assert (theirs - ours).abs().max() < 1e-3


def test_image_to_video(host: Host) -> None:
    canvas = Canvas()
    frame = render(ClipSpec("circle", "red", "teal", "right")).frames[0]
    Image.fromarray(frame).save(host.base / "input" / "first_frame.png")
    applied = canvas.graph.add(
        "LTXVImgToVideo",
        positive=canvas.prompts[0],
        negative=canvas.prompts[1],
        vae=canvas.vae,
        image=canvas.graph.add("LoadImage", image="first_frame.png"),
        width=SIZE.width,
        height=SIZE.height,
        length=SIZE.frames,
        batch_size=1,
        strength=1.0,
    )
    latent = canvas.sample(canvas.model, applied, applied[2], STEPS)
    theirs = sampled_on_canvas(host, canvas, latent, "image")
    first = open_model(MINIATURE).load_vae().encode(frames_to_tensor(frame[None]))[0]
    ours = sampled_in_core(given=ConditioningLatents.beginning(first, LATENT))
    assert (ours - sampled_in_core()).abs().max() > 0.05
    assert (theirs - ours).abs().max() < 1e-3


@pytest.mark.parametrize("node", ["LTXVTrainApplyReference", "LTXVAddGuide"])
def test_with_a_reference_video(host: Host, node: str) -> None:
    canvas = Canvas()
    dataset, _ = prepare(canvas.graph, host, task="mirror")
    inputs = {
        "positive": canvas.prompts[0],
        "negative": canvas.prompts[1],
        "vae": canvas.vae,
        "latent": canvas.latent,
    }
    if node == "LTXVAddGuide":
        guide = {"image": dataset[2], "frame_idx": 0, "strength": 1.0}
    else:
        guide = {"reference": dataset[2]}
    applied = canvas.graph.add(node, **inputs, **guide)
    sampled = canvas.sample(canvas.model, applied, applied[2], STEPS)
    cropped = canvas.graph.add(
        "LTXVCropGuides", positive=applied[0], negative=applied[1], latent=sampled
    )
    canvas.graph.add("SaveLatent", samples=applied[2], filename_prefix=f"{node}-appended")
    theirs = sampled_on_canvas(host, canvas, cropped[2], f"{node}-sampled")
    (appended,) = Path(host.base / "output").glob(f"{node}-appended*.latent")
    if load_file(appended)["latent_tensor"].shape[2] != 6:
        pytest.skip("this version's stock guide does not append the whole video")
    frames = evaluation_items("mirror", seed=3)[0].reference
    assert frames is not None
    reference = open_model(MINIATURE).load_vae().encode(frames_to_tensor(frames))[0]
    ours = sampled_in_core(reference=reference)
    assert (ours - sampled_in_core()).abs().max() > 0.05
    assert (theirs - ours).abs().max() < 1e-3
