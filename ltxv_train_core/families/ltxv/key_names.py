"""Names of a VAE's tensors in diffusers and in the original single-file layout, which ComfyUI reads."""

from collections.abc import Iterable

from .vae_blocks import Config, decoder_blocks, encoder_blocks

VAE_PREFIX = "vae."

_VAE_WHOLE = {
    "latents_mean": "per_channel_statistics.mean-of-means",
    "latents_std": "per_channel_statistics.std-of-means",
    "decoder.scale_shift_table": "decoder.last_scale_shift_table",
}
_VAE_PARTS = {"resnets": "res_blocks"}
_VAE_ENDS = ((".norm3", ".norm3.norm"), (".conv_shortcut.conv", ".conv_shortcut"))

# Entries that the original has and diffusers has no use for.
VAE_STATISTICS_UNUSED = (
    "per_channel_statistics.mean-of-stds",
    "per_channel_statistics.mean-of-stds_over_std-of-means",
    "per_channel_statistics.channel",
)


def comfy_vae_names(names: Iterable[str], config: Config) -> dict[str, str]:
    """ComfyUI's names of VAE tensors, without prefix, by diffusers' names.

    Args:
        names: of an `AutoencoderKLLTXVideo`'s tensors.
        config: diffusers' configuration of it: which of its blocks there are decides the numbers.
    """
    places = {
        block.place: f"{part}.{number}"
        for part, blocks in (
            ("encoder.down_blocks", encoder_blocks(config)),
            ("decoder.up_blocks", decoder_blocks(config)),
        )
        for number, block in enumerate(blocks)
    }
    return {name: _comfy_vae_name(name, places) for name in names}


def _comfy_vae_name(name: str, places: dict[str, str]) -> str:
    if name in _VAE_WHOLE:
        return _VAE_WHOLE[name]
    if name.startswith("decoder.time_embedder."):
        return name.replace("decoder.", "decoder.last_", 1)
    place = max((p for p in places if name.startswith(f"{p}.")), key=len, default="")
    rest = name[len(place) :]
    rest = ".".join(_VAE_PARTS.get(part, part) for part in rest.split("."))
    stem, _, leaf = rest.rpartition(".")
    for ours, theirs in _VAE_ENDS:
        if stem.endswith(ours):
            stem = stem.removesuffix(ours) + theirs
    return f"{places.get(place, place)}{stem}.{leaf}" if stem else f"{places.get(place, '')}{rest}"
