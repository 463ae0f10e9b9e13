"""The second miniature as the single file that ComfyUI's stock loaders read."""

import json
from pathlib import Path

from ....storage.tensors import write_safetensors
from ...base import Denoiser
from ...ltxv.checkpoint_export import config_metadata
from ...ltxv.miniature.comfy_file import vae_part
from .comfy_audio import audio_description, audio_tensors


def export(path: Path, denoiser: Denoiser) -> Path:
    """Writes all parts in float32 (192 MB, most of it zeros); returns `path`.

    Args:
        denoiser: of the miniature's transformer, with its connectors.
    """
    tensors, metadata = denoiser.as_checkpoint(denoiser.transformer.state_dict())
    vae, vae_config = vae_part()
    described = json.loads(metadata["config"])
    described["vae"] = json.loads(config_metadata(vae=vae_config)["config"])["vae"]
    described |= audio_description()
    whole = {**tensors, **vae, **audio_tensors()}
    floats = {name: tensor.detach().float().contiguous() for name, tensor in whole.items()}
    write_safetensors(path, floats, metadata | {"config": json.dumps(described)})
    return path
