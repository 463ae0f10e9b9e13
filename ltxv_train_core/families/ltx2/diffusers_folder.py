"""LTX-2.x in the diffusers layout: a folder on this machine with one for each part.

The transformer and the connectors are read. What encodes is taken from the canvas, as for files.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import LTXVTrainError, ModelError, cut, shown
from ...models.sources.content import content_of_folder
from ...models.sources.meta_loading import on_meta
from ...models.sources.part_config import part_config
from ...models.sources.part_weights import require_weights
from ..ltxv.diffusers_folder import LocalFolder
from ..model import Model, ModelFacts
from ..names import CONNECTORS, TRANSFORMER
from .connectors import Connectors, comfy_connector_name, is_connector
from .denoiser import LTX2Denoiser
from .description import generation
from .family import ARCHITECTURE, LTX2
from .layers import LAYERS
from .parts_on_canvas import NEEDED, parts_on_canvas
from .sampling import sampling_of

if TYPE_CHECKING:
    from diffusers import LTX2VideoTransformer3DModel

_KINDS = {TRANSFORMER: "LTX2VideoTransformer3DModel", CONNECTORS: "LTX2TextConnectors"}
_USUAL = {"cross_attn_mod": False, "ff_bias": True}
"""What diffusers takes for options that are left out."""


def is_folder(folder: Path) -> bool:
    """Whether a folder has a transformer of LTX-2.x in the diffusers layout."""
    try:
        config = part_config(folder / TRANSFORMER)
    except LTXVTrainError:
        return False
    return config.get("_class_name") == _KINDS[TRANSFORMER]


def folder_model(name: str, folder: Path) -> Model:
    """A model in the diffusers layout."""
    connectors = ConnectorsFolder(folder)
    transformer = TransformerFolder(folder, connectors)
    found = transformer.facts
    parts = parts_on_canvas(f"model_source {shown(name)}", found.text_encoder, connectors)
    return Model(name, LTX2, transformer, {**parts, CONNECTORS: connectors})


class PartFolder(ABC):
    """A part in a folder of a model."""

    name: str

    def __init__(self, folder: Path):
        self._whole, self.folder = folder, folder / self.name

    @property
    def identity(self) -> str:
        return LocalFolder(self._whole).identity

    @property
    def content(self) -> str | None:
        return content_of_folder(self.folder)

    def require(self) -> None:
        """Raises `ModelError` where weights are missing, of another shape, or of another part."""
        found = part_config(self.folder).get("_class_name")
        if found != _KINDS[self.name]:
            raise ModelError(
                f"{self.folder}: expected the {self.name} of an LTX-2 ({_KINDS[self.name]}), found "
                f"{cut(str(found))}"
            )
        require_weights(self.folder, self.name, self._module)

    @abstractmethod
    def _module(self, config: Mapping[str, Any]) -> Any:
        """diffusers' module of a configuration."""

    def _load(self, dtype: torch.dtype) -> Any:
        self.require()
        kind = type(on_meta(lambda: self._module(part_config(self.folder))))
        return kind.from_pretrained(self.folder, torch_dtype=dtype, local_files_only=True).eval()


class ConnectorsFolder(PartFolder):
    """The connectors; the projection before them belongs to the text encoder."""

    name = CONNECTORS

    def load(self, dtype: torch.dtype) -> Connectors:
        config = part_config(self.folder)
        loaded = self._load(dtype)
        options = {stream: _options(config, stream) for stream in ("video", "audio")}
        made = on_meta(lambda: Connectors(options["video"], options["audio"]))
        state = loaded.state_dict()
        made.load_state_dict({name: state[name] for name in made.state_dict()}, assign=True)
        connectors: Connectors = made.eval()
        return connectors

    def in_comfyui(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by ComfyUI's names without prefix, and what a file's metadata say of them."""
        config = part_config(self.folder)
        named = {
            comfy_connector_name(n): t for n, t in self.load(torch.bfloat16).state_dict().items()
        }
        video, audio = (_options(config, stream) for stream in ("video", "audio"))
        described = {
            "connector_num_attention_heads": video["num_attention_heads"],
            "connector_attention_head_dim": video["attention_head_dim"],
            "audio_connector_num_attention_heads": audio["num_attention_heads"],
            "audio_connector_attention_head_dim": audio["attention_head_dim"],
            "connector_num_layers": video["num_layers"],
            "connector_apply_gated_attention": video["gated_attention"],
        }
        return {n: t for n, t in named.items() if is_connector(n, "")}, described

    def _module(self, config: Mapping[str, Any]) -> Any:
        from diffusers.pipelines.ltx2 import LTX2TextConnectors

        return LTX2TextConnectors.from_config(dict(config))


class TransformerFolder(PartFolder):
    """The transformer."""

    name, module_names = TRANSFORMER, None

    def __init__(self, folder: Path, connectors: ConnectorsFolder):
        super().__init__(folder)
        self._connectors = connectors

    @property
    def facts(self) -> ModelFacts:
        config = part_config(self.folder)
        found = generation(_USUAL | config)
        return ModelFacts(
            is_fp8=False,
            text_width=None,
            text_encoder=NEEDED[found],
            architecture=ARCHITECTURE,
            transformer_config=config,
            generation=f"LTX-{found}",
            sampling=sampling_of(self._whole.name, {}),
        )

    def load(self, dtype: torch.dtype) -> "LTX2VideoTransformer3DModel":
        transformer: LTX2VideoTransformer3DModel = self._load(dtype)
        return transformer

    def denoiser(self, transformer: "LTX2VideoTransformer3DModel") -> LTX2Denoiser:
        return LTX2Denoiser(transformer, self._connectors.in_comfyui)

    def _module(self, config: Mapping[str, Any]) -> Any:
        return LAYERS.new_transformer(config)


def _options(config: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Options of a stream's connector, by the configuration of both."""
    own = ("num_attention_heads", "attention_head_dim", "num_layers", "num_learnable_registers")
    return {
        **{name: config[f"{stream}_connector_{name}"] for name in own},
        "gated_attention": config[f"{stream}_gated_attn"],
        "rope_type": config["rope_type"],
        "rope_double_precision": config["rope_double_precision"],
    }
