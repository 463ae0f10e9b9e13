"""The parts that encode for LTX-2.x, small and random, in files and folders as they are published.

Names and descriptions are those that ComfyUI 0.33.0 and diffusers 0.42.1 read; `tests/nodes/test_ltx2_files.py`
gives the same files to ComfyUI.
"""

import io
import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from ltxv_train_core.families.ltx2.audio_description import audio_vae_config, vocoder_config
from ltxv_train_core.families.ltx2.audio_vae_file import (
    comfy_vocoder_name,
    finished,
    new_audio_vae,
    new_vocoder,
)
from ltxv_train_core.families.ltx2.gemma import Gemma, new_gemma, with_buffers
from ltxv_train_core.families.ltx2.vae_description import vae_config
from ltxv_train_core.families.ltx2.vae_file import new_vae
from ltxv_train_core.families.ltxv.key_names import comfy_vae_names
from ltxv_train_core.storage.tensors import write_safetensors
from tests.helpers.ltx2 import (
    AUDIO_WIDTH,
    CAPTION,
    HEADS,
    WIDTH,
    connectors_of,
    transformer_of,
    write_checkpoint,
)

Tensors = dict[str, Tensor]

HIDDEN, GEMMA_LAYERS, HEAD, WIDE_HEAD = CAPTION, 6, 16, 32
STATES = GEMMA_LAYERS + 1
SENTENCES = [
    "a red circle moves up on a blue background, a loud low hum",
    "stripes and a beep: two men talk, one says hello there",
]
VOCABULARY = 64


def _down(kind: str) -> list[Any]:
    return [kind, {"multiplier": 1}]


def _layers(count: int = 1) -> list[Any]:
    return ["res_x", {"num_layers": count}]


_ENCODER = [
    *(_layers(), _down("compress_space_res"), _layers(), _down("compress_time_res"), _layers()),
    *(_down("compress_all_res"), _layers(), _down("compress_all_res"), _layers()),
]
_FLAT = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": _ENCODER,
    "decoder_base_channels": 8,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "causal_decoder": False,
    "timestep_conditioning": False,
}


def _up(kind: str, multiplier: int, residual: bool = False) -> list[Any]:
    return [kind, {"multiplier": multiplier} | ({"residual": True} if residual else {})]


VAE_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "2.0": _FLAT
    | {
        "decoder_blocks": [
            *(_layers(), _up("compress_all", 2, True), _layers(), _up("compress_all", 2, True)),
            *(_layers(), _up("compress_all", 2, True), _layers()),
        ]
    },
    "2.3": _FLAT
    | {
        "spatial_padding_mode": "zeros",
        "decoder_blocks": [
            *(_layers(), _up("compress_space", 2), _layers(2), _up("compress_time", 2), _layers()),
            *(_up("compress_all", 1), _layers(), _up("compress_all", 2), _layers()),
        ],
    },
    "2.5": {
        "_class_name": "CausalDiffusionVAE",
        "encoder": {
            "dims": 3,
            "in_channels": 3,
            "out_channels": 128,
            "blocks": _ENCODER,
            "patch_size": 4,
            "latent_log_var": "constant",
            "norm_layer": "pixel_norm",
            "spatial_padding_mode": "zeros",
            "base_channels": 128,
        },
        "decoder": {
            **{"head_dim": 16, "stage_channels": [16] * 5, "stage_depths": [1] * 5},
            **{"stage5_kernel": [3, 3, 3], "t_emb_dim": 16},
        },
    },
}
"""That of 2.0 compresses into fewer channels than are published; the order of blocks is the same."""

AUDIO_DESCRIPTION = {
    "model": {
        "params": {
            "sampling_rate": 16000,
            "ddconfig": {
                "double_z": True,
                "mel_bins": 64,
                "z_channels": 8,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 2,
                "out_ch": 2,
                "ch": 8,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 2,
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
        }
    },
    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
}
_SMOOTH = {
    "resblock": "AMP1",
    "activation": "snakebeta",
    "stereo": True,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
}
VOCODERS: dict[str, dict[str, Any]] = {
    "2.0": {
        "upsample_initial_channel": 32,
        "upsample_rates": [6, 5, 2, 2, 2],
        "upsample_kernel_sizes": [16, 15, 8, 4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3, 5]],
        "resblock": "1",
        "stereo": True,
    },
    "2.3": {
        "vocoder": {
            **_SMOOTH,
            "upsample_initial_channel": 64,
            "upsample_rates": [5, 2, 2, 2, 2, 2],
            "upsample_kernel_sizes": [11, 4, 4, 4, 4, 4],
        },
        "bwe": {
            **_SMOOTH,
            "upsample_initial_channel": 32,
            "upsample_rates": [6, 5, 2, 2, 2],
            "upsample_kernel_sizes": [12, 11, 4, 4, 4],
            "n_fft": 512,
            "hop_length": 80,
            "num_mels": 64,
            "input_sampling_rate": 16000,
            "output_sampling_rate": 48000,
        },
    },
}
VOCODERS["2.5"] = VOCODERS["2.3"]
SOUND_RATES = {"2.0": 24000, "2.3": 48000, "2.5": 48000}


@torch.no_grad()
def randomised(module: Any, seed: int) -> Any:
    """With weights that keep a signal's size, and statistics that are not those of a new module."""
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
        elif name.endswith(("alpha", "beta", "bias")):
            parameter.normal_(std=0.1)
    for name, buffer in module.named_buffers():
        if name.startswith("latents_"):
            buffer.copy_(torch.rand(buffer.shape) + (0.5 if name.endswith("std") else 0))
        elif name.endswith(("forward_basis", "mel_basis")):
            buffer.copy_(torch.rand(buffer.shape) / 10)
    return module.eval()


def video_vae(generation: str) -> Any:
    """diffusers' autoencoder. Of 2.5 its encoder alone is written."""
    return randomised(new_vae(vae_config(VAE_DESCRIPTIONS[generation])), 3)


def audio_vae() -> Any:
    return randomised(new_audio_vae(audio_vae_config(AUDIO_DESCRIPTION)), 4)


def vocoder(generation: str) -> Any:
    return finished(randomised(new_vocoder(vocoder_config(VOCODERS[generation])), 5))


def video_vae_tensors(generation: str, prefix: str = "vae.") -> Tensors:
    vae = video_vae(generation)
    names = comfy_vae_names(vae.state_dict(), vae_config(VAE_DESCRIPTIONS[generation]))
    named = {prefix + names[name]: tensor for name, tensor in vae.state_dict().items()}
    if generation == "2.5":
        named = {n: t for n, t in named.items() if not n.startswith(f"{prefix}decoder.")}
        # The two by which ComfyUI knows the diffusion decoder.
        named[f"{prefix}decoder.conv_in_x_t.weight"] = torch.zeros(16, 48)
        named[f"{prefix}decoder.conv_in.weight"] = torch.zeros(16, 128)
    return named


def audio_tensors(generation: str) -> Tensors:
    state = audio_vae().state_dict()
    named = {f"audio_vae.{n}": t for n, t in state.items() if not n.startswith("latents_")}
    for own, theirs in (("latents_mean", "mean-of-means"), ("latents_std", "std-of-means")):
        named[f"audio_vae.per_channel_statistics.{theirs}"] = state[own]
    voice = vocoder(generation).state_dict()
    return named | {f"vocoder.{comfy_vocoder_name(n)}": t for n, t in voice.items()}


def projection_tensors(generation: str) -> Tensors:
    """Behind the states of the small Gemma."""
    torch.manual_seed(6)
    inputs = HIDDEN * STATES
    widths = (
        {"aggregate_embed": CAPTION}
        if generation == "2.0"
        else {"video_aggregate_embed": WIDTH, "audio_aggregate_embed": AUDIO_WIDTH}
    )
    named = {}
    for name, width in widths.items():
        named[f"{name}.weight"] = torch.randn(width, inputs) / math.sqrt(inputs)
        if generation != "2.0":
            named[f"{name}.bias"] = torch.randn(width) / 10
    return {f"text_embedding_projection.{name}": tensor for name, tensor in named.items()}


GEMMA_SIZES: dict[str, dict[str, Any]] = {
    "Gemma 3": {
        "query_pre_attn_scalar": HEAD,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    },
    "Gemma 4": {
        "global_head_dim": WIDE_HEAD,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
    },
}


def gemma(name: str) -> Any:
    """transformers' text model."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 64,
        "num_hidden_layers": GEMMA_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1 if name == "Gemma 3" else 2,
        "head_dim": HEAD,
        "sliding_window": 1024,
    }
    made = with_buffers(new_gemma(Gemma(name, sizes | GEMMA_SIZES[name])))
    randomised(made, 7)
    with torch.no_grad():
        made.embed_tokens.weight.normal_()
        for key, buffer in made.named_buffers():
            if key.endswith("layer_scalar"):
                buffer.fill_(0.8)
    return made


def sentences() -> bytes:
    """A model of sentencepiece with Gemma's first ids."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=written,
        model_type="bpe",
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return written.getvalue()


def tokenizer_json() -> str:
    """A tokenizer with Gemma's first ids."""
    words = sorted({word for text in SENTENCES for word in text.split()})
    ids = {name: number for number, name in enumerate(("<pad>", "<eos>", "<bos>", "<unk>", *words))}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return str(made.to_str())


def as_bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def gemma_tensors(name: str, prefix: str = "model.") -> Tensors:
    return {prefix + key: tensor for key, tensor in gemma(name).state_dict().items()}


def write_gemma_file(path: Path, name: str, generation: str | None = None) -> Path:
    """As ComfyUI keeps it: with its tokenizer, and with what sees, which isn't read.

    Args:
        generation: of a projection that lies in it, as in LTX-2.5's file.
    """
    tensors = gemma_tensors(name) | {
        "multi_modal_projector.mm_soft_emb_norm.weight": torch.ones(16)
    }
    if name == "Gemma 3":
        tensors["spiece_model"] = as_bytes(sentences())
    else:
        tensors["tokenizer_json"] = as_bytes(tokenizer_json().encode())
    if generation is not None:
        tensors |= projection_tensors(generation)
    write_safetensors(path, tensors, {"format": "pt"})
    return path


def write_gemma_folder(folder: Path, name: str, prefix: str) -> Path:
    """As transformers writes it: two shards, and the tokenizer beside them."""
    folder.mkdir(parents=True)
    tensors = gemma_tensors(name, prefix)
    names = list(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:20]}
    shards["model-00002-of-00002.safetensors"] = names[20:]
    for file, some in shards.items():
        save_file({key: tensors[key].contiguous() for key in some}, folder / file)
    places = {key: file for file, some in shards.items() for key in some}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "gemma3"}', encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    return folder


def write_whole(path: Path, generation: str) -> Path:
    """A checkpoint with all parts but the text encoder."""
    return write_checkpoint(
        path,
        generation,
        others=video_vae_tensors(generation)
        | audio_tensors(generation)
        | (projection_tensors(generation) if generation != "2.5" else {}),
        described={
            "vae": VAE_DESCRIPTIONS[generation],
            "audio_vae": AUDIO_DESCRIPTION,
            "vocoder": VOCODERS[generation],
        },
    )


def whole_connectors(generation: str) -> LTX2TextConnectors:
    """diffusers' module: the connectors of `tests.helpers.ltx2`, and the projection before them."""
    is_first = generation == "2.0"
    widths = (CAPTION, CAPTION) if is_first else (WIDTH, AUDIO_WIDTH)
    made = LTX2TextConnectors(
        caption_channels=HIDDEN,
        text_proj_in_factor=STATES,
        rope_type="split",
        per_modality_projections=not is_first,
        proj_bias=not is_first,
        video_hidden_dim=WIDTH,
        audio_hidden_dim=AUDIO_WIDTH,
        **{
            f"{stream}_{name}": value
            for stream, width in zip(("video", "audio"), widths, strict=True)
            for name, value in (
                ("connector_num_attention_heads", HEADS),
                ("connector_attention_head_dim", width // HEADS),
                ("connector_num_layers", 1),
                ("gated_attn", not is_first),
            )
        },
    )
    renamed = {
        "aggregate_embed": "text_proj_in",
        "video_aggregate_embed": "video_text_proj_in",
        "audio_aggregate_embed": "audio_text_proj_in",
    }
    projection = {}
    for name, tensor in projection_tensors(generation).items():
        _, layer, leaf = name.split(".")
        projection[f"{renamed[layer]}.{leaf}"] = tensor
    made.load_state_dict({**connectors_of(generation).state_dict(), **projection})
    return made.eval()


def write_diffusers_folder(folder: Path, generation: str) -> Path:
    """All parts as diffusers saves a pipeline of them."""
    transformer_of(generation).save_pretrained(folder / "transformer")
    whole_connectors(generation).save_pretrained(folder / "connectors")
    if generation != "2.5":
        video_vae(generation).save_pretrained(folder / "vae")
    audio_vae().save_pretrained(folder / "audio_vae")
    vocoder(generation).save_pretrained(folder / "vocoder")
    name = "Gemma 4" if generation == "2.5" else "Gemma 3"
    prefix = "model.language_model." if generation == "2.5" else "language_model.model."
    write_gemma_folder(folder / "text_encoder", name, prefix)
    return folder
