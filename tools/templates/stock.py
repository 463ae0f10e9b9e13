"""ComfyUI's own nodes in the example workflows: their sockets, and their widgets with values.

Both are the same from 0.3.64 to 0.33, but for those of LTX-2; widgets that came later have their defaults there.
"""

from typing import NamedTuple


class Combo(str):
    """The value of a list."""


class Stock(NamedTuple):
    """Inputs and outputs by name with their types; widgets in the order in which values are stored."""

    inputs: dict[str, str]
    outputs: dict[str, str]
    widgets: dict[str, object]


NOISE = {"add_noise": True, "noise_seed": 7, "control_after_generate": Combo("fixed"), "cfg": 3.0}

STOCK = {
    "CheckpointLoaderSimple": Stock(
        {},
        {"MODEL": "MODEL", "CLIP": "CLIP", "VAE": "VAE"},
        {"ckpt_name": Combo("")},
    ),
    "CLIPTextEncode": Stock({"clip": "CLIP"}, {"CONDITIONING": "CONDITIONING"}, {"text": ""}),
    "LTXVConditioning": Stock(
        {"positive": "CONDITIONING", "negative": "CONDITIONING"},
        {"positive": "CONDITIONING", "negative": "CONDITIONING"},
        {"frame_rate": 25.0},
    ),
    "EmptyLTXVLatentVideo": Stock(
        {}, {"LATENT": "LATENT"}, {"width": 96, "height": 96, "length": 17, "batch_size": 1}
    ),
    "LTXVScheduler": Stock(
        {"latent": "LATENT"},
        {"SIGMAS": "SIGMAS"},
        {"steps": 20, "max_shift": 2.05, "base_shift": 0.95, "stretch": True, "terminal": 0.1},
    ),
    "KSamplerSelect": Stock({}, {"SAMPLER": "SAMPLER"}, {"sampler_name": Combo("euler")}),
    "SamplerCustom": Stock(
        {
            "model": "MODEL",
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "sampler": "SAMPLER",
            "sigmas": "SIGMAS",
            "latent_image": "LATENT",
        },
        {"output": "LATENT", "denoised_output": "LATENT"},
        NOISE,
    ),
    "VAEDecode": Stock({"samples": "LATENT", "vae": "VAE"}, {"IMAGE": "IMAGE"}, {}),
    "CreateVideo": Stock({"images": "IMAGE", "audio": "AUDIO"}, {"VIDEO": "VIDEO"}, {"fps": 25.0}),
    "SaveVideo": Stock(
        {"video": "VIDEO"},
        {},
        {"filename_prefix": "ltxv_train/video", "format": Combo("auto"), "codec": Combo("auto")},
    ),
    "PreviewImage": Stock({"images": "IMAGE"}, {}, {}),
    "ImageStitch": Stock(
        {"image1": "IMAGE", "image2": "IMAGE"},
        {"IMAGE": "IMAGE"},
        {
            "direction": Combo("right"),
            "match_image_size": True,
            "spacing_width": 0,
            "spacing_color": Combo("white"),
        },
    ),
    "Canny": Stock(
        {"image": "IMAGE"}, {"IMAGE": "IMAGE"}, {"low_threshold": 0.1, "high_threshold": 0.3}
    ),
    # Those of LTX-2, since 0.7.
    "LTXVAudioVAELoader": Stock({}, {"Audio VAE": "VAE"}, {"ckpt_name": Combo("")}),
    "LTXVEmptyLatentAudio": Stock(
        {"audio_vae": "VAE"},
        {"Latent": "LATENT"},
        {"frames_number": 17, "frame_rate": 12.0, "batch_size": 1},
    ),
    "LTXVConcatAVLatent": Stock(
        {"video_latent": "LATENT", "audio_latent": "LATENT"}, {"latent": "LATENT"}, {}
    ),
    "LTXVSeparateAVLatent": Stock(
        {"av_latent": "LATENT"}, {"video_latent": "LATENT", "audio_latent": "LATENT"}, {}
    ),
    "LTXVAudioVAEDecode": Stock({"samples": "LATENT", "audio_vae": "VAE"}, {"Audio": "AUDIO"}, {}),
    "MarkdownNote": Stock({}, {}, {"text": ""}),
}
