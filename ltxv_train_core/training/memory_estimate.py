"""What a run takes on its device, from sizes alone: no weights are read.

An estimate: attention's and the allocator's working memory come on top.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..config import LoRAConfig, TrainingConfig
from ..families.family import Family
from ..lora.adapter_shapes import PLAIN, adapter_shapes
from ..models.compile import why_not
from ..models.memory.host_inputs import HELD_ON_DEVICE
from ..models.memory.kinds import BITS, SCALE_BITS
from ..models.precision import base_dtype, file_dtype
from ..optim.rounded_adamw import NUMBERS_AT_ONCE
from ..units import GIB
from .transformer_sizes import TransformerSizes

FLOAT32_BYTES = 4
GRADIENT_BYTES = 4
OPTIMIZER_BYTES = {
    "adamw8bit": 2,
    "adafactor": 0,
    "prodigy": 16,
    "lion": 4,
    "came": 4,
    "muon": 4,
    "prodigy_schedulefree": 5,
}
ADAMW_BYTES = 8
ADAMW_IN_BF16_BYTES = 4
ROUNDING_BYTES = 28
"""Of each number that `RoundedAdamW` computes at a time: weight, gradient, moments, their square root, what is drawn."""
HALF_BYTES = 2
HALF_COPY_BYTES = 2  # autocast keeps one of every trained weight
AVERAGE_BYTES = 4
MOST_OFFLOADED_ON_DEVICE = 2
"""Blocks of the offloaded ones whose weights are on the device at a time, see `models/memory/offload.py`."""


@dataclass(frozen=True)
class TrainingBytes:
    """What a run takes on its device, in bytes.

    The backward pass begins with all activations and ends with all gradients: both are never there whole at once,
    but where gradients of several passes are added up.

    Attributes:
        base: the transformer's weights; in full training they are what is trained.
        trained: the LoRA's weights, optimizer state, average.
        gradients: at the end of the backward pass.
        activations: what a step saves for backward, with copies in half precision.
        last_block: what is left of that when all gradients are there.
        stepping: what the optimizer takes beside, when it moves the last weight.
        adds_up: gradients of earlier passes are there when activations are.
        recomputed: how many blocks are computed again.
        compiled: whether the others are compiled.
    """

    base: int
    trained: int
    gradients: int
    activations: int
    last_block: int
    stepping: int
    adds_up: bool
    recomputed: int
    compiled: bool

    @property
    def total(self) -> int:
        first = self.activations + (self.gradients if self.adds_up else 0)
        return (
            self.base
            + self.trained
            + max(first, self.gradients + max(self.last_block, self.stepping))
        )


def training_bytes(
    config: TrainingConfig, sizes: TransformerSizes, tokens: Mapping[str, int]
) -> TrainingBytes:
    """What a run takes on its device.

    Args:
        sizes: of the model that `config.model` names.
        tokens: of the largest clip by stream, its reference included.

    Raises:
        ConfigurationError: a target module of the LoRA matches no layer.
    """
    is_full = config.model.training_mode == "full"
    numbers = trained_numbers(config, sizes)
    largest = sizes.largest if is_full else _largest_trained(config.lora, sizes)
    saved = saved_bytes(config, sizes.description.family, sizes.config, tokens)
    if not is_full:
        layers = [sizes.linear[name] for name in sizes.lora_layers(config.lora)]
        saved = with_adapter(saved, adapter_bytes(config, layers, tokens), sizes.blocks)
    found = bytes_beside_weights(config, numbers, largest, sizes.blocks, saved)
    if is_full:
        return replace(found, base=numbers * weight_bytes(config))
    trained = found.trained + numbers * FLOAT32_BYTES
    return replace(found, base=_frozen_base(config, sizes), trained=trained)


Saved = Callable[[int, int], int]
"""Bytes of a step's activations, by how many blocks there are and how many of them are computed again."""

_ADAPTER_SHARES = {"dora": (0.0, 0.75), "lokr": (0.0, 0.75), "oft": (0.5, 0.0)}
"""Of a layer's outputs and of its inputs, what is kept for backward beside what a LoRA keeps. Counted as autograd saves
it, on attention; a test counts again."""


def adapter_bytes(
    config: TrainingConfig, layers: Iterable[tuple[int, int]], tokens: Mapping[str, int]
) -> int:
    """What a step keeps for backward in layers [outputs, inputs] with the run's adapter, beside what a LoRA keeps."""
    shares = _ADAPTER_SHARES.get(config.lora.adapter, (0.0, 0.0))
    if config.model.training_mode == "full" or not any(shares):
        return 0
    number = FLOAT32_BYTES if forward_precision(config) == "float32" else HALF_BYTES
    kept = sum(shares[0] * outputs + shares[1] * inputs for outputs, inputs in layers)
    return round(kept * number * max(tokens.values()) * config.optimization.batch_size)


def with_adapter(saved: Saved, added: int, blocks: int) -> Saved:
    """Bytes of a step's activations with what an adapter adds in all blocks."""

    def with_it(count: int, recomputed: int) -> int:
        kept = count - recomputed + min(recomputed, 1)
        return saved(count, recomputed) + round(added / blocks * kept)

    return with_it


def _largest_trained(lora: LoRAConfig, sizes: TransformerSizes) -> int:
    """Numbers of an adapter's largest tensor."""
    layers = sizes.lora_layers(lora)
    if lora.adapter in PLAIN:
        return max(layers.values()) * max(map(max, sizes.linear.values()))
    shapes = (adapter_shapes(lora, *sizes.linear[n], rank) for n, rank in layers.items())
    return max(math.prod(shape) for each in shapes for shape in each.values())


def saved_bytes(
    config: TrainingConfig,
    family: Family,
    transformer: Mapping[str, Any],
    tokens: Mapping[str, int],
) -> Saved:
    """What a step keeps for its backward pass.

    Args:
        transformer: its configuration.
        tokens: of the largest clip by stream.
    """
    batch = config.optimization.batch_size
    in_batch = {stream: count * batch for stream, count in tokens.items()}
    mode, precision = config.model.training_mode, forward_precision(config)
    compiled = is_compiled(config)

    def saved(blocks: int, recomputed: int) -> int:
        away = inputs_on_host(config, recomputed)  # keep nothing, as though there were fewer blocks
        counted = {**transformer, "num_layers": blocks - away}
        return family.saved_bytes(
            counted, in_batch, batch, mode, precision, recomputed - away, compiled
        )

    return saved


def is_compiled(config: TrainingConfig) -> bool:
    """Whether a run's blocks are compiled, on a GPU that has a compiler."""
    options = config.acceleration
    pays = why_not(options, config.optimization.steps, "cuda") is None
    return options.compile_with_inductor and pays


def inputs_on_host(config: TrainingConfig, recomputed: int) -> int:
    """How many blocks have their inputs in memory of the host, where so many are computed again."""
    return max(0, recomputed - HELD_ON_DEVICE) if config.optimization.activations_on_host else 0


def bytes_beside_weights(
    config: TrainingConfig,
    numbers: int,
    largest: int,
    blocks: int,
    saved: Saved,
    free: float = math.inf,
) -> TrainingBytes:
    """What a step takes beside the weights.

    Args:
        numbers: that are trained.
        largest: numbers of the largest trained weight.
        free: bytes that the device has for all of it.
    """
    options, each = config.optimization, weight_bytes(config)
    is_half = each != FLOAT32_BYTES
    on_device = options.ema_decay is not None and not options.ema_on_host
    trained = numbers * (state_bytes(config) + (AVERAGE_BYTES if on_device else 0))
    gradients = each * (largest if options.release_gradients else numbers)
    is_cast = forward_precision(config) == "half" and not is_half
    copies = HALF_COPY_BYTES * numbers if is_cast else 0
    adds_up = options.gradient_accumulation_steps > 1
    room = free - trained - copies - (gradients if adds_up else 0)
    again = recomputed_blocks(config, blocks, lambda count: saved(blocks, count), room)
    return TrainingBytes(
        base=0,
        trained=trained,
        gradients=gradients,
        activations=saved(blocks, again) + copies,
        last_block=saved(1, min(again, 1)),
        stepping=ROUNDING_BYTES * min(largest, NUMBERS_AT_ONCE) if is_half else 0,
        adds_up=adds_up,
        recomputed=again,
        compiled=is_compiled(config),
    )


def activation_bytes_on_host(
    config: TrainingConfig, sizes: TransformerSizes, tokens: Mapping[str, int]
) -> int:
    """Of `optimization.activations_on_host`."""
    found = training_bytes(config, sizes, tokens)
    options = config.optimization.model_copy(update={"activations_on_host": False})
    on_device = config.model_copy(update={"optimization": options})
    family, blocks = sizes.description.family, sizes.blocks
    whole, part = (
        saved_bytes(each, family, sizes.config, tokens)(blocks, found.recomputed)
        for each in (on_device, config)
    )
    return whole - part


def average_bytes_on_host(config: TrainingConfig, sizes: TransformerSizes) -> int:
    """Of `optimization.ema_on_host`."""
    if config.optimization.ema_decay is None or not config.optimization.ema_on_host:
        return 0
    return AVERAGE_BYTES * trained_numbers(config, sizes)


def trained_numbers(config: TrainingConfig, sizes: TransformerSizes) -> int:
    """How many numbers a run trains.

    Raises:
        ConfigurationError: a target module of the LoRA matches no layer.
    """
    is_full = config.model.training_mode == "full"
    return sizes.numbers if is_full else sizes.lora_numbers(config.lora)


def weight_bytes(config: TrainingConfig) -> int:
    """Of one trained number, and of its gradient."""
    is_full = config.model.training_mode == "full"
    return file_dtype(config.optimization.trained_weights if is_full else "float32").itemsize


def state_bytes(config: TrainingConfig) -> int:
    """Of the optimizer, for one trained number."""
    if weight_bytes(config) != FLOAT32_BYTES:
        return ADAMW_IN_BF16_BYTES
    return OPTIMIZER_BYTES.get(config.optimization.optimizer_type, ADAMW_BYTES)


def forward_precision(config: TrainingConfig) -> str:
    """Of the forward pass: "half" or "float32"."""
    return "float32" if config.acceleration.mixed_precision_mode == "no" else "half"


def recomputed_blocks(
    config: TrainingConfig, blocks: int, saved: Callable[[int], int], free: float = math.inf
) -> int:
    """How many of the blocks are computed again in the backward pass.

    Args:
        saved: bytes that a step keeps if so many are.
        free: bytes that the device has for that.
    """
    if config.optimization.enable_gradient_checkpointing:
        return blocks
    offloaded = min(config.acceleration.blocks_to_offload, blocks)
    budget = config.optimization.checkpointing_budget
    if budget is None:
        return offloaded
    allowed = min(budget * GIB, free)
    return next((n for n in range(offloaded, blocks) if saved(n) <= allowed), blocks)


def offloaded_bytes(config: TrainingConfig, sizes: TransformerSizes) -> int:
    """What of the frozen base waits in memory of the host."""
    if config.model.training_mode == "full":
        return 0
    on_device = config.acceleration.model_copy(update={"blocks_to_offload": 0})
    whole = config.model_copy(update={"acceleration": on_device})
    return _frozen_base(whole, sizes) - _frozen_base(config, sizes)


def _frozen_base(config: TrainingConfig, sizes: TransformerSizes) -> int:
    """Bytes of the frozen weights that are on the device at a time."""
    options = config.acceleration
    number = base_dtype(options.mixed_precision_mode).itemsize
    matrix: float = number
    if sizes.description.is_fp8:
        matrix = 1
    elif options.quantization is not None:
        kind = options.quantization
        matrix = (BITS[kind] + SCALE_BITS.get(kind, 0)) / 8
    in_blocks = sizes.matrices * matrix + sizes.block_rest * number
    offloaded = min(options.blocks_to_offload, sizes.blocks)
    away = offloaded - min(offloaded, MOST_OFFLOADED_ON_DEVICE)
    return round(in_blocks * (1 - away / sizes.blocks) + sizes.outside * number)
