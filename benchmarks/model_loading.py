"""How much host memory loading a base model takes, and how long.

    python benchmarks/model_loading.py [--size 2B|13B] [--stored bf16|fp8] [--dtype bf16|fp16|fp32]

Writes a file with the names, shapes and metadata of a public checkpoint, without disk space
(Linux, macOS), loads its transformer as a run does, and prints the peak of this process's memory
over the transformer's own size.
"""

import argparse
import json
import os
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch
from diffusers import LTXVideoTransformer3DModel

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.families.ltxv.checkpoint_export import config_metadata, transformer_tensors  # noqa: E402
from ltxv_train_core.families.ltxv.versions import TRANSFORMER_2B, TRANSFORMER_13B  # noqa: E402
from ltxv_train_core.families.open import open_model  # noqa: E402

SIZES = {"2B": TRANSFORMER_2B, "13B": TRANSFORMER_13B}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def write_empty(path: Path, config: dict, stored: str) -> None:
    """A checkpoint whose weights are a hole in the file."""
    with torch.device("meta"):
        state = LTXVideoTransformer3DModel(**config).state_dict()
    head: dict = {"__metadata__": config_metadata(config, True)}
    end = 0
    for name, tensor in transformer_tensors(state).items():
        fp8 = stored == "fp8" and ".transformer_blocks." in name and tensor.ndim == 2
        fp8 = fp8 and name.endswith(".weight")
        size = tensor.numel() * (1 if fp8 else 2)
        head[name] = {
            "dtype": "F8_E4M3" if fp8 else "BF16",
            "shape": list(tensor.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="2B")
    parser.add_argument("--stored", choices=("bf16", "fp8"), default="bf16")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        write_empty(path, SIZES[args.size], args.stored)
        source = open_model(str(path))
        source.require("transformer")
        before = psutil.Process().memory_info().rss
        started = time.perf_counter()
        transformer = source.load_transformer(DTYPES[args.dtype])
        tensors = [*transformer.parameters(), *transformer.buffers()]
        for tensor in tensors:
            tensor.data.view(torch.uint8)[..., ::4096].sum()  # every page is touched
        seconds = time.perf_counter() - started
        size = sum(tensor.nbytes for tensor in tensors)
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
        print(
            f"{args.size} stored as {args.stored}, loaded as {args.dtype}: transformer "
            f"{size / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB ({peak / size:.2f}x), {seconds:.1f} s"
        )
    os._exit(0)


if __name__ == "__main__":
    main()
