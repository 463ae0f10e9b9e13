"""fp8 weights that are stored rotated are told from plain ones, and never the other way round."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.open import open_model
from ltxv_train_core.formats.rotated import is_rotated
from ltxv_train_core.lora.checkpoint_weights import open_checkpoint
from ltxv_train_core.storage.safetensors_header import read_header

PREFIX = "model.diffusion_model."
LAYERS = [f"transformer_blocks.{n}.attn1.to_{x}" for n in range(4) for x in "qkv"]
FORMATS = (torch.float8_e4m3fn, torch.float8_e5m2)


def rotated(weight: torch.Tensor, block: int) -> torch.Tensor:
    """Each `block` inputs [r, i] turned by the orthogonal Walsh-Hadamard matrix."""
    matrix, two = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1.0, 1], [1, -1]])
    while len(matrix) < block:
        matrix = torch.kron(matrix, two.double()) / 2**0.5
    return (weight.double().unflatten(1, (-1, block)) @ matrix).flatten(1).float()


def draw(kind: str, rows: int, inputs: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(rows, inputs, generator=generator)
    if kind == "normal":
        return normal
    if kind == "uniform":
        return torch.rand(rows, inputs, generator=generator) * 2 - 1
    if kind == "laplace":  # fourth moment 6
        return normal.sign() * -torch.rand(rows, inputs, generator=generator).clamp_min(1e-6).log()
    if kind == "channels":  # some inputs matter more: fourth moment about 3.9
        return normal * (0.4 * torch.randn(1, inputs, generator=generator)).exp()
    assert kind == "mean"
    return normal + 0.3


def file_of(path, kind, inputs=512, block=None, dtype=FORMATS[0]):
    tensors = {}
    for seed, name in enumerate(LAYERS):
        weight = draw(kind, 96, inputs, seed)
        weight = rotated(weight, block) if block else weight
        tensors[f"{PREFIX}{name}.weight"] = (weight * 0.02 * 448).to(dtype)
    save_file(tensors, path)
    return read_header(path)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("kind", ["laplace", "channels"])
@pytest.mark.parametrize(("inputs", "block"), [(512, 16), (512, 128), (512, 512), (768, 256)])
def test_rotated_weights_are_found(tmp_path, kind, inputs, block, dtype):
    path = tmp_path / "x.safetensors"
    assert is_rotated(file_of(path, kind, inputs, block, dtype))
    assert not is_rotated(file_of(path, kind, inputs, None, dtype))


@pytest.mark.parametrize("kind", ["normal", "uniform", "mean"])
@pytest.mark.parametrize("inputs", [64, 512, 4096])
def test_where_nothing_can_be_told_nothing_is_said(tmp_path, kind, inputs):
    assert not is_rotated(file_of(tmp_path / "x.safetensors", kind, inputs))


@pytest.mark.parametrize("form", ["zeros", "bf16"])
def test_other_weights_are_none(tmp_path, form):
    dtype = torch.bfloat16 if form == "bf16" else FORMATS[0]
    weight = rotated(draw("laplace", 96, 512, 0), 512) if form == "bf16" else torch.zeros(96, 512)
    path = tmp_path / "x.safetensors"
    save_file({f"{PREFIX}{name}.weight": weight.to(dtype) for name in LAYERS}, path)
    assert not is_rotated(read_header(path))


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    path = export(tmp_path_factory.mktemp("miniature") / "x.safetensors")
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118


def written(miniature, path, change):
    tensors, metadata = miniature
    changed = {
        name: change(name, tensor).to(FORMATS[0])
        if ".transformer_blocks." in name and name.endswith(".weight") and tensor.ndim == 2
        else tensor
        for name, tensor in tensors.items()
    }
    save_file(changed, path, metadata)
    return path


@pytest.mark.parametrize("scaled", [False, True])
def test_the_miniature_in_fp8_is_plain(miniature, tmp_path, scaled):
    path = written(
        miniature, tmp_path / "x.safetensors", lambda _, t: t * 448 / t.abs().max() if scaled else t
    )
    assert not is_rotated(read_header(path))
    open_model(str(path)).require("transformer")


def test_a_rotated_model_is_refused_by_name(miniature, tmp_path):
    def turned(name, tensor):
        heavy = draw("laplace", *tensor.shape, seed=len(name)) * 0.05
        return rotated(heavy, tensor.shape[1])

    path = written(miniature, tmp_path / "x.safetensors", turned)
    model = open_model(str(path))
    for attempt in (
        model.transformer.require,
        lambda: model.load_transformer(torch.float32),
        lambda: open_checkpoint(path).__enter__(),
    ):
        with pytest.raises(ModelError, match=r"look rotated.*Use the bf16 file, or one in fp8"):
            attempt()
    assert "q8 kernels" in inspect_file(path)["rotated"]
