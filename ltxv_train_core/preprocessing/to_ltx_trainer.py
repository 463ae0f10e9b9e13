"""A preprocessed data set of LTX-2 in the layout of ltx-trainer, see `datasets.ltx_trainer`.

Its texts are features before the connectors, which a data set of ours doesn't keep: they are encoded anew, with the
text encoder of the model.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets.export import names_in_export, require_own_folder, save_pt
from ..datasets.index import CONDITIONS, Example
from ..datasets.ltx_trainer import FAMILY, FOLDERS
from ..datasets.pt_files import SUFFIX
from ..datasets.stored_files import open_files
from ..errors import DataError, ModelError
from ..events import (
    Notice,
    Reporter,
    StopSignal,
    ignore,
    one_by_one,
)
from ..families.model import Model
from ..families.names import AUDIO, MASK, TEXT_ENCODER
from ..geometry import SAME_SIZE, ReferenceScale, VideoSize
from ..models.device import default_device
from ..models.precision import text_encoder_dtype

TEXT_TOKENS = 1024
"""To which that trainer pads a text on the left."""


def export_ltx_trainer(
    dataset: Path,
    output: Path,
    model: Model,
    dtype: str = "bfloat16",
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Path:
    """Writes latents, sound, features of texts, references and masks, each clip with its first caption.

    Args:
        dataset: what `preprocess` wrote.
        output: a folder for nothing else.
        model: whose text encoder makes the features.
        dtype: "bfloat16" or "float32", of all numbers.

    Returns:
        `output`.

    Raises:
        DataError: it is no data set of LTX-2 with captions, or the folder holds something else.
        ModelError: the model has no text encoder that gives features.
        Cancelled: when it was stopped.
    """
    files = open_files(Path(dataset))
    if files.index.family != FAMILY.name:
        raise DataError(
            f"{dataset}: is a data set for {files.index.family}; ltx-trainer trains {FAMILY.name}. "
            "Choose the format reference"
        )
    items, kind = files.index.items, getattr(torch, dtype)
    if any(not item.caption.text for item in items):
        raise DataError(
            f"{dataset}: its captions are not recorded, and are encoded anew for ltx-trainer"
        )
    names = names_in_export([item.name for item in items])
    require_own_folder(output, names)
    if more := sum(len(item.captions) > 1 for item in items):
        report(Notice(f"{more} clips have several captions: the first of each is exported"))
    encoder = _encoder(model)
    named = zip(items, names, strict=True)
    for item, name in one_by_one(named, len(items), "export", report, stop):
        save_pt(output / CONDITIONS / f"{name}{SUFFIX}", _conditions(encoder, item, kind))
        for stream, roles in item.streams.items():
            for role, file in roles.items():
                tensor = files.tensor(file, role)
                folder = output / FOLDERS[stream, role]
                save_pt(folder / f"{name}{SUFFIX}", _stored(tensor, stream, role, item, kind))
    return output


def _encoder(model: Model) -> Any:
    model.require(TEXT_ENCODER)
    device = default_device()
    encoder: Any = model.load_text_encoder(text_encoder_dtype(device)).to(device)
    if not hasattr(encoder, "projection"):
        raise ModelError(f"{model.name}: its text encoder gives no features that ltx-trainer reads")
    return encoder


def _conditions(encoder: Any, item: Example, kind: torch.dtype) -> dict[str, Tensor]:
    """Features of the video and of the sound, padded on the left."""
    features = encoder.features(item.caption.text).cpu().to(kind)
    video, audio = encoder.connectors.widths
    same = features.shape[1] == video == audio
    parts = (features, features) if same else features.split([video, audio], dim=1)
    length = max(TEXT_TOKENS, len(features))
    padded = [part.new_zeros(length, part.shape[1]) for part in parts]
    for whole, part in zip(padded, parts, strict=True):
        whole[length - len(part) :] = part
    return {
        "video_prompt_embeds": padded[0],
        "audio_prompt_embeds": padded[1],
        "prompt_attention_mask": torch.arange(length) >= length - len(features),
    }


def _stored(
    tensor: Tensor, stream: str, role: str, item: Example, kind: torch.dtype
) -> dict[str, Any]:
    if role == MASK:
        if stream == AUDIO:
            return {"mask": (~tensor[:, 0]).float()}
        shape = FAMILY.grid.latent(VideoSize.parse(item.size))
        return {"mask": (~tensor.expand(*shape)).float()}
    tensor = tensor.to(kind).contiguous()
    if stream == AUDIO:
        return {
            "latents": tensor,
            "num_time_steps": tensor.shape[1],
            "frequency_bins": tensor.shape[2],
            "duration": VideoSize.parse(item.size).frames / item.fps,
        }
    _, frames, height, width = tensor.shape
    target = FAMILY.grid.latent(VideoSize.parse(item.size))
    scale = ReferenceScale.between(target, tensor.shape[1:]) or SAME_SIZE
    return {
        "latents": tensor,
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": item.fps / scale.temporal,
    }
