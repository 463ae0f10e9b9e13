"""Names of the connectors' tensors. No torch."""

from .layers import CONNECTOR_PREFIXES

_COMFY = {
    "video_connector": "video_embeddings_connector",
    "audio_connector": "audio_embeddings_connector",
    "transformer_blocks": "transformer_1d_blocks",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}


def comfy_connector_name(name: str) -> str:
    """A tensor's name in published files, without the transformer's prefix."""
    return ".".join(_COMFY.get(part, part) for part in name.split("."))


def is_connector(name: str, prefix: str) -> bool:
    """Whether a tensor of a file belongs to the connectors of the transformer with that prefix."""
    return name.startswith(tuple(prefix + each for each in CONNECTOR_PREFIXES))
