"""Files of LTX-2 with all parts, in ComfyUI and here: the same latents, frames, sound and features of a prompt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.families.open import open_model
from tests.helpers.ltx2_parts import SENTENCES, as_bytes, write_gemma_file, write_whole
from tests.nodes.test_ltx2_parity import needs_ltx2

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set"),
    needs_ltx2,
]
SCRIPT = Path(__file__).parents[1] / "comfyui" / "ltx2_parts.py"
CLOSE = 1e-5
GEMMAS = {"2.0": "Gemma 3", "2.3": "Gemma 3", "2.5": "Gemma 4"}


def in_comfyui(
    folder: Path, checkpoint: Path, gemma: Path, given: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    save_file(given, folder / "inputs.safetensors")
    files = (checkpoint, gemma, folder / "inputs.safetensors", folder / "result.safetensors")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, str(SCRIPT), os.environ["COMFYUI_PATH"], *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for line in (done.stdout + done.stderr).splitlines():
        is_small = any(what in line for what in ("multi_modal", "vision", "audio_projector"))
        is_unwritten = "decoder.det_stages" in line  # of 2.5's diffusion decoder
        assert "missing" not in line.lower() or is_small or is_unwritten, line
    return load_file(folder / "result.safetensors")


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    assert ours.shape == theirs.shape
    return bool((ours - theirs).abs().max() <= CLOSE * theirs.abs().max())


@pytest.mark.parametrize("generation", GEMMAS)
def test_every_part_computes_what_comfyuis_does(generation: str, tmp_path: Path) -> None:
    checkpoint = write_whole(tmp_path / "whole.safetensors", generation)
    packed = generation if generation == "2.5" else None
    gemma = write_gemma_file(tmp_path / "gemma.safetensors", GEMMAS[generation], packed)
    torch.manual_seed(8)
    given = {
        "frames": torch.rand(1, 3, 17, 64, 96) * 2 - 1,
        "sound": torch.randn(1, 2, 640 * 20) / 5,
        "prompts": as_bytes(json.dumps(SENTENCES).encode()),
    }
    theirs = in_comfyui(tmp_path, checkpoint, gemma, given)
    model = open_model(str(checkpoint), text_encoder_source=str(gemma))
    vae, audio_vae, text = model.load_vae(), model.load_audio_vae(), model.load_text_encoder()
    assert close(vae.encode(given["frames"]), theirs["video"])
    if generation != "2.5":
        assert close(vae.decode(theirs["video"]), theirs["frames"].clamp(-1, 1))
    # ComfyUI's last latent sees half a window behind the end of the sound; the number is rounded up there.
    audio = audio_vae.encode(given["sound"])
    assert close(audio, theirs["audio"][:, :, : audio.shape[2]])
    assert close(audio_vae.decode(theirs["audio"]), theirs["sound"].clamp(-1, 1))
    for number, prompt in enumerate(SENTENCES):
        assert close(text.features(prompt), theirs[f"text/{number}"]), prompt
