"""What each file of each generation is said to be: small files with the names that ComfyUI reads."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltx2.description import as_metadata
from ltxv_train_core.families.open import describe_model
from ltxv_train_core.storage.safetensors_header import read_header
from ltxv_train_core.storage.tensors import write_safetensors
from tests.helpers import ltx2_parts as parts
from tests.helpers.ltx2 import write_checkpoint

GENERATIONS = ("2.0", "2.3", "2.5")
ENCODES = {
    "vae": "video VAE",
    "audio": "audio VAE, vocoder",
    "projection": "text projection",
    "gemma": "Gemma text encoder",
}
SCALED = "attn1.to_q.weight"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("forms")

    @cache
    def written(form: str, generation: str) -> Path:
        path = root / f"{form}-{generation}.safetensors"
        if form == "whole":
            return parts.write_whole(path, generation)
        if form == "split":
            return write_checkpoint(path, generation)
        if form == "folder":
            return parts.write_diffusers_folder(root / generation, generation)
        if form == "gguf":
            path = path.with_suffix(".gguf")
            path.write_bytes(b"GGUF\x03\0\0\0" + bytes(100))
            return path
        if form == "gemma":
            is_packed = generation == "2.5"
            kind = "Gemma 4" if is_packed else "Gemma 3"
            return parts.write_gemma_file(path, kind, generation if is_packed else None)
        if form in ("fp8", "scaled", "nvfp4"):
            return _stored_as(form, written("split", generation), path)
        tensors, told = {
            "vae": (lambda: parts.video_vae_tensors(generation, ""), ("vae",)),
            "audio": (lambda: parts.audio_tensors(generation), ("audio_vae", "vocoder")),
            "projection": (lambda: parts.projection_tensors(generation), ()),
        }[form]
        config = read_header(written("whole", generation)).config
        write_safetensors(path, tensors(), as_metadata({name: config[name] for name in told}))
        return path

    return written


def _stored_as(form: str, source: Path, path: Path) -> Path:
    tensors = load_file(source)
    for name in [name for name in tensors if name.endswith(SCALED)]:
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
        if form != "fp8":
            end = "_scale" if form == "scaled" else "_scale_2"
            tensors[f"{name}{end}"] = torch.ones(())
    write_safetensors(path, tensors, read_header(source).metadata)
    return path


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    ("form", "others"),
    [
        ("whole", {"audio_vae", "connectors", "vae"}),
        ("split", {"connectors"}),
        ("fp8", {"connectors"}),
        ("scaled", {"connectors"}),
    ],
)
def test_a_transformer_is_known_with_its_generation_and_parts(
    files: Any, form: str, others: set[str], generation: str
) -> None:
    path = files(form, generation)
    facts = inspect_file(path)
    assert facts["versions"] == [f"LTX-{generation}"]
    assert set(facts["parts"]) == others | {"transformer"}
    model = describe_model(str(path))
    assert model.family.name == "LTX-2"
    assert model.is_fp8 == (form in ("fp8", "scaled"))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_folder_of_diffusers_is_known(files: Any, generation: str) -> None:
    assert describe_model(str(files("folder", generation))).family.name == "LTX-2"


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("form", ENCODES)
def test_a_part_alone_is_named_and_is_no_base_model(files: Any, form: str, generation: str) -> None:
    path = files(form, generation)
    found = ENCODES[form]
    if (form, generation) == ("gemma", "2.5"):
        found = "Gemma text encoder, text projection"
    kind = f"a file of LTX-2 without a transformer: {found}"
    assert inspect_file(path)["kind"] == kind
    with pytest.raises(ModelError, match=f"expected checkpoint or transformer, found {kind}$"):
        describe_model(str(path))


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    ("form", "told"),
    [("nvfp4", r"quantized \(nvfp4\), which is not read"), ("gguf", "a GGUF file")],
)
def test_what_is_not_read_is_refused_by_name(
    files: Any, form: str, told: str, generation: str
) -> None:
    with pytest.raises(ModelError, match=told):
        describe_model(str(files(form, generation)))
