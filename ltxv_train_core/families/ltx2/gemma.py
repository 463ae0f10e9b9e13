"""Gemma 3 and Gemma 4 as text encoders of LTX-2.x: sizes from names and shapes, and the module of transformers.

What doesn't show in shapes is the same in all published ones that LTX-2.x uses, and ComfyUI has it written
down as well: five layers of six see 1,024 tokens back, rotation as below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ModelError
from ...formats.tensors import MOST_LAYERS, require_sizes
from ...storage.safetensors_header import TensorInfo

GEMMA_3, GEMMA_4 = "Gemma 3", "Gemma 4"

_PREFIXES = ("model.", "language_model.model.", "model.language_model.", "language_model.", "")
"""Of the language model's names: in ComfyUI's files, in folders of transformers 4, and of transformers 5."""
_SIGNS = ("embed_tokens.weight", "layers.0.post_feedforward_layernorm.weight")
_IS_GEMMA_3_OR_4 = "layers.0.self_attn.q_norm.weight"
_IS_GEMMA_4 = "layers.0.layer_scalar"

_WINDOW_TOKENS = 1024
_PERIOD = 6
"""The last one of so many layers sees all tokens."""
_FAR, _NEAR = 1_000_000.0, 10_000.0
"""Bases of the rotation, of layers that see all tokens and of others."""
_STRETCH = 8.0
"""Of Gemma 3's positions in layers that see all tokens."""
_TURNED = 0.25
"""The share of a head that Gemma 4 turns in such layers."""


@dataclass(frozen=True)
class Gemma:
    """A text encoder that was found.

    Attributes:
        name: `GEMMA_3` or `GEMMA_4`.
        config: options of transformers' text configuration.
    """

    name: str
    config: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Of a hidden state."""
        width: int = self.config["hidden_size"]
        return width

    @property
    def states(self) -> int:
        """How many hidden states it gives: the embedding, and one behind each layer."""
        layers: int = self.config["num_hidden_layers"]
        return layers + 1


def gemma_prefix(names: Mapping[str, TensorInfo]) -> str | None:
    """Of the language model's names; None where there is no Gemma."""
    signs = (*_SIGNS, _IS_GEMMA_3_OR_4)
    return next((p for p in _PREFIXES if all(p + sign in names for sign in signs)), None)


def read_gemma(part: Mapping[str, TensorInfo]) -> Gemma:
    """The text encoder with such tensors.

    Args:
        part: by their names without prefix.

    Raises:
        ModelError: it has sizes that none has.
        LookupError, ValueError: tensors are missing or have other dimensions.
    """
    layers = {int(name.split(".")[1]) for name in part if name.startswith("layers.")}
    vocabulary, width = part["embed_tokens.weight"].shape
    (head,) = part["layers.0.self_attn.q_norm.weight"].shape
    query, key = (part[f"layers.0.self_attn.{n}_proj.weight"].shape[0] for n in ("q", "k"))
    require_sizes(vocabulary, width, head, query, key)
    require_sizes(len(layers), largest=MOST_LAYERS)
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": part["layers.0.mlp.gate_proj.weight"].shape[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": query // head,
        "num_key_value_heads": key // head,
        "head_dim": head,
        "sliding_window": _WINDOW_TOKENS,
        "layer_types": [_layer_type(number) for number in range(len(layers))],
        "rms_norm_eps": 1e-6,
        "hidden_activation": "gelu_pytorch_tanh",
    }
    if _IS_GEMMA_4 not in part:
        return Gemma(GEMMA_3, config | {"query_pre_attn_scalar": head} | _rotation_of_3())
    return Gemma(GEMMA_4, config | _whole_view(part, len(layers)))


def _layer_type(number: int) -> str:
    return "sliding_attention" if (number + 1) % _PERIOD else "full_attention"


def _rotation_of_3() -> dict[str, Any]:
    far = {"rope_type": "linear", "factor": _STRETCH, "rope_theta": _FAR}
    return {
        "rope_parameters": {
            "full_attention": far,
            "sliding_attention": {"rope_type": "default", "rope_theta": _NEAR},
        }
    }


def _whole_view(part: Mapping[str, TensorInfo], layers: int) -> dict[str, Any]:
    """Of Gemma 4's layers that see all tokens: their heads are wider, and keys are values as well."""
    if layers < _PERIOD:
        raise ModelError(f"a Gemma 4 of {layers} layers is not known")
    attention = f"layers.{_PERIOD - 1}.self_attn."
    (head,) = part[f"{attention}q_norm.weight"].shape
    key = part[f"{attention}k_proj.weight"].shape[0]
    require_sizes(head, key)
    far = {"rope_type": "proportional", "partial_rotary_factor": _TURNED, "rope_theta": _FAR}
    return {
        "global_head_dim": head,
        "num_global_key_value_heads": key // head,
        "attention_k_eq_v": f"{attention}v_proj.weight" not in part,
        "rope_parameters": {
            "full_attention": far,
            "sliding_attention": {"rope_type": "default", "rope_theta": _NEAR},
        },
    }


def new_gemma(gemma: Gemma) -> Any:
    """transformers' text model with random weights.

    Raises:
        ModelError: the installed transformers doesn't know it.
    """
    import transformers

    kinds = {
        GEMMA_3: ("Gemma3TextConfig", "Gemma3TextModel"),
        GEMMA_4: ("Gemma4UnifiedTextConfig", "Gemma4UnifiedTextModel"),
    }
    config, model = (getattr(transformers, name, None) for name in kinds[gemma.name])
    if config is None or model is None:
        raise ModelError(
            f"transformers {transformers.__version__} doesn't know {gemma.name}: update it "
            "(pip install -U transformers)"
        )
    return model(config(**gemma.config))


def with_buffers(model: Any) -> Any:
    """What no file holds, on the CPU: the rotation, and the scale of the embeddings."""
    import torch

    model.rotary_emb = type(model.rotary_emb)(model.config)
    scale = torch.tensor(float(model.config.hidden_size) ** 0.5)
    model.embed_tokens.register_buffer("embed_scale", scale, persistent=False)
    left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    assert not left, left
    return model
