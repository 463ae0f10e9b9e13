"""Linear layers with an adapter that is trained, other than a LoRA.

peft has such layers too. Its LoKr and LoHa draw from the global random state in every pass, and make the whole change of
the weight; its DoRA takes stored integers for weights, and measures rows, which ComfyUI samples otherwise; its OFT
rotates inputs, which no file for ComfyUI can say.

Shapes: "..." batch and tokens, o outputs and i inputs of the layer, r rank, k blocks of n outputs.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import LoRAConfig
from ..models.memory.frozen_linear import FrozenLinear
from .adapter_parts import layer_parts
from .adapter_shapes import adapter_shapes
from .lora import (
    EPSILON,
    AdapterLayer,
    DoRALayer,
    LoHaLayer,
    LoKrLayer,
    LoRALayer,
    OFTLayer,
    rotation,
)

Dropout = Callable[[Tensor], Tensor]


class AdaptedLinear(nn.Module, ABC):
    """A frozen linear layer with an adapter in float32.

    Attributes:
        base_layer: what it was.
        rank: as it was asked for.
        trained: what is trained, by its name in a file with dots as underscores.
        is_off: the layer does what it did before.
    """

    is_off = False

    def __init__(self, base: nn.Linear, config: LoRAConfig, rank: int, dropout: Dropout):
        """
        Args:
            rank: of this layer; the scale is the same in all layers.
        """
        super().__init__()
        self.base_layer, self.scale, self.dropout, self.rank = base, config.scale, dropout, rank
        self.in_features, self.out_features = base.in_features, base.out_features
        shapes = adapter_shapes(config, base.out_features, base.in_features, rank)
        self.trained = nn.ParameterDict(
            {
                name.replace(".", "_"): nn.Parameter(torch.zeros(shape, device=base.weight.device))
                for name, shape in shapes.items()
            }
        )

    @property
    def weight(self) -> Tensor:
        """Of the layer that it was, as it is stored."""
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        """Of the layer that it was."""
        return self.base_layer.bias

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """Draws initial weights with which the layer does what it did before."""

    @abstractmethod
    def as_layer(self) -> AdapterLayer:
        """What it does now, with the scale in its tensors."""

    def forward(self, x: Tensor) -> Tensor:
        """Takes [..., i], gives [..., o]."""
        made: Tensor = self.base_layer(x) if self.is_off else self.adapted(x)
        return made

    @abstractmethod
    def adapted(self, x: Tensor) -> Tensor:
        """As `forward`, with the adapter."""

    @torch.no_grad()
    def take(self, layer: AdapterLayer) -> None:
        """Begins with what a file has. The shapes are those of this layer."""
        for name, value in layer_parts(layer).items():
            self.trained[name.replace(".", "_")].copy_(value)
        self._unscale()

    def _unscale(self) -> None:
        """Takes the scale out of the tensor that has it in files."""

    def _draw(self, generator: torch.Generator, *names: str) -> None:
        for name in names:
            drawn = torch.empty(self.trained[name].shape)
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
            with torch.no_grad():
                self.trained[name].copy_(drawn)


class DoRALinear(AdaptedLinear):
    """Columns of the weight with a LoRA get lengths that are trained. What they are divided by is a constant of each
    step (Liu et al. 2024, section 4.3).

    Attributes:
        squares: of the lengths of the weight's columns [i].
    """

    squares: Tensor

    def __init__(self, base: nn.Linear, config: LoRAConfig, rank: int, dropout: Dropout):
        super().__init__(base, config, rank, dropout)
        squares = torch.linalg.vector_norm(_whole(base), dim=0).square()
        self.register_buffer("squares", squares, persistent=False)

    def reset(self, generator: torch.Generator) -> None:
        self._draw(generator, "lora_A_weight")
        with torch.no_grad():
            self.trained["dora_scale"].copy_(self.squares.sqrt()[None])

    def as_layer(self) -> AdapterLayer:
        down, up = self.trained["lora_A_weight"], self.trained["lora_B_weight"]
        lora = LoRALayer(down, up, self.scale * len(down))
        return DoRALayer(lora, self.trained["dora_scale"])

    def adapted(self, x: Tensor) -> Tensor:
        # Rounded to half precision, a factor near 1 would stand still for most of a training.
        x = (x * (self.trained["dora_scale"][0] / (self._lengths() + EPSILON))).to(x.dtype)
        low = F.linear(self.dropout(x), self.trained["lora_A_weight"].to(x.dtype))
        up = self.trained["lora_B_weight"] * self.scale
        made: Tensor = self.base_layer(x)
        result: Tensor = made + F.linear(low, up.to(low.dtype)).to(made.dtype)
        return result

    @torch.no_grad()
    def _lengths(self) -> Tensor:
        """Of the columns of the weight with the LoRA in it [i], without making that."""
        down, up = self.trained["lora_A_weight"], self.trained["lora_B_weight"] * self.scale
        with torch.autocast(up.device.type, enabled=False):
            crossed = ((up.T @ _whole(self.base_layer)) * down).sum(0)
            added = ((up.T @ up) @ down * down).sum(0)
        lengths: Tensor = (self.squares + 2 * crossed + added).clamp(min=0).sqrt()
        return lengths

    def _unscale(self) -> None:
        self.trained["lora_B_weight"].div_(self.scale)


class LoKrLinear(AdaptedLinear):
    """Adds the product with a Kronecker product, factor by factor."""

    def reset(self, generator: torch.Generator) -> None:
        self._draw(generator, *(name for name in self.trained if name != "lokr_w1"))

    def as_layer(self) -> AdapterLayer:
        own = self.trained
        second = own.get("lokr_w2")
        factors = () if second is not None else (own["lokr_w2_a"], own["lokr_w2_b"])
        return LoKrLayer(own["lokr_w1"] * self.scale, second, *factors)

    def adapted(self, x: Tensor) -> Tensor:
        own, made = self.trained, self.base_layer(x)
        first = own["lokr_w1"] * self.scale
        parts = self.dropout(x).unflatten(-1, (first.shape[1], -1))
        names = ("lokr_w2",) if "lokr_w2" in own else ("lokr_w2_b", "lokr_w2_a")
        for name in names:
            parts = F.linear(parts, own[name].to(parts.dtype))
        parts = F.linear(parts.mT, first.to(parts.dtype)).mT
        added: Tensor = made + parts.flatten(-2).to(made.dtype)
        return added

    def _unscale(self) -> None:
        self.trained["lokr_w1"].div_(self.scale)


class LoHaLinear(AdaptedLinear):
    """Adds the product with two LoRAs that are multiplied value by value."""

    def reset(self, generator: torch.Generator) -> None:
        self._draw(generator, "hada_w1_a", "hada_w1_b", "hada_w2_a")

    def as_layer(self) -> AdapterLayer:
        first, *others = (self.trained[name] for name in _LOHA)
        return LoHaLayer(first * self.scale, *others)

    def adapted(self, x: Tensor) -> Tensor:
        first, *others = (self.trained[name] for name in _LOHA)
        given, kind = self.dropout(x), x.device.type
        if torch.is_autocast_enabled(kind):
            given = given.to(torch.get_autocast_dtype(kind))
        made: Tensor = self.base_layer(x)
        added: Tensor = _LoHaProduct.apply(given, first * self.scale, *others)
        return made + added.to(made.dtype)

    def _unscale(self) -> None:
        self.trained["hada_w1_a"].div_(self.scale)


class _LoHaProduct(torch.autograd.Function):
    """The product with (a @ b) * (c @ d), of which only the factors are saved: the others are as large as the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *factors: Tensor) -> Tensor:
        ctx.save_for_backward(x, *factors)
        with torch.autocast(x.device.type, enabled=False):
            first, second = _two_products(factors)
            return F.linear(x, (first * second).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (grad,) = gradients
        x, a, b, c, d = ctx.saved_tensors
        first, second = _two_products((a, b, c, d))
        to_x = grad @ (first * second).to(grad.dtype)
        to_change = (grad.flatten(0, -2).T @ x.flatten(0, -2)).float()
        to_first, to_second = to_change * second, to_change * first
        return to_x, to_first @ b.T, a.T @ to_first, to_second @ d.T, c.T @ to_second


def _two_products(factors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    a, b, c, d = factors
    return a @ b, c @ d


class OFTLinear(AdaptedLinear):
    """Rotates the outputs in blocks, all but what the bias adds."""

    def reset(self, generator: torch.Generator) -> None:
        pass  # zeros rotate nothing

    def as_layer(self) -> AdapterLayer:
        return OFTLayer(self.trained["oft_blocks"])

    def adapted(self, x: Tensor) -> Tensor:
        blocks, made = self.trained["oft_blocks"], self.base_layer(x)
        with torch.autocast(blocks.device.type, enabled=False):
            turn = rotation(blocks)
        bias = self.base_layer.bias
        turned = made if bias is None else made - bias.to(made.dtype)
        parts = turned.unflatten(-1, blocks.shape[:2])
        added = torch.einsum("...kn,knm->...km", parts, turn.to(parts.dtype))
        result: Tensor = made + added.flatten(-2).to(made.dtype)
        return result


_LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
ADAPTER_MODULES: dict[str, type[AdaptedLinear]] = {
    "dora": DoRALinear,
    "lokr": LoKrLinear,
    "loha": LoHaLinear,
    "oft": OFTLinear,
}
"""By the name in `lora.adapter`."""


def _whole(layer: nn.Linear) -> Tensor:
    """The weights of a layer, float32 [o, i], however they are stored."""
    if isinstance(layer, FrozenLinear):
        return layer.dequantized()
    return layer.weight.detach().float()
