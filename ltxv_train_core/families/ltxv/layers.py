"""The layers of LTX-Video 0.9.x's transformer."""

from collections.abc import Mapping
from typing import Any

from ..layers import TransformerLayers
from .tensor_shapes import transformer_shapes
from .versions import TRANSFORMER_13B


def _new_transformer(config: Mapping[str, object]) -> Any:
    from diffusers import LTXVideoTransformer3DModel

    return LTXVideoTransformer3DModel.from_config(dict(config))


LAYERS = TransformerLayers(
    tensor_names=(
        *("transformer_blocks.", "proj_in.", "proj_out.", "time_embed.", "caption_projection."),
        "scale_shift_table",
    ),
    comfy={
        "proj_in": "patchify_proj",
        "time_embed": "adaln_single",
        "norm_q": "q_norm",
        "norm_k": "k_norm",
    },
    most_blocks=TRANSFORMER_13B["num_layers"],
    new_transformer=_new_transformer,
    shapes=transformer_shapes,
    richest=TRANSFORMER_13B,
    unknown_to_diffusers=("proj_in", "time_embed"),
)
