"""A model family that is as unlike LTX-Video as the seam allows: other strides, 4n + 1 frames, two streams.

Beside its video it denoises `light`, a curve of the brightness over time. Shapes: B batch, C channels,
f h w latent frames, rows, columns, T points of the curve, N tokens, W width.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from ltxv_train_core.families import grids, registry
from ltxv_train_core.families import open as opening
from ltxv_train_core.families.base import StreamInput, Text
from ltxv_train_core.families.family import Family, ModelSize
from ltxv_train_core.families.layers import TransformerLayers
from ltxv_train_core.families.model import Model, ModelFacts
from ltxv_train_core.families.names import REFERENCE, TEXT_ENCODER, VAE, VIDEO
from ltxv_train_core.geometry import Grid, LatentSize, VideoSize
from ltxv_train_core.models.memory.activations import ActivationBytes

NAME, MINIATURE = "Toy", "TOY_MINIATURE"
GRID = Grid(spatial=16, temporal=4)
LIGHT, LIGHT_METER, WORDS = "light", "light_meter", "words"
VIDEO_CHANNELS, LIGHT_CHANNELS, WIDTH, TEXT_WIDTH, BLOCKS = 6, 2, 32, 8, 2
LINEAR = ("to_q", "to_k", "to_v", "to_out")
BYTES = ActivationBytes(block=30.0, recomputed=2.0, shared=10.0)


class VideoFormat:
    channels, encoder, roles = VIDEO_CHANNELS, VAE, frozenset({REFERENCE})
    sound_rate = None

    def latent_shape(self, size: VideoSize, fps: float) -> LatentSize:
        return GRID.latent(size)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return GRID.latent(size).tokens

    def takes_reference(self, shape: Sequence[int], size: VideoSize, fps: float) -> bool:
        return tuple(shape) == GRID.latent(size)

    def seconds(self, latent: int, fps: float) -> tuple[float, float]:
        raise NotImplementedError


class LightFormat:
    """A point for every second frame, whatever the grid."""

    channels, encoder, roles = LIGHT_CHANNELS, LIGHT_METER, frozenset()
    sound_rate = None

    def latent_shape(self, size: VideoSize, fps: float) -> tuple[int, ...]:
        return ((size.frames + 1) // 2,)

    def tokens(self, size: VideoSize, fps: float) -> int:
        return self.latent_shape(size, fps)[0]

    def takes_reference(self, shape: Sequence[int], size: VideoSize, fps: float) -> bool:
        return False

    def seconds(self, latent: int, fps: float) -> tuple[float, float]:
        raise NotImplementedError


class PixelVae:
    """Mean colours of 16 x 16 pixels, twice; every fourth frame."""

    def to(self, device: torch.device) -> "PixelVae":
        return self

    def in_tiles(self, tile_px: int, tile_frames: int | None = None) -> "PixelVae":
        return self

    def encode(self, frames: Tensor) -> Tensor:
        small = nn.functional.avg_pool3d(frames[:, :, ::4], (1, 16, 16))
        return torch.cat([small, -small], dim=1)

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        frames = (latents.shape[2] - 1) * 4 + 1
        size = (frames, latents.shape[3] * 16, latents.shape[4] * 16)
        return nn.functional.interpolate(latents[:, :3].float(), size=size)


class LightMeter:
    """Mean brightness of every second frame, and its opposite."""

    def to(self, device: torch.device) -> "LightMeter":
        return self

    def in_tiles(self, tile_px: int, tile_frames: int | None = None) -> "LightMeter":
        return self

    def encode(self, frames: Tensor) -> Tensor:
        curve = frames[:, :, ::2].mean(dim=(1, 3, 4))
        return torch.stack([curve, -curve], dim=1)

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError


class LetterEncoder:
    """A token for each letter."""

    def to(self, device: torch.device) -> "LetterEncoder":
        return self

    def in_eight_bits(self) -> "LetterEncoder":
        return self

    def in_four_bits(self) -> "LetterEncoder":
        return self

    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        return [
            {WORDS: torch.tensor([[ord(letter) / 128] * TEXT_WIDTH for letter in text or " "])}
            for text in prompts
        ]


@dataclass(frozen=True)
class ToyStream:
    """Tokens of all places of a stream, in order; positions have as many axes as the latents."""

    channels: int
    loss_weight: float
    shift_limit: float = 1.0
    uniform_share: float = 0.0
    is_stretched: bool = False

    def to_tokens(self, latents: Tensor) -> Tensor:
        return latents.flatten(2).transpose(1, 2)

    def to_latents(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, tuple(shape))

    def positions(self, shape: Sequence[int], fps: Tensor) -> Tensor:
        axes = torch.meshgrid(*(torch.arange(length) for length in shape), indexing="ij")
        grid = torch.stack([axis.flatten() for axis in axes]).float()
        return grid.expand(len(fps), -1, -1)

    noises_references: bool = True

    def reference_positions(
        self, shape: Sequence[int], target: Sequence[int], fps: Tensor
    ) -> Tensor:
        return self.positions(shape, fps)

    def shift(self, tokens: int) -> float:
        return 0.5


def saved_bytes(
    config: Mapping[str, Any],
    tokens: Mapping[str, int],
    samples: int,
    training_mode: str,
    precision: str,
    recomputed: int,
    compiled: bool,
) -> int:
    return BYTES.bytes(sum(tokens.values()), WIDTH, BLOCKS, recomputed)


class Block(nn.Module):
    """Attention over the tokens of all streams."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in LINEAR})

    def forward(self, hidden: Tensor) -> Tensor:
        q, k, v = (self.mix[name](hidden) for name in LINEAR[:3])
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return hidden + self.mix["to_out"](mixed)


class ToyTransformer(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Both streams and the text in one row of tokens."""

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(self, num_layers: int = BLOCKS) -> None:
        super().__init__()
        self.video_in, self.light_in = (
            nn.Linear(channels + 1, WIDTH) for channels in (VIDEO_CHANNELS, LIGHT_CHANNELS)
        )
        self.text_in = nn.Linear(TEXT_WIDTH, WIDTH)
        self.transformer_blocks = nn.ModuleList(Block() for _ in range(num_layers))
        self.video_out = nn.Linear(WIDTH, VIDEO_CHANNELS)
        self.light_out = nn.Linear(WIDTH, LIGHT_CHANNELS)

    def forward(
        self, video: StreamInput, light: StreamInput, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = [
            project(torch.cat([one.tokens, one.levels[..., None]], dim=-1).to(self.dtype))
            for project, one in ((self.video_in, video), (self.light_in, light))
        ]
        hidden = torch.cat([*rows, self.text_in(text.to(self.dtype))], dim=1)
        for block in self.transformer_blocks:
            hidden = block(hidden)
        count = video.tokens.shape[1]
        end = count + light.tokens.shape[1]
        return self.video_out(hidden[:, :count]), self.light_out(hidden[:, count:end])


@dataclass
class ToyDenoiser:
    """Both streams at once."""

    transformer: Any

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @property
    def streams(self) -> Mapping[str, ToyStream]:
        return {VIDEO: ToyStream(VIDEO_CHANNELS, 1.0), LIGHT: ToyStream(LIGHT_CHANNELS, 0.5)}

    @property
    def stg_blocks(self) -> tuple[int, ...]:
        return (0,)

    def without_self_attention(
        self, blocks: Sequence[int], streams: Collection[str]
    ) -> AbstractContextManager[None]:
        raise NotImplementedError

    def as_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        return dict(state), {}

    def write_folder(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        self.transformer.save_pretrained(folder / "transformer")

    def denoise(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        video, light = self.transformer(inputs[VIDEO], inputs[LIGHT], text.tensors[WORDS])
        return {VIDEO: video, LIGHT: light}

    def sampling_levels(self, steps: int, tokens: Mapping[str, int]) -> Tensor:
        return torch.linspace(1.0, 0.0, steps + 1)


class ToyPart:
    """A part that is made anew, the same each time."""

    width = TEXT_WIDTH

    def __init__(self, kind: type):
        self.kind = kind
        self.identity = self.content = f"toy {kind.__name__}"

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> Any:
        return self.kind()


class ToyTransformerPart:
    """Random weights of one seed."""

    identity = content = "toy transformer"
    facts = ModelFacts(False, TEXT_WIDTH, "letters", "toy", {"num_layers": BLOCKS})
    module_names = None

    def require(self) -> None:
        pass

    def load(self, dtype: torch.dtype) -> ToyTransformer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = ToyTransformer()
        return made if dtype == torch.float32 else made.to(dtype)

    def denoiser(self, transformer: Any) -> ToyDenoiser:
        return ToyDenoiser(transformer)


LAYERS = TransformerLayers(
    tensor_names=("transformer_blocks.",),
    comfy={},
    most_blocks=BLOCKS,
    new_transformer=lambda config: ToyTransformer(config["num_layers"]),
    shapes=lambda config: {
        name: tuple(tensor.shape)
        for name, tensor in ToyTransformer(config["num_layers"]).state_dict().items()
    },
    richest={},
)
"""Names are the same in every form."""


TOY = Family(
    name=NAME,
    grid=GRID,
    streams={VIDEO: VideoFormat(), LIGHT: LightFormat()},
    text=(WORDS,),
    sizes=(ModelSize("tiny", BLOCKS, WIDTH, 20_000, BYTES),),
    architecture="toy",
    called="toy",
    versions={},
    repositories=frozenset(),
    layers=LAYERS,
    miniature=MINIATURE,
    shipped=Path(__file__).parent,
    saved_bytes=saved_bytes,
    text_encoder_bytes=1000,
)


class ToyOpener:
    """The one model of the family: it ships."""

    FAMILY = TOY

    def recognises(self, place: Path) -> bool:
        return False

    def open_place(self, name: str, place: object, report: object, stop: object) -> Model:
        parts = {
            VAE: ToyPart(PixelVae),
            LIGHT_METER: ToyPart(LightMeter),
            TEXT_ENCODER: ToyPart(LetterEncoder),
        }
        return Model(MINIATURE, TOY, ToyTransformerPart(), parts)

    def open_text_encoder(
        self, source: str, model: object, report: object, stop: object
    ) -> ToyPart:
        return ToyPart(LetterEncoder)

    def open_audio_vae(self, source: str) -> ToyPart:
        return self.open_vae(source, None, None)

    def open_text_projection(self, source: str) -> ToyPart:
        return self.open_vae(source, None, None)

    def open_vae(self, source: str, report: object, stop: object) -> ToyPart:
        return ToyPart(PixelVae)


@contextmanager
def known() -> Iterator[Family]:
    """Lets the program know the family."""
    registry.FAMILIES.append(TOY)
    opening.OPENERS[NAME], grids.GRIDS[NAME] = ToyOpener(), GRID
    try:
        yield TOY
    finally:
        registry.FAMILIES.remove(TOY)
        del opening.OPENERS[NAME], grids.GRIDS[NAME]
