"""The tools for LoRA files on those of LTX-2, of every generation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_ltx2_lora_to_diffusers
from safetensors.torch import load_file

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.extract import extract_lora
from ltxv_train_core.lora.file import lora_tensors, read_lora, write_lora_file
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.lora.lora import LoRA
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.storage.safetensors_header import read_header
from ltxv_train_core.storage.tensors import write_safetensors
from tests.helpers.ltx2 import GENERATIONS, transformer_of, write_checkpoint

TARGETS = ("to_q", "to_out.0", "net.2", "proj_in", "audio_proj_in", "audio_time_embed.*")
OF_LATER = (*TARGETS, "to_gate_logits", "prompt_adaln.linear")


def targets_of(generation: str) -> tuple[str, ...]:
    return TARGETS if generation == "2.0" else OF_LATER


def write_lora_of(path: Path, transformer: Any, targets: tuple[str, ...]) -> dict[str, Any]:
    add_lora(transformer, LoRAConfig(rank=4, alpha=8, target_modules=targets), 0)
    torch.manual_seed(4)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tensors = lora_tensors(transformer)
    write_lora_file(path, tensors, 4, 8, {}, torch.float32)
    return tensors


@pytest.fixture(scope="module", params=GENERATIONS)
def files(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and a LoRA for it."""
    folder, generation = tmp_path_factory.mktemp("files"), request.param
    checkpoint = write_checkpoint(folder / f"base-{generation}.safetensors", generation)
    lora = folder / "lora.safetensors"
    write_lora_of(lora, transformer_of(generation), targets_of(generation))
    return checkpoint, lora


def changes(lora: LoRA) -> dict[str, torch.Tensor]:
    return {name: layer.change() for name, layer in lora.items()}


def assert_same(found: LoRA, wanted: LoRA) -> None:
    assert found.keys() == wanted.keys()
    for name, change in changes(wanted).items():
        torch.testing.assert_close(found[name].change(), change, rtol=1e-5, atol=1e-6)


def test_every_form_comes_back_and_diffusers_finds_its_layers(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    _, lora = files
    wanted = read_lora(lora).lora
    for form in ("comfy", "kohya", "diffusers"):
        done = convert_lora(lora, form, tmp_path / f"{form}.safetensors")
        assert done.notes == ()
        assert_same(read_lora(done.output).lora, wanted)
    theirs = _convert_non_diffusers_ltx2_lora_to_diffusers(
        load_file(tmp_path / "comfy.safetensors")
    )
    assert theirs.keys() == load_file(tmp_path / "diffusers.safetensors").keys()


def test_a_merged_checkpoint_is_the_model_with_the_lora(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """What else is in the file, the connectors too, stays as it is."""
    checkpoint, lora = files
    done = merge_lora(checkpoint, lora, tmp_path / "merged.safetensors", 0.5)
    wanted = changes(read_lora(lora).lora)
    before = open_model(str(checkpoint)).load_transformer(torch.float32).state_dict()
    after = open_model(str(done.output)).load_transformer(torch.float32).state_dict()
    for name, tensor in before.items():
        layer = name.removesuffix(".weight")
        expected = tensor + 0.5 * wanted[layer] if layer in wanted else tensor
        torch.testing.assert_close(after[name], expected)
    own, merged = load_file(checkpoint), load_file(done.output)
    for name, tensor in own.items():
        if "connector" in name:
            assert torch.equal(merged[name], tensor)
    assert read_header(done.output).metadata["config"] == read_header(checkpoint).metadata["config"]


def test_an_extracted_lora_is_the_difference(files: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, lora = files
    tuned = merge_lora(checkpoint, lora, tmp_path / "tuned.safetensors").output
    done = extract_lora(checkpoint, tuned, tmp_path / "extracted.safetensors", rank=4)
    assert done.error < 1e-4
    assert done.notes == ()
    found, wanted = read_lora(done.output), read_lora(lora).lora
    assert found.metadata["modelspec.architecture"] == "ltx-2/lora"
    assert found.lora.keys() == wanted.keys()
    for name, change in changes(wanted).items():
        torch.testing.assert_close(found.lora[name].change(), change, rtol=1e-3, atol=1e-4)


def test_a_smaller_rank_and_what_inspect_says(files: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, lora = files
    done = resize_lora(lora, tmp_path / "small.safetensors", rank=2)
    assert {layer.rank for layer in read_lora(done.output).lora.values()} == {2}
    assert 0.1 < done.error < 0.9
    facts = inspect_file(done.output)
    assert (facts["model"], facts["rank"], facts["form"]) == ("LTX-2", 2, "ComfyUI")
    generation = checkpoint.stem.removeprefix("base-")
    assert inspect_file(checkpoint)["versions"] == [f"LTX-{generation}"]


def test_files_of_two_families_are_refused_by_name(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoint, lora = files
    state = {name: tensor.contiguous() for name, tensor in load_transformer().state_dict().items()}
    ltxv = tmp_path / "ltxv.safetensors"
    write_safetensors(ltxv, state, {})
    with pytest.raises(ModelError, match=r"layers are not in ltxv\.safetensors"):
        merge_lora(ltxv, lora, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"is no model of the size of ltxv\.safetensors"):
        extract_lora(ltxv, checkpoint, tmp_path / "b.safetensors", rank=4)
    of_ltxv = tmp_path / "of_ltxv.safetensors"
    write_lora_of(of_ltxv, load_transformer(), ("to_q",))
    with pytest.raises(ModelError, match="merge it into the model it was trained for"):
        merge_lora(checkpoint, of_ltxv, tmp_path / "c.safetensors")
    assert not list(tmp_path.glob("[abc].safetensors"))
