"""What a model family is to the rest of the core: streams, text, and one denoiser.

Training steps and the sampler call the same denoiser, so that a model sees in training what it sees when it is
sampled. What else a family differs in (files, parts, names, sizes) lies in its own room.

Shapes: B batch, N tokens of what is denoised, M tokens in all (N, then those of a reference), C channels,
"..." what else a stream's latents have (a video's: frames, rows, columns), P axes of positions, L text tokens,
D text width.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..models.device import moved
from ..models.transformer import Transformer


class Stream(Protocol):
    """One kind of signal that a model denoises, such as video.

    Attributes:
        channels: of its latents.
        shift_limit: the largest shift that training uses where the user sets none.
        uniform_share: of samples whose noise level is drawn uniformly, where the user sets none.
        is_stretched: whether drawn levels are stretched to the whole range from 0 to 1.
        loss_weight: of its loss in that of a step.
        noises_references: whether ComfyUI's sampler draws noise for a reference as well, as it is a part of the
            latent there.
    """

    @property
    def channels(self) -> int: ...

    @property
    def shift_limit(self) -> float: ...

    @property
    def uniform_share(self) -> float: ...

    @property
    def is_stretched(self) -> bool: ...

    @property
    def loss_weight(self) -> float: ...

    def to_tokens(self, latents: Tensor) -> Tensor:
        """Latents [B, C, ...] to tokens [B, N, channels of a token]."""
        ...

    def to_latents(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        """Tokens to latents [B, C, *shape]."""
        ...

    def positions(self, shape: Sequence[int], fps: Tensor) -> Tensor:
        """Positions [B, P, N] of the tokens of latents of a shape, of clips at `fps` [B]."""
        ...

    @property
    def noises_references(self) -> bool: ...

    def reference_positions(
        self, shape: Sequence[int], target: Sequence[int], fps: Tensor
    ) -> Tensor:
        """Positions [B, P, N] of a reference of a shape, of a signal of the shape `target`."""
        ...

    def shift(self, tokens: int) -> float:
        """How far noise levels shift towards noise for a signal of so many tokens."""
        ...


def whole_tokens(stream: Stream, where: Tensor) -> Tensor:
    """Which tokens [B, N] lie with all their numbers where latents are marked: [B, ...], bool."""
    marked = where[:, None].expand(-1, stream.channels, *where.shape[1:])
    return stream.to_tokens(marked).all(dim=-1)


@dataclass(frozen=True)
class LevelRows:
    """The noise levels of a stream that differ: what depends on the level alone is computed for these.

    Attributes:
        levels: [B, T].
        row_of: [B, M] which of them each token has; None where there is one for all tokens.
    """

    levels: Tensor
    row_of: Tensor | None

    @classmethod
    def of(cls, levels: Tensor) -> "LevelRows":
        """Those of tokens' levels [B, M]. On a device it waits for the device."""
        found = [torch.unique(each, return_inverse=True) for each in levels]
        rows = pad_sequence([values for values, _ in found], batch_first=True)
        return cls(rows, torch.stack([of for _, of in found]) if rows.shape[1] > 1 else None)

    def to(self, device: torch.device) -> "LevelRows":
        row_of = None if self.row_of is None else moved(self.row_of, device)
        return LevelRows(moved(self.levels, device), row_of)


@dataclass(frozen=True)
class StreamInput:
    """What the model sees of one stream.

    Attributes:
        tokens: [B, M, C].
        levels: [B, M] noise level of each token, 0 (clean) to 1.
        positions: [B, P, M].
        reference_tokens: how many of the tokens, the last ones, are a reference's.
        rows: of the levels, where they are known already.
    """

    tokens: Tensor
    levels: Tensor
    positions: Tensor
    reference_tokens: int = 0
    rows: LevelRows | None = None

    @property
    def level_rows(self) -> LevelRows:
        return self.rows or LevelRows.of(self.levels)

    def to(self, device: torch.device) -> "StreamInput":
        return StreamInput(
            moved(self.tokens, device),
            moved(self.levels, device),
            moved(self.positions, device),
            self.reference_tokens,
            self.level_rows.to(device),
        )

    def first(self, samples: int) -> "StreamInput":
        """The same of the first samples of the batch."""
        return StreamInput(
            self.tokens[:samples],
            self.levels[:samples],
            self.positions[:samples],
            self.reference_tokens,
        )

    @classmethod
    def batch(cls, samples: Sequence["StreamInput"]) -> "StreamInput":
        """Several of the same sizes as one batch."""
        return cls(
            torch.cat([each.tokens for each in samples]),
            torch.cat([each.levels for each in samples]),
            torch.cat([each.positions for each in samples]),
            samples[0].reference_tokens,
        )

    def followed_by(self, other: "StreamInput") -> "StreamInput":
        """The same with the tokens of a reference behind."""
        return StreamInput(
            torch.cat([self.tokens, other.tokens], dim=1),
            torch.cat([self.levels, other.levels], dim=1),
            torch.cat([self.positions, other.positions], dim=2),
            self.reference_tokens + other.tokens.shape[1],
        )


Embedding = Mapping[str, Tensor]
"""One text: named tensors [L, D], without padding."""


@dataclass(frozen=True)
class Text:
    """Texts of a batch.

    Attributes:
        tensors: named, [B, L, D], padded with zeros.
        mask: [B, L] bool, true for real tokens.
        is_padded: whether some tokens aren't real.
    """

    tensors: Mapping[str, Tensor]
    mask: Tensor
    is_padded: bool = True

    @classmethod
    def padded(cls, embeddings: Sequence[Embedding]) -> "Text":
        """Texts of several lengths, padded to the longest."""
        lengths = torch.tensor([len(next(iter(each.values()))) for each in embeddings])
        return cls(
            {
                name: pad_sequence([each[name] for each in embeddings], batch_first=True)
                for name in embeddings[0]
            },
            torch.arange(int(lengths.max()))[None] < lengths[:, None],
            is_padded=bool(lengths.min() < lengths.max()),
        )

    def first(self, samples: int) -> "Text":
        """The texts of the first samples of the batch."""
        tensors = {name: tensor[:samples] for name, tensor in self.tensors.items()}
        return Text(tensors, self.mask[:samples], self.is_padded)

    def repeated(self, times: int) -> "Text":
        """A text of one sample for a batch of so many."""
        tensors = {
            name: tensor.expand(times, -1, -1).contiguous() for name, tensor in self.tensors.items()
        }
        return Text(tensors, self.mask.expand(times, -1).contiguous(), self.is_padded)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Text":
        tensors = {name: moved(tensor.to(dtype), device) for name, tensor in self.tensors.items()}
        return Text(tensors, moved(self.mask, device), self.is_padded)


class Denoiser(Protocol):
    """A transformer, called as its sampler calls it.

    Attributes:
        transformer: the module whose layers are trained; its blocks are `transformer_blocks`.
        streams: what it denoises, by name.
        stg_blocks: numbers of the blocks that spatio-temporal guidance leaves self-attention out of, where the
            user names none.
    """

    @property
    def transformer(self) -> Transformer: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def streams(self) -> Mapping[str, Stream]: ...

    @property
    def stg_blocks(self) -> tuple[int, ...]: ...

    def as_checkpoint(
        self, state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The transformer's tensors as ComfyUI's loaders name them, and the metadata that they read."""
        ...

    def write_folder(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Writes the transformer in the diffusers layout."""
        ...

    def denoise(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        """Predicted velocities [B, N, C] (noise - clean) of each stream, without those of references."""
        ...

    def without_self_attention(
        self, blocks: Sequence[int], streams: Collection[str]
    ) -> AbstractContextManager[None]:
        """Within it tokens of the streams see themselves alone in some blocks, by number.

        Raises:
            ConfigurationError: there are no such blocks.
        """
        ...

    def sampling_levels(self, steps: int, tokens: Mapping[str, int]) -> Tensor:
        """Noise levels [steps + 1] from 1 to 0 at which samplers call it for so many tokens a stream."""
        ...
