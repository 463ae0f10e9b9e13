"""A T5 encoder from a single file, as ComfyUI keeps it: T5-XXL in fp16 or in fp8, with scales or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ...formats.tensors import MOST_LAYERS, require_sizes
from ...models.sources.tensor_match import require_match
from ...storage.safetensors_header import content_of
from .detect import PREFIXES, TEXT_ENCODER, Contents, read_contents, require_kind
from .tokenizer import find_t5_tokenizer, load_tokenizer, require_t5_tokenizer

if TYPE_CHECKING:
    import torch

    from .text_encoder import T5TextEncoder


_FIRST = "encoder.block.0.layer.0.SelfAttention."
_NOT_READ = ("encoder.embed_tokens.weight", "spiece_model", "logit_scale")


class T5File:
    """The text encoder in a file.

    Attributes:
        width: of its embeddings.
    """

    def __init__(self, contents: Contents):
        """Raises `ModelError` when the encoder isn't a T5 that can be built."""
        assert contents.text_encoder_prefix is not None
        self.header = contents.header
        self.prefix = contents.text_encoder_prefix
        self.config = _config(contents)
        self.width: int = self.config["d_model"]

    @classmethod
    def open(cls, path: Path) -> T5File:
        """Raises `ModelError` when the file is something else."""
        contents = read_contents(path)
        require_kind(contents, "text_encoder_source", TEXT_ENCODER)
        return cls(contents)

    @property
    def identity(self) -> str:
        return self.header.identity()

    @property
    def content(self) -> str:
        return content_of(self.header.samples(self.prefix))

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing, or there is no tokenizer."""
        module = self._built()
        require_match(
            self.header, self.prefix, self._names(module), module, self._besides(), PREFIXES
        )
        require_t5_tokenizer(self.header.path)

    def load(self, dtype: torch.dtype) -> T5TextEncoder:
        """What is stored in fp8 stays so, but for the layers with T5's widest activations."""
        from ...models.sources.meta_loading import fill
        from .text_encoder import WIDEST_LAYER, T5TextEncoder

        tokenizer = load_tokenizer(find_t5_tokenizer(self.header.path))
        module = self._built()
        names = self._names(module)
        require_match(self.header, self.prefix, names, module, self._besides(), PREFIXES)
        whole = f".{WIDEST_LAYER}.weight"
        fill(module, self.header, names, dtype, fp8=lambda name: not name.endswith(whole))
        module.tie_weights()
        return T5TextEncoder(module, tokenizer)

    def _built(self) -> Any:
        """The module without weights."""
        from transformers import T5Config, T5EncoderModel

        from ...models.sources.meta_loading import on_meta

        return on_meta(lambda: T5EncoderModel(T5Config(**self.config)))

    def _names(self, module: Any) -> dict[str, str]:
        names = {name: self.prefix + name for name in module.state_dict()}
        names["encoder.embed_tokens.weight"] = names["shared.weight"]
        return names

    def _besides(self) -> set[str]:
        return {self.prefix + name for name in _NOT_READ}


def _config(contents: Contents) -> dict[str, Any]:
    """From shapes alone."""
    part = contents.header.below(contents.text_encoder_prefix or "")
    path = contents.header.path
    try:
        vocabulary, width = part["shared.weight"].shape
        buckets, heads = part[f"{_FIRST}relative_attention_bias.weight"].shape
        inner = part[f"{_FIRST}q.weight"].shape[0]
        gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
        hidden = part[gated if gated in part else gated.replace("wi_0", "wi")].shape[0]
    except KeyError as error:
        raise ModelError(f"{path}: is no complete T5 encoder, it has no {error}") from error
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path}: is no T5 encoder: its tensors have other dimensions") from error
    if "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in part:
        raise ModelError(f"{path}: expected T5-XXL, found UMT5, another text encoder")
    layers = {name.split(".")[2] for name in part if name.startswith("encoder.block.")}
    try:
        require_sizes(vocabulary, width, buckets, heads, inner, hidden)
        require_sizes(len(layers), largest=MOST_LAYERS)
    except ModelError as error:
        raise ModelError(f"{path}: is no T5 encoder ({error})") from error
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": inner // heads,
        "d_ff": hidden,
        "num_layers": len(layers),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated in part else "relu",
        "dropout_rate": 0.0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
