"""The VAE as a list of blocks, as single files describe it, and as diffusers' configuration.

The original counts blocks in one row; diffusers nests them in levels. Both say the same:

    original (in the order of the encoder)      diffusers
    ["res_x", {num_layers}]                     layers_per_block: resnets of a level, or the middle
    ["compress_all", {}]                        spatio_temporal_scaling with downsample_type "conv"
    ["compress_space_res", {multiplier}], ...   downsample_type "spatial", "temporal", ...
    ["res_x_y", {multiplier}]                   a level that ends with other channels (conv_out)
    ["compress_space", {multiplier}], ...       of a decoder: upsample_type "spatial", "temporal"

LTX-2's VAE has the same blocks. A decoder's blocks are written in the order of an encoder and built from the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ModelError, shown

Config = Mapping[str, Any]

BASE_CHANNELS = 128
_DOWN_TYPES = {
    "compress_all": "conv",
    "compress_space_res": "spatial",
    "compress_time_res": "temporal",
    "compress_all_res": "spatiotemporal",
}
_DOWN_KINDS = {ours: kind for kind, ours in _DOWN_TYPES.items()}
_UP_TYPES = {
    "compress_all": "spatiotemporal",
    "compress_space": "spatial",
    "compress_time": "temporal",
}
_RESIZED = ("LTXVideo095DownBlock3D", "LTX2VideoDownBlock3D")
_ENCODER_ORDER = ("res_x", "compress", "res_x_y")
_DECODER_ORDER = ("res_x_y", "compress", "res_x")


@dataclass(frozen=True)
class Block:
    """One block of the original.

    Attributes:
        place: diffusers' name of the module.
        kind: "res_x", "res_x_y" or "compress_*".
        options: what the original's configuration says of it.
    """

    place: str
    kind: str
    options: dict[str, Any]

    @property
    def entry(self) -> list[Any]:
        return [self.kind, self.options]


def encoder_blocks(config: Config) -> Iterator[Block]:
    """The blocks of an encoder with diffusers' configuration, in their order."""
    *layers, middle = config["layers_per_block"]
    channels = config["block_out_channels"]
    resized = config["down_block_types"][-1] in _RESIZED
    for level, count in enumerate(layers):
        place = f"encoder.down_blocks.{level}"
        multiplier = channels[min(level + 1, len(channels) - 1)] // channels[level]
        if count:
            yield Block(place, "res_x", {"num_layers": count})
        if config["spatio_temporal_scaling"][level]:
            kind = _DOWN_KINDS[config["downsample_type"][level] if resized else "conv"]
            options = {"multiplier": multiplier} if kind.endswith("_res") else {}
            yield Block(f"{place}.downsamplers.0", kind, options)
        if not resized and multiplier != 1:
            yield Block(f"{place}.conv_out", "res_x_y", {"multiplier": multiplier})
    yield Block("encoder.mid_block", "res_x", {"num_layers": middle})


def decoder_blocks(config: Config) -> Iterator[Block]:
    """The blocks of a decoder with diffusers' configuration, from the latents to the pixels."""
    middle, *layers = reversed(config["decoder_layers_per_block"])
    channels = tuple(reversed(config["decoder_block_out_channels"]))
    scaling = tuple(reversed(config["decoder_spatio_temporal_scaling"]))
    first_noise, *noise = reversed(config["decoder_inject_noise"])
    residual = tuple(reversed(config["upsample_residual"]))
    factors = tuple(reversed(config["upsample_factor"]))
    yield Block("decoder.mid_block", "res_x", _resnets(middle, first_noise))
    before = channels[0]
    for level, count in enumerate(layers):
        place = f"decoder.up_blocks.{level}"
        factor = factors[level]
        multiplier = (before // factor) // (channels[level] // factor)
        if multiplier != 1:
            options = {"multiplier": multiplier, "inject_noise": noise[level]}
            yield Block(f"{place}.conv_in", "res_x_y", options)
        if scaling[level]:
            options = {"residual": residual[level], "multiplier": factor}
            yield Block(f"{place}.upsamplers.0", "compress_all", options)
        if count:
            yield Block(place, "res_x", _resnets(count, noise[level]))
        before = channels[level] // factor


def _resnets(count: int, noise: bool) -> dict[str, Any]:
    return {"num_layers": count, "inject_noise": noise}


def diffusers_vae_config(config: Config) -> dict[str, Any]:
    """Diffusers' configuration of an LTX-Video VAE that a single file describes.

    Args:
        config: the part "vae" of the file's metadata `config`.

    Raises:
        ModelError: for a block that diffusers' autoencoder can't be built from.
    """
    found = described_vae(config)
    ups = set(found.pop("upsample_type")) - {"spatiotemporal"}
    if ups:
        raise ModelError(f"VAE decoder blocks {sorted(ups)}: not known to diffusers")
    return found


def described_vae(config: Config) -> dict[str, Any]:
    """The same with `upsample_type`, as the first autoencoder and LTX-2's have it in common."""
    if not isinstance(config, dict):
        raise ModelError("it is no object")
    both: Any = config.get("blocks", ())
    encoder = _levels(config.get("encoder_blocks", both), _ENCODER_ORDER)
    decoder = _levels(list(reversed(config.get("decoder_blocks", both))), _DECODER_ORDER)
    return {
        "in_channels": config.get("in_channels", 3),
        "out_channels": config.get("out_channels", 3),
        "latent_channels": config["latent_channels"],
        "patch_size": config.get("patch_size", 1),
        "patch_size_t": config.get("patch_size_t", 1),
        "timestep_conditioning": config.get("timestep_conditioning", False),
        "encoder_causal": True,
        "decoder_causal": config.get("causal_decoder", False),
        "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8,
        **_encoder_config(encoder, config.get("encoder_base_channels", BASE_CHANNELS)),
        **_decoder_config(decoder, config.get("decoder_base_channels", BASE_CHANNELS)),
    }


Level = dict[str, tuple[str, dict[str, Any]]]


def _levels(blocks: Sequence[Any], order: Sequence[str]) -> list[Level]:
    """Groups blocks into levels: a level's blocks come in `order`, each at most once."""
    levels: list[Level] = []
    last = len(order)
    for kind, value in blocks:
        options = value if isinstance(value, dict) else {"num_layers": value}
        role = "compress" if kind.startswith("compress_") else kind
        if role not in order:
            raise ModelError(f"VAE block {shown(kind)}: expected res_x, res_x_y or compress_*")
        if order.index(role) <= last:
            levels.append({})
        last = order.index(role)
        levels[-1][role] = (kind, options)
    return levels


def _encoder_config(levels: list[Level], base: int) -> dict[str, Any]:
    *levels, middle = levels
    kinds = [level["compress"][0] if "compress" in level else None for level in levels]
    unknown = [kind for kind in kinds if kind is not None and kind not in _DOWN_TYPES]
    if unknown or set(middle) != {"res_x"}:
        raise ModelError(f"VAE encoder blocks {unknown or list(middle)}: not known to diffusers")
    resized = any(kind is not None and kind.endswith("_res") for kind in kinds)
    channels = [base]
    for level in levels:
        changing = level.get("compress" if resized else "res_x_y")
        channels.append(channels[-1] * (changing[1].get("multiplier", 2) if changing else 1))
    block = "LTXVideo095DownBlock3D" if resized else "LTXVideoDownBlock3D"
    return {
        "block_out_channels": tuple(channels if resized else channels[:-1]),
        "down_block_types": (block,) * len(levels),
        "layers_per_block": (*(_count(level) for level in levels), _count(middle)),
        "spatio_temporal_scaling": tuple(kind is not None for kind in kinds),
        "downsample_type": tuple(_DOWN_TYPES.get(kind or "", "conv") for kind in kinds),
    }


def _decoder_config(levels: list[Level], base: int) -> dict[str, Any]:
    """`levels` go from the latents to the pixels; diffusers lists them the other way."""
    middle, *levels = levels
    kinds = [level["compress"][0] if "compress" in level else "compress_all" for level in levels]
    unknown = sorted(set(kinds) - set(_UP_TYPES))
    if unknown or set(middle) != {"res_x"}:
        raise ModelError(f"VAE decoder blocks {unknown or list(middle)}: not known to diffusers")
    widths = [base]
    for level in reversed(levels):
        up = level["compress"][1] if "compress" in level else {}
        # A level's width in diffusers is counted before its up-sampler divides it.
        widths.append(widths[-1] * up.get("multiplier", 1))
        if "res_x_y" in level:
            widths[-1] *= level["res_x_y"][1].get("multiplier", 2)
    ups = [level["compress"][1] if "compress" in level else {} for level in levels]
    factors = [up.get("multiplier", 1) for up in ups]
    after = list(reversed(widths))[1:]
    noise = [level.get("res_x", ("", {}))[1].get("inject_noise", False) for level in levels]
    return {
        "decoder_block_out_channels": tuple(
            reversed([width * factor for width, factor in zip(after, factors, strict=True)])
        ),
        "decoder_layers_per_block": (
            *reversed([_count(level) for level in levels]),
            _count(middle),
        ),
        "decoder_spatio_temporal_scaling": tuple(
            reversed(["compress" in level for level in levels])
        ),
        "decoder_inject_noise": (
            *reversed(noise),
            middle["res_x"][1].get("inject_noise", False),
        ),
        "upsample_residual": tuple(reversed([up.get("residual", False) for up in ups])),
        "upsample_factor": tuple(reversed(factors)),
        "upsample_type": tuple(
            _UP_TYPES[kind] for kind in kinds
        ),  # from the latents, unlike others
    }


def _count(level: Level) -> int:
    return level["res_x"][1]["num_layers"] if "res_x" in level else 0
