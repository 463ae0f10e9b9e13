"""Names of options, inputs and outputs in words."""

_WORDS = {
    "8bit": "8 bits",
    "ckpt": "checkpoint",
    "clip": "CLIP",
    "dataloader": "data loader",
    "dims": "dimensions",
    "dir": "folder",
    "dtype": "data type",
    "ema": "EMA",
    "fps": "frames per second",
    "grad": "gradient",
    "hdr": "HDR",
    "id": "ID",
    "inductor": "Inductor",
    "json": "JSON",
    "llm": "LLM",
    "lora": "LoRA",
    "max": "maximum",
    "min": "minimum",
    "n": "N",
    "num": "number of",
    "p": "probability",
    "params": "parameters",
    "px": "(px)",
    "tensorboard": "TensorBoard",
    "vae": "VAE",
    "wandb": "Weights & Biases",
}
_LABELS = {"id_token": "Trigger word (ID token)"}


def label(name: str) -> str:
    """A name in words: "max_grad_norm" is "Maximum gradient norm"."""
    words = " ".join(_WORDS.get(word, word) for word in name.split("_"))
    return _LABELS.get(name, words[:1].upper() + words[1:])
