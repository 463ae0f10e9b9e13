"""What a file says of its LTX-2.x audio VAE and vocoder, as diffusers' configurations. No torch."""

from collections.abc import Mapping
from typing import Any

from ...errors import ModelError, shown
from ...media.mel_scale import BINS, WINDOW
from .formats import AUDIO_BINS, AUDIO_CHANNELS, HOP_SAMPLES, MEL_RATE

Config = Mapping[str, Any]

_MISSING = (
    "it has no metadata `config` with a part `{part}`, as files of LTX-2.x are published; without it neither this "
    "program nor ComfyUI knows its sizes"
)
# As ComfyUI takes them where a description leaves them out.
_RATES, _KERNELS = (6, 5, 2, 2, 2), (16, 15, 8, 4, 4)
_DILATIONS = ((1, 3, 5),) * 3


def audio_vae_config(described: Config) -> dict[str, Any]:
    """diffusers' configuration of an audio VAE.

    Args:
        described: the part "audio_vae" of a file's metadata `config`.

    Raises:
        ModelError: it is missing, or of sound in another form than LTX-2.x's.
    """
    if not described:
        raise ModelError(_MISSING.format(part="audio_vae"))
    parameters = described["model"]["params"]
    layers = parameters["ddconfig"]
    stft = described.get("preprocessing", {}).get("stft", {})
    config = {
        "base_channels": layers["ch"],
        "output_channels": layers["out_ch"],
        "ch_mult": tuple(layers["ch_mult"]),
        "num_res_blocks": layers["num_res_blocks"],
        "attn_resolutions": tuple(layers.get("attn_resolutions") or ()) or None,
        "in_channels": layers["in_channels"],
        "resolution": layers["resolution"],
        "latent_channels": layers["z_channels"],
        "norm_type": layers.get("norm_type", "group"),
        "causality_axis": layers.get("causality_axis") or "none",
        "mid_block_add_attention": layers.get("mid_block_add_attention", True),
        "sample_rate": parameters.get("sampling_rate", MEL_RATE),
        "mel_hop_length": stft.get("hop_length", HOP_SAMPLES),
        "mel_bins": layers.get("mel_bins", BINS),
        "double_z": layers.get("double_z", True),
    }
    config["is_causal"] = config["causality_axis"] == "height"
    expected = {
        "latent_channels": AUDIO_CHANNELS,
        "in_channels": 2,
        "sample_rate": MEL_RATE,
        "mel_hop_length": HOP_SAMPLES,
        "mel_bins": 4 * AUDIO_BINS,
        "causality_axis": "height",
    }
    for name, wanted in expected.items():
        if config[name] != wanted:
            raise ModelError(f"its {name} is {shown(config[name])}, and only {wanted!r} is read")
    if (window := stft.get("filter_length", WINDOW)) != WINDOW:
        raise ModelError(f"its filter_length is {shown(window)}, and only {WINDOW} is read")
    return config


def vocoder_config(described: Config) -> dict[str, Any]:
    """diffusers' configuration of a vocoder: with `bwe_` options where it also extends the band.

    Args:
        described: the part "vocoder" of a file's metadata `config`.

    Raises:
        ModelError: it is missing, or of another kind.
    """
    if not described:
        raise ModelError(_MISSING.format(part="vocoder"))
    if "bwe" not in described:
        rates = described.get("upsample_rates", _RATES)
        return _network(described, "tanh") | {"output_sampling_rate": _rate(described, rates)}
    first, second = described["vocoder"], described["bwe"]
    extension = {f"bwe_{name}": value for name, value in _network(second, None).items()}
    return (
        _network(first, "tanh")
        | extension
        | {
            "filter_length": second["n_fft"],
            "hop_length": second["hop_length"],
            "window_length": second["n_fft"],
            "num_mel_channels": second["num_mels"],
            "input_sampling_rate": second["input_sampling_rate"],
            "output_sampling_rate": second["output_sampling_rate"],
        }
    )


def _network(described: Config, end: str | None) -> dict[str, Any]:
    kind = described.get("resblock", "1")
    if kind not in ("1", "AMP1"):
        raise ModelError(
            f"its vocoder's resblock is {shown(kind)}, and only '1' and 'AMP1' are read"
        )
    if described.get("stereo", True) is not True:
        raise ModelError("its vocoder is not for stereo")
    is_smooth = kind == "AMP1"
    if end and described.get("use_tanh_at_final", True) is not True:
        end = "clamp"
    return {
        "in_channels": 2 * BINS,
        "hidden_channels": described.get("upsample_initial_channel", 1024),
        "out_channels": 2,
        "upsample_kernel_sizes": list(described.get("upsample_kernel_sizes", _KERNELS)),
        "upsample_factors": list(described.get("upsample_rates", _RATES)),
        "resnet_kernel_sizes": list(described.get("resblock_kernel_sizes", (3, 7, 11))),
        "resnet_dilations": [list(d) for d in described.get("resblock_dilation_sizes", _DILATIONS)],
        "act_fn": described.get("activation", "snake") if is_smooth else "leaky_relu",
        "antialias": is_smooth,
        "final_act_fn": end,
        "final_bias": described.get("use_bias_at_final", True),
    }


def _rate(described: Config, rates: Any) -> int:
    """Samples a second of what a vocoder gives: as many for each mel frame as it enlarges it by."""
    for name in ("output_sample_rate", "output_sampling_rate"):
        if isinstance(described.get(name), int):
            return int(described[name])
    product = 1
    for rate in rates:
        product *= rate
    return product * MEL_RATE // HOP_SAMPLES
