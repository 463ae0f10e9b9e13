"""An LTX-2 file in ComfyUI and here: the same text, and the same answer to the same tokens."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.names import AUDIO, CONNECTORS, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.file import lora_tensors, write_adapter_file, write_lora_file
from ltxv_train_core.lora.initialize import adapted_layers, start_from
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.storage.safetensors_header import read_header
from tests.core.families.test_fp8 import in_fp8
from tests.helpers.ltx2 import AUDIO_WIDTH, CAPTION, GENERATIONS, WIDTH, write_checkpoint

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set"),
]
SCRIPT = Path(__file__).parents[1] / "comfyui" / "ltx2_forward.py"
FPS = 24.0
FRAMES, ROWS, COLUMNS, SOUNDS, WORDS = 3, 2, 4, 9, 20
CLOSE = 1e-5

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.2", "proj_in", "audio_time_embed.*")

Case = dict[str, torch.Tensor]


def comfyui_knows_ltx2() -> bool:
    return (Path(os.environ["COMFYUI_PATH"]) / "comfy/ldm/lightricks/av_model.py").is_file()


needs_ltx2 = pytest.mark.skipif(
    "COMFYUI_PATH" in os.environ and not comfyui_knows_ltx2(), reason="this ComfyUI has no LTX-2"
)


def in_comfyui(folder: Path, checkpoint: Path, cases: dict[str, Case], *lora: Path) -> Case:
    given = {
        f"{name}/{what}": t.clone() for name, case in cases.items() for what, t in case.items()
    }
    save_file(given, folder / "inputs.safetensors")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    files = (checkpoint, folder / "inputs.safetensors", folder / "result.safetensors", *lora)
    command = [python, str(SCRIPT), os.environ["COMFYUI_PATH"], *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "result.safetensors")


def cases(generation: str) -> dict[str, Case]:
    """The same features and tokens, each time with other levels, streams or guides."""
    torch.manual_seed(2)
    width = CAPTION if generation == "2.0" else WIDTH + AUDIO_WIDTH
    features = torch.randn(1, WORDS, width)
    video = torch.randn(1, 128, FRAMES, ROWS, COLUMNS)
    audio = torch.randn(1, 8, SOUNDS, 16)
    level = torch.full((1, FRAMES * ROWS * COLUMNS), 0.7)
    first_clean = level.clone()
    first_clean[:, : ROWS * COLUMNS] = 0
    alone = {"features": features, "video": video, "video_levels": level}
    sound = {"audio": audio, "audio_levels": torch.full((1, SOUNDS), 0.4)}
    both = alone | sound
    reference = torch.randn(1, SOUNDS, 128)
    first_clean_and_guide = torch.cat([first_clean, torch.zeros_like(level)], dim=1)
    return {
        "both": both,
        "alone": alone,
        "first frame": both | {"video_levels": first_clean},
        "sound clean": both | {"audio_levels": torch.zeros(1, SOUNDS)},
        "picture clean": both | {"video_levels": torch.zeros_like(level)},
        "sound alone": both | {"apart": torch.ones(1)},
        "guide 1": both | guided(video, level, 1),
        "guide 2": both | guided(video, level, 2),
        "sound reference": both | {"sound_reference": reference},
        "guide 2 and sound reference": both
        | guided(video, level, 2)
        | {"sound_reference": reference, "video_levels": first_clean_and_guide},
    }


def guided(video: torch.Tensor, level: torch.Tensor, factor: int) -> Case:
    """The target with a guide behind it that is `factor` times smaller: ComfyUI spreads it over the
    target's rows and columns, with holes that are no tokens."""
    guide = torch.randn(1, 128, FRAMES, ROWS // factor, COLUMNS // factor)
    spread = torch.zeros(1, 128, FRAMES, ROWS, COLUMNS)
    spread[..., ::factor, ::factor] = guide
    mask = torch.full((1, 1, FRAMES, ROWS, COLUMNS), -1.0)
    mask[..., ::factor, ::factor] = 0.0
    starts = torch.meshgrid(
        (torch.arange(FRAMES) * 8 - 7).clamp(min=0),
        torch.arange(ROWS) * 32,
        torch.arange(COLUMNS) * 32,
        indexing="ij",
    )
    ends = (
        torch.arange(FRAMES)[:, None, None].expand(FRAMES, ROWS, COLUMNS) * 8 + 1,
        starts[1] + 32 * factor,
        starts[2] + 32 * factor,
    )
    corners = torch.stack(
        [torch.stack([s, e], -1).flatten(0, 2) for s, e in zip(starts, ends, strict=True)]
    )
    return {
        "video": torch.cat([video, spread], dim=2),
        "video_levels": torch.cat([level, torch.zeros_like(level)], dim=1),
        "mask": torch.cat([torch.ones(1, 1, FRAMES, ROWS, COLUMNS), mask], dim=2),
        "keyframes": corners[None].float(),
    }


LATEST = list(GENERATIONS)[-1]
ADAPTERS = ("dora", "lokr", "loha", "oft")


def with_lora(transformer: Any, start: Path | None = None, adapter: str = "lora") -> Any:
    """With a LoRA whose effect shows, or with that of a file."""
    config = LoRAConfig(rank=4, alpha=8, target_modules=TARGETS, adapter=adapter)
    parameters = add_lora(transformer, config, 0)
    if start is not None:
        start_from(transformer, start, config)
        return transformer
    torch.manual_seed(4)
    if adapter != "lora":
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
        return transformer
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return transformer


@torch.no_grad()
def ours(checkpoint: Path, case: Case, lora: Path | None = None, adapter: str = "lora") -> Case:
    """What training and samples see and answer."""
    model = open_model(str(checkpoint))
    connectors = model.part(CONNECTORS).load(torch.float32)
    text = connectors.finish(case["features"][0])
    transformer = model.load_transformer(torch.float32)
    if lora is not None:
        with_lora(transformer, lora, adapter)
    denoiser = model.transformer.denoiser(transformer)
    fps = torch.tensor([FPS])
    stream = denoiser.streams[VIDEO]
    target = case["video"][:, :, :FRAMES]
    count = FRAMES * ROWS * COLUMNS
    seen = StreamInput(
        stream.to_tokens(target),
        case["video_levels"][:, :count],
        stream.positions(target.shape[2:], fps),
    )
    if "keyframes" in case:
        holes = case["mask"][0, 0, FRAMES, :, 0] < 0
        factor = 2 if holes.any() else 1
        guide = case["video"][:, :, FRAMES:, ::factor, ::factor]
        tokens = stream.to_tokens(guide)
        where = stream.reference_positions(guide.shape[2:], target.shape[2:], fps)
        seen = seen.followed_by(StreamInput(tokens, torch.zeros(tokens.shape[:2]), where))
    inputs = {} if "apart" in case else {VIDEO: seen}
    if "audio" in case:
        sound = denoiser.streams[AUDIO]
        inputs[AUDIO] = StreamInput(
            sound.to_tokens(case["audio"]),
            case["audio_levels"],
            sound.positions(case["audio"].shape[2:], fps),
        )
        if "sound_reference" in case:
            tokens = case["sound_reference"]
            where = sound.reference_positions((tokens.shape[1], 16), (SOUNDS, 16), fps)
            reference = StreamInput(tokens, torch.zeros(tokens.shape[:2]), where)
            inputs[AUDIO] = inputs[AUDIO].followed_by(reference)
    found = denoiser.denoise(inputs, Text.padded([text]))
    answer = {
        "text": torch.cat(list(text.values()), dim=-1)[None],
    }
    if VIDEO in found:
        answer["video"] = stream.to_latents(found[VIDEO][:, :count], (FRAMES, ROWS, COLUMNS))
    if "audio" in case:
        answer["audio"] = denoiser.streams[AUDIO].to_latents(found[AUDIO], (SOUNDS, 16))
    return answer


@needs_ltx2
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_lora_has_the_same_effect_in_both(generation: str, tmp_path: Path) -> None:
    """Written by this program, loaded by ComfyUI's own code and here; every key finds its weight."""
    checkpoint = write_checkpoint(tmp_path / "x.safetensors", generation)
    transformer = with_lora(open_model(str(checkpoint)).load_transformer(torch.float32))
    file = tmp_path / "lora.safetensors"
    tensors = lora_tensors(transformer)
    write_lora_file(file, tensors, 4, 8, {}, torch.float32)
    given = {"both": cases(generation)["both"]}
    theirs = in_comfyui(tmp_path, checkpoint, given, file)
    assert theirs["unused"].item() == 0
    assert theirs["patched"].item() == len(tensors) // 2
    plain, found = ours(checkpoint, given["both"]), ours(checkpoint, given["both"], file)
    for what in ("video", "audio"):
        expected = theirs[f"both/{what}"]
        assert (found[what] - expected).abs().max() <= CLOSE * expected.abs().max()
        assert (plain[what] - expected).abs().max() > 0.01


@needs_ltx2
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_has_the_same_effect_in_both(adapter: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "x.safetensors", LATEST)
    transformer = open_model(str(checkpoint)).load_transformer(torch.float32)
    layers = adapted_layers(with_lora(transformer, adapter=adapter))
    file = tmp_path / "adapter.safetensors"
    write_adapter_file(file, {name: each.as_layer() for name, each in layers.items()}, {})
    given = {"both": cases(LATEST)["both"]}
    theirs = in_comfyui(tmp_path, checkpoint, given, file)
    assert theirs["unused"].item() == 0
    assert theirs["patched"].item() == len(layers)
    plain = ours(checkpoint, given["both"])
    found = ours(checkpoint, given["both"], file, adapter)
    for what in ("video", "audio"):
        expected = theirs[f"both/{what}"]
        assert (found[what] - expected).abs().max() <= CLOSE * expected.abs().max()
        assert (plain[what] - expected).abs().max() > 0.01


@needs_ltx2
@pytest.mark.parametrize("form", ["plain", "scaled"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_fp8_file_answers_as_in_comfyui(generation: str, form: str, tmp_path: Path) -> None:
    """The blocks' linear layers in 8 bit, scaled or not, as published files have them."""
    checkpoint = write_checkpoint(tmp_path / "x.safetensors", generation)
    exact = {"both": cases(generation)["both"]}
    before = ours(checkpoint, exact["both"])
    metadata = read_header(checkpoint).metadata
    save_file(in_fp8(load_file(checkpoint), form), checkpoint, metadata)
    assert open_model(str(checkpoint)).facts.is_fp8
    theirs, found = in_comfyui(tmp_path, checkpoint, exact), ours(checkpoint, exact["both"])
    for what in ("text", "video", "audio"):
        expected = theirs[f"both/{what}"]
        assert (found[what] - expected).abs().max() <= CLOSE * expected.abs().max(), what
    assert (found["video"] - before["video"]).abs().max() > 1e-3


@needs_ltx2
@pytest.mark.parametrize("generation", GENERATIONS)
def test_text_and_answers_are_comfyuis(generation: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "x.safetensors", generation)
    given = cases(generation)
    theirs = in_comfyui(tmp_path, checkpoint, given)
    errors = {}
    for name, case in given.items():
        for what, answer in ours(checkpoint, case).items():
            expected = (
                theirs[f"{name}/{what}"][:, :, :FRAMES]
                if what == "video"
                else theirs[f"{name}/{what}"]
            )
            assert expected.std() > 0.05
            errors[f"{name} {what}"] = (
                (answer - expected).abs().max() / expected.abs().max()
            ).item()
    print(generation, {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= CLOSE, errors
