"""What a file is that is no safetensors file, by its first bytes, and what to use instead."""

_SAFETENSORS = "use the .safetensors file: of a model in bf16, or in fp8 as ComfyUI scales it"
_AGAIN = "download the file itself again"
_PICKLED = "a PyTorch file (.pt, .pth, .bin, .ckpt)"
_SIGNS = (
    (b"gguf", "a GGUF file, quantized to sample with", _SAFETENSORS),
    (b"pk\x03\x04", f"{_PICKLED} or another archive", _SAFETENSORS),
    *((b"\x80" + bytes([protocol]), _PICKLED, _SAFETENSORS) for protocol in range(2, 6)),
    (b"version https://git-lfs", "the pointer of a file in Git LFS", f"{_AGAIN} (git lfs pull)"),
    (b"<!doctype html", "a web page", _AGAIN),
    (b"<html", "a web page", _AGAIN),
    (b"\x89hdf", "an HDF5 file", _SAFETENSORS),
)
LONGEST_SIGN = max(len(sign) for sign, _, _ in _SIGNS)


def foreign_file(start: bytes) -> str | None:
    """What a file with these first bytes is, and what helps; None where nothing is known of it."""
    low = start.lower()
    return next((f"{what}; {helps}" for sign, what, helps in _SIGNS if low.startswith(sign)), None)
