"""What a file of LTX-2.x holds, found from names, shapes and metadata, never from its own name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ModelError, cut
from ...formats.quantized import quantization
from ...formats.tensors import MOST_LAYERS, require_sizes
from ...storage.safetensors_header import Header, TensorInfo
from ..names import AUDIO_VAE, CONNECTORS, TRANSFORMER, TRANSFORMER_PREFIX, VAE
from .description import diffusers_config, generation
from .layers import CONNECTOR_PREFIXES, LAYERS

AUDIO_SIGN = "audio_adaln_single.linear.weight"

_TRANSFORMER_PREFIXES = (TRANSFORMER_PREFIX, "diffusion_model.", "model.", "")
_VAE_PREFIX, _AUDIO_VAE_PREFIX, _VOCODER_PREFIX = "vae.", "audio_vae.", "vocoder."
PREFIXES = (
    *(TRANSFORMER_PREFIX, _VAE_PREFIX, _AUDIO_VAE_PREFIX, _VOCODER_PREFIX),
    *("text_encoders.", "text_embedding_projection."),
)


@dataclass(frozen=True)
class Contents:
    """A file of LTX-2.x and what was found in it.

    Attributes:
        parts: the names of a model's parts that are there.
        prefix: of the transformer's tensors.
        config: diffusers' configuration of the transformer.
        connectors: options of both connectors, by their names in diffusers; none where there are none.
        quantization: how its weights are stored, where that is a way that is not read.
    """

    header: Header
    parts: frozenset[str]
    prefix: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    connectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quantization: str | None = None

    @property
    def generation(self) -> str:
        return generation(self.config)

    def __str__(self) -> str:
        if self.quantization:
            return f"an LTX-2 model that is quantized ({self.quantization}), which is not read"
        others = sorted(self.parts - {TRANSFORMER})
        beside = f" with {', '.join(part.replace('_', ' ') for part in others)}" if others else ""
        return f"an LTX-{self.generation} transformer{beside}"


def transformer_prefix(header: Header) -> str | None:
    """Of the names of an LTX-2.x transformer's tensors; None where the file has none."""
    signs = (AUDIO_SIGN, "transformer_blocks.0.audio_attn1.to_q.weight")
    for prefix in _TRANSFORMER_PREFIXES:
        if all(f"{prefix}{sign}" in header.tensors for sign in signs):
            return prefix
    return None


def read_contents(header: Header) -> Contents | None:
    """Looks at the head of a file; None where it holds no LTX-2.x transformer.

    Raises:
        ModelError: what it says of itself can't be used.
    """
    prefix = transformer_prefix(header)
    if prefix is None:
        return None
    if how := quantization(header):
        return Contents(header, frozenset({TRANSFORMER}), prefix, quantization=how)
    below = header.below(prefix)
    described = header.config.get("transformer", {})
    try:
        part = {LAYERS.diffusers_name(name): info for name, info in below.items()}
        config = diffusers_config(part, described)
        connectors = _connectors(below, described)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = cut(str(error) if isinstance(error, ModelError) else repr(error), 300)
        raise ModelError(f"{header.path}: can't be read as LTX-2: {reason}") from error
    found = {TRANSFORMER}
    if connectors:
        found.add(CONNECTORS)
    for name, sign in (
        (VAE, f"{_VAE_PREFIX}encoder."),
        (AUDIO_VAE, f"{_AUDIO_VAE_PREFIX}encoder."),
    ):
        if any(key.startswith(sign) for key in header.tensors):
            found.add(name)
    return Contents(header, frozenset(found), prefix, config, connectors)


def _connectors(
    below: Mapping[str, TensorInfo], described: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    found = {}
    for prefix in CONNECTOR_PREFIXES:
        stream = prefix.partition("_")[0]
        part = {
            name.removeprefix(prefix): info
            for name, info in below.items()
            if name.startswith(prefix)
        }
        if part:
            found[f"{stream}_connector"] = _connector(part, described, stream)
    return found if len(found) == len(CONNECTOR_PREFIXES) else {}


def _connector(
    part: Mapping[str, TensorInfo], described: Mapping[str, Any], stream: str
) -> dict[str, Any]:
    """Options of a connector; the video's are named without its stream."""
    heads = described.get("connector_num_attention_heads", 30)
    if stream == "audio":
        heads = described.get("audio_connector_num_attention_heads", heads)
    registers, width = part["learnable_registers"].shape
    blocks = {name.split(".")[1] for name in part if name.startswith("transformer_1d_blocks.")}
    require_sizes(heads, registers, width)
    require_sizes(len(blocks), largest=MOST_LAYERS)
    return {
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "num_layers": len(blocks),
        "num_learnable_registers": registers,
        "rope_type": described.get("rope_type", "split"),
        "rope_double_precision": True,
        "gated_attention": "transformer_1d_blocks.0.attn1.to_gate_logits.weight" in part,
    }
