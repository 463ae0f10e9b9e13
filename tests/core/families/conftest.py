"""Files with the miniature in them, in every form that users have LTX-Video in."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.miniature.comfy_file import export


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """The miniature as ComfyUI's single file: transformer, VAE and metadata."""
    return export(tmp_path_factory.mktemp("checkpoint") / "any_name.safetensors")


@pytest.fixture(scope="session")
def contents(checkpoint):
    """Its tensors and its metadata."""
    with safe_open(checkpoint, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def write(tmp_path):
    """Writes tensors as a file, with `config` as its metadata or `raw` metadata."""

    def write_file(tensors, config=None, name="model.safetensors", raw=None):
        metadata = raw if config is None else {"config": json.dumps(config)}
        path = tmp_path / name
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
        return path

    return write_file


@pytest.fixture(scope="session")
def t5_file(tmp_path_factory):
    """The miniature's text encoder as ComfyUI keeps T5, with its tokenizer beside it."""
    folder = tmp_path_factory.mktemp("text_encoders")
    state = weights.load_text_encoder().state_dict()
    state.pop("encoder.embed_tokens.weight")
    path = folder / "t5.safetensors"
    save_file({k: v.to(torch.float16).contiguous() for k, v in state.items()}, path)
    weights.load_tokenizer().save_pretrained(folder)
    return path


@pytest.fixture
def sparse_file(tmp_path):
    """Writes a file with the names and shapes of tensors on the meta device, and no disk space."""
    sizes = {"F8_E4M3": 1, "F16": 2, "BF16": 2}

    def write_file(tensors, dtype, metadata=None):
        head, end = {"__metadata__": metadata} if metadata else {}, 0
        for name, tensor in tensors.items():
            size = tensor.numel() * sizes[dtype]
            offsets = [end, end + size]
            head[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
            end += size
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        path = tmp_path / "sparse.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
        return path

    return write_file
