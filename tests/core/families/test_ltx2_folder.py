"""LTX-2 in the diffusers layout: the same model as its file."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.family import Sampling
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltx2.sampling import DISTILLED, sampling_of
from ltxv_train_core.families.names import CONNECTORS, TEXT_ENCODER, TRANSFORMER
from ltxv_train_core.families.open import describe_model, module_names, open_model
from tests.helpers.ltx2 import (
    AUDIO_WIDTH,
    CAPTION,
    GENERATIONS,
    HEADS,
    WIDTH,
    connectors_of,
    transformer_of,
    write_checkpoint,
)


def write_folder(folder: Path, generation: str) -> Path:
    """Transformer and connectors as diffusers saves them."""
    transformer_of(generation).save_pretrained(folder / TRANSFORMER)
    connectors = connectors_of(generation)
    is_first = generation == "2.0"
    widths = (CAPTION, CAPTION) if is_first else (WIDTH, AUDIO_WIDTH)
    whole = LTX2TextConnectors(
        caption_channels=CAPTION,
        text_proj_in_factor=3,
        rope_type="split",
        per_modality_projections=not is_first,
        video_hidden_dim=WIDTH,
        audio_hidden_dim=AUDIO_WIDTH,
        **{
            f"{stream}_{name}": value
            for stream, width in zip(("video", "audio"), widths, strict=True)
            for name, value in (
                ("connector_num_attention_heads", HEADS),
                ("connector_attention_head_dim", width // HEADS),
                ("connector_num_layers", 1),
                ("gated_attn", not is_first),
            )
        },
    )
    whole.load_state_dict({**whole.state_dict(), **connectors.state_dict()})
    whole.save_pretrained(folder / CONNECTORS)
    return folder


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_folder_is_the_model_of_its_file(generation: str, tmp_path: Path) -> None:
    folder = open_model(str(write_folder(tmp_path / "folder", generation)))
    file = open_model(str(write_checkpoint(tmp_path / "x.safetensors", generation)))
    assert folder.family is LTX2
    assert folder.facts.generation == file.facts.generation == f"LTX-{generation}"
    folder.require(TRANSFORMER, CONNECTORS)
    states = [
        each.load_transformer(torch.float32).state_dict()
        | each.part(CONNECTORS).load(torch.float32).state_dict()
        for each in (folder, file)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
    written = []
    for each in (folder, file):
        transformer = each.load_transformer(torch.bfloat16)
        written.append(
            each.transformer.denoiser(transformer).as_checkpoint(transformer.state_dict())
        )
    (ours, said), (theirs, told) = written
    assert ours.keys() == theirs.keys()
    described = [json.loads(each["config"])["transformer"] for each in (said, told)]
    for each in described if generation == "2.0" else ():
        del each["use_prompt_adaln_single"]  # of which it has none
    assert described[0] == described[1]


def test_what_is_known_of_a_folder_and_what_is_missing(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "folder", "2.3")
    model = open_model(str(path))
    assert describe_model(str(path)).config["num_layers"] == 2
    assert "transformer_blocks.1.audio_attn1.to_q" in module_names(str(path))[0]
    assert model.part(TEXT_ENCODER).content == model.part(CONNECTORS).content is not None
    with pytest.raises(ModelError, match=r"Gemma 3 12B with the text projection of LTX-2\.3"):
        model.require(TEXT_ENCODER)
    config = path / CONNECTORS / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("LTX2TextConnectors", "Other"))
    with pytest.raises(ModelError, match=r"expected the connectors of an LTX-2 .*, found Other"):
        model.require(CONNECTORS)
    (path / TRANSFORMER / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="diffusion_pytorch_model"):
        model.require(TRANSFORMER)


@pytest.mark.parametrize(
    ("name", "is_distilled"),
    [
        ("ltx-2-19b-distilled.safetensors", True),
        ("ltx-2-19b-distilled-fp8.safetensors", True),
        ("ltx-2.3-22b-distilled-1.1_transformer_only_fp8_scaled.safetensors", True),
        ("LTX-2.3-Distilled-Diffusers", True),
        ("ltx-2-19b-dev.safetensors", False),
        ("ltx-2-19b-distilled-lora-384.safetensors", False),
        ("my-distilled.safetensors", False),
    ],
)
def test_published_distilled_models_are_known_by_their_names(name, is_distilled):
    assert sampling_of(name, {}) == (DISTILLED if is_distilled else None)
    assert (DISTILLED.steps, DISTILLED.guidance_scale) == (8, 1.0)
    assert DISTILLED.levels is not None
    assert DISTILLED.levels[0] == 1.0 > DISTILLED.levels[-1] == 0.421875
    stated = sampling_of(name, {"allowed_inference_steps": [1.0, 0.5]})
    assert stated == Sampling(2, 1.0, (1.0, 0.5))


def test_a_distilled_file_or_folder_is_sampled_in_its_own_steps(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "ltx-2.3-22b-distilled.safetensors", "2.3")
    folder = write_folder(tmp_path / "LTX-2-distilled", "2.0")
    dev = write_checkpoint(tmp_path / "ltx-2-19b-dev.safetensors", "2.0")
    found = [open_model(str(place)).sampling for place in (file, folder, dev)]
    assert found == [DISTILLED, DISTILLED, None]
