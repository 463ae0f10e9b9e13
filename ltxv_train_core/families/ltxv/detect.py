"""What a model file holds, found from names, shapes and metadata, never from its own name."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import ModelError, cut, shown
from ...formats.lora_kinds import adapter_kind
from ...formats.quantized import quantization
from ...formats.tensors import MOST_LAYERS, require_sizes
from ...storage.safetensors_header import Header, TensorInfo, read_header
from ..names import TRANSFORMER_PREFIX
from ..parts_with_sound import parts_with_sound
from .checkpoint_export import CAUSAL_POSITIONS
from .key_names import VAE_PREFIX
from .layers import LAYERS
from .vae_blocks import diffusers_vae_config
from .versions import TRANSFORMER_2B, TRANSFORMER_13B, VAE_090, VAE_091, VAE_095, VERSIONS

CHECKPOINT, TRANSFORMER, VAE = "checkpoint", "transformer", "VAE"
TEXT_ENCODER, LORA, UPSCALER = "text encoder", "LoRA", "latent upscaler"

_TEXT_ENCODER_PREFIXES = ("text_encoders.t5xxl.transformer.", "t5xxl.transformer.")
# What begins so belongs to another part than one whose names have no prefix.
PREFIXES = (TRANSFORMER_PREFIX, VAE_PREFIX, *_TEXT_ENCODER_PREFIXES)
_TRANSFORMER_PREFIXES = (TRANSFORMER_PREFIX, "diffusion_model.", "model.", "")
_TRANSFORMER_SIGN = "transformer_blocks.0.attn2.to_k.weight"
_VAE_SIGN = "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight"
_T5_SIGN = "encoder.block.0.layer.0.SelfAttention.q.weight"
_LORA_END = re.compile(r"\.(lora_(A|B|down|up)(\.\w+)?\.weight|alpha)$")
Padding = Literal["zeros", "reflect", "replicate", "circular"]
_PADDINGS = (None, *get_args(Padding))
_VAE_VERSIONS = {"0.9.0": VAE_090, "0.9.1": VAE_091, "0.9.5 and later": VAE_095}


@dataclass(frozen=True)
class TransformerInFile:
    """A transformer in a file.

    Attributes:
        prefix: of its tensors' names.
        config: diffusers' configuration.
        causal_positions: what ComfyUI's sampler does with the file.
    """

    prefix: str
    config: dict[str, Any]
    causal_positions: bool

    @property
    def size(self) -> str:
        sizes = {"2B": TRANSFORMER_2B, "13B": TRANSFORMER_13B}
        return next((name for name, config in sizes.items() if config == self.config), "other")


@dataclass(frozen=True)
class VaeInFile:
    """A VAE in a file.

    Attributes:
        padding: how its encoder's and its decoder's convolutions are padded, as ComfyUI does it.
    """

    prefix: str
    config: dict[str, Any]
    padding: tuple[Padding, Padding]

    @property
    def layout(self) -> str:
        found = (name for name, vae in _VAE_VERSIONS.items() if self.config == vae)
        return next(found, "other")


@dataclass(frozen=True)
class Contents:
    """A file and what was found in it.

    Attributes:
        quantization: how its weights are stored, where that is a way that is not read.
    """

    header: Header
    kind: str
    quantization: str | None = None
    transformer: TransformerInFile | None = None
    vae: VaeInFile | None = None
    text_encoder_prefix: str | None = None

    @property
    def dtypes(self) -> dict[str, int]:
        """Number formats and how many values have each, the most frequent first."""
        counts: Counter[str] = Counter()
        for tensor in self.header.tensors.values():
            counts[tensor.dtype] += tensor.elements
        return dict(counts.most_common())

    @property
    def versions(self) -> list[str]:
        """The public versions that have these sizes, and these positions where both are there."""
        if self.transformer is None:
            return []
        return [
            name
            for name, version in VERSIONS.items()
            if self.transformer.config == version.transformer
            and (self.vae is None or self.vae.config == version.vae)
        ]

    def __str__(self) -> str:
        described = {
            CHECKPOINT: "an LTX-Video checkpoint (transformer and VAE)",
            TRANSFORMER: "an LTX-Video transformer without VAE",
            VAE: "an LTX-Video VAE",
            TEXT_ENCODER: "a T5 text encoder",
            LORA: "a LoRA",
            UPSCALER: "an LTX-Video latent upscaler",
        }
        return described.get(self.kind, self.kind)


def read_contents(path: Path) -> Contents:
    """Looks at the head of a file.

    Raises:
        ModelError: if it is no safetensors file, or a damaged one.
    """
    header = read_header(path)
    if other := _other(header):
        return Contents(header, other)
    if how := quantization(header):
        return Contents(header, f"a model that is quantized ({how}), which is not read", how)
    transformer, vae = _transformer(header), vae_in_file(header)
    text_encoder = _text_encoder(header)
    if transformer is not None:
        kind = TRANSFORMER if vae is None else CHECKPOINT
    elif vae is not None:
        kind = VAE
    elif text_encoder is not None:
        kind = TEXT_ENCODER
    else:
        shown = ", ".join(map(cut, list(header.tensors)[:3])) or "none"
        kind = f"something unknown ({len(header.tensors)} tensors: {shown}, ...)"
    return Contents(header, kind, None, transformer, vae, text_encoder)


def _other(header: Header) -> str | None:
    """What is no part of a model to train on."""
    names = header.tensors
    if any(name.endswith("audio_adaln_single.linear.weight") for name in names):
        return "an LTX-2 checkpoint (video and audio), which is another model"
    if parts := parts_with_sound(header):
        return f"a file {parts}"
    if any(_LORA_END.search(name) for name in names) or adapter_kind(names):
        return LORA
    if {"initial_conv.weight", "final_conv.weight"} <= names.keys():
        return UPSCALER
    return None


def _transformer(header: Header) -> TransformerInFile | None:
    for prefix in _TRANSFORMER_PREFIXES:
        part = {LAYERS.diffusers_name(name): info for name, info in header.below(prefix).items()}
        signs = [part.get(name) for name in (_TRANSFORMER_SIGN, "proj_in.weight")]
        if all(sign is not None and len(sign.shape) == 2 for sign in signs):
            with _description_of(header, "transformer"):
                described = header.config.get("transformer", {})
                causal = bool(described.get(CAUSAL_POSITIONS, False))
                return TransformerInFile(prefix, _sizes(part, described), causal)
    return None


@contextmanager
def _description_of(header: Header, part: str) -> Iterator[None]:
    """Raises `ModelError` with the file's name where its metadata say what no part can be."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = cut(str(error) if isinstance(error, ModelError) else repr(error), 200)
        raise ModelError(
            f"{header.path}: what its metadata `config` say of the {part} can't be used ({reason})"
        ) from error


def _sizes(part: Mapping[str, TensorInfo], described: dict[str, Any]) -> dict[str, Any]:
    """Diffusers' configuration, from shapes; only the number of heads doesn't show in them."""
    width, channels = part["proj_in.weight"].shape
    heads = described.get("num_attention_heads", TRANSFORMER_2B["num_attention_heads"])
    caption = part.get("caption_projection.linear_1.weight")
    out = part.get("proj_out.weight")
    blocks = {name.split(".")[1] for name in part if name.startswith("transformer_blocks.")}
    require_sizes(width, channels, heads, *part[_TRANSFORMER_SIGN].shape)
    require_sizes(len(blocks), largest=MOST_LAYERS)
    return {
        "in_channels": channels,
        "out_channels": out.shape[0] if out else channels,
        "num_layers": len(blocks),
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "cross_attention_dim": part[_TRANSFORMER_SIGN].shape[1],
        "caption_channels": caption.shape[1] if caption else 0,
    }


def vae_in_file(header: Header) -> VaeInFile | None:
    """The VAE in a file; None where it has none. Raises `ModelError` for a description that can't be used."""
    for prefix in (VAE_PREFIX, ""):
        part = header.below(prefix)
        if _VAE_SIGN not in part:
            continue
        described = header.config.get("vae")
        if described:
            with _description_of(header, "vae"):
                padding = described.get("spatial_padding_mode")
                if padding not in _PADDINGS:
                    raise ModelError(f"spatial_padding_mode {shown(padding)} is not known")
                config = diffusers_vae_config(described)
                _require_vae_sizes(config)
        else:
            padding, config = None, _public_vae(part)
        return VaeInFile(prefix, config, (padding or "zeros", padding or "reflect"))
    return None


def _require_vae_sizes(config: Mapping[str, Any]) -> None:
    names = ("latent_channels", "in_channels", "out_channels", "patch_size", "patch_size_t")
    widths = (*config["block_out_channels"], *config["decoder_block_out_channels"])
    require_sizes(*(config[name] for name in names), *widths)
    layers = (*config["layers_per_block"], *config["decoder_layers_per_block"])
    require_sizes(len(layers), *(count + 1 for count in layers), largest=MOST_LAYERS)


def _public_vae(part: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """The public VAE that a file without description holds, by what only it has."""
    if "encoder.down_blocks.1.conv.conv.bias" in part:
        return VAE_095
    return VAE_091 if "decoder.last_scale_shift_table" in part else VAE_090


def _text_encoder(header: Header) -> str | None:
    prefixes = (*_TEXT_ENCODER_PREFIXES, "")
    return next((p for p in prefixes if p + _T5_SIGN in header.tensors), None)


def require_kind(contents: Contents, option: str, *kinds: str) -> None:
    """Raises `ModelError` when a file is of none of the kinds that an option takes."""
    if contents.quantization:
        raise ModelError(
            f"{option} {str(contents.header.path)!r}: is quantized ({contents.quantization}), which "
            "is not read; use the file in bf16 or fp16, or in fp8 as ComfyUI scales it"
        )
    if contents.kind not in kinds:
        raise ModelError(
            f"{option} {str(contents.header.path)!r}: expected {' or '.join(kinds)}, "
            f"found {contents}"
        )
