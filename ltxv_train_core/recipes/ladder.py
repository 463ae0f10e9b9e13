"""Settings that decide about memory, from the fastest to the leanest."""

from collections.abc import Iterable
from dataclasses import dataclass

from .proposal import Choice

CHECKPOINTING = "optimization.enable_gradient_checkpointing"
OPTIMIZER = "optimization.optimizer_type"
INPUTS_ON_HOST = "optimization.activations_on_host"
QUANTIZATION = "acceleration.quantization"
OFFLOAD = "acceleration.blocks_to_offload"
BATCH = "optimization.batch_size"
ACCUMULATION = "optimization.gradient_accumulation_steps"

OFFLOADED_QUARTERS = (1, 2, 3, 4)

_KINDS = (
    Choice(QUANTIZATION, "int8-quanto", "the base in 8 bits: half of bf16, and it changes little"),
    Choice(
        QUANTIZATION,
        "nf4",
        "the base in 4 bits (NF4): a quarter of bf16; it changes more than in 8 bits, and less is copied than "
        "with more blocks in host memory",
    ),
)

Rung = tuple[Choice, ...]
"""Settings that belong together, one of each kind."""


@dataclass(frozen=True)
class Base:
    """What the ladder of a run depends on.

    Attributes:
        is_full: every weight is trained, not a LoRA.
        samples_per_step: of one optimizer step.
        blocks: of the transformer.
        is_fp8: its frozen weights are in 8 bits already.
        can_offload: whether memory of the host is another one than the device's.
        unavailable: values of options that can't work here, such as "adamw8bit".
    """

    is_full: bool
    samples_per_step: int
    blocks: int
    is_fp8: bool = False
    can_offload: bool = True
    unavailable: frozenset[str] = frozenset()


def ladder(base: Base) -> list[Rung]:
    """Rungs from the fastest to the leanest.

    Each takes less than the one before it: first what leaves the result as it is, then what changes it little,
    then what costs time or changes it more. Of the same savings, fewer clips at a time are leaner.
    """
    fastest = [
        Choice(CHECKPOINTING, False, "activations fit, and a step takes a third less time"),
        Choice(OPTIMIZER, "adamw", "its state fits"),
    ]
    savings: list[Rung] = [
        (
            Choice(
                CHECKPOINTING,
                True,
                "activations are computed again in the backward pass: a step takes 1.3 to 1.6 times as long, "
                "its result is the same",
            ),
        ),
        (
            Choice(
                OPTIMIZER,
                "adamw8bit",
                "the optimizer's state in 8 bits: 2 bytes instead of 8 for each trained number",
            ),
        ),
    ]
    if base.is_full:
        savings.append(
            (Choice(OPTIMIZER, "adafactor", "keeps means of rows and columns instead of a state"),)
        )
        savings += _inputs_on_host(base)
    else:
        fastest += [
            Choice(
                QUANTIZATION,
                None,
                "the file is in 8 bits already" if base.is_fp8 else "the base fits as it is",
            ),
            Choice(OFFLOAD, 0, "all blocks fit"),
        ]
        savings += _frozen_savings(base)
    rungs: list[Rung] = []
    settings = {choice.option: choice for choice in fastest}
    for saving in ((), *savings):
        if base.unavailable & {choice.value for choice in saving}:
            continue
        settings |= {choice.option: choice for choice in saving}
        rungs += [(*settings.values(), *batch) for batch in _batches(base.samples_per_step)]
    return rungs


def _frozen_savings(base: Base) -> list[Rung]:
    """What saves memory of weights that aren't trained.

    Half of the blocks in 8 bits are on the device as all of them in 4: before more wait in host memory, which
    costs most time, they take 4 bits.
    """
    kinds = [] if base.is_fp8 else [kind for kind in _KINDS if kind.value not in base.unavailable]
    found: list[Rung] = [(kinds[0],)] if kinds else []
    found += _inputs_on_host(base)
    for kind in kinds[1:]:
        found += _offloaded(base, OFFLOADED_QUARTERS[:2])
        found.append((kind, Choice(OFFLOAD, 0, "all blocks fit")))
    return found + _offloaded(base, OFFLOADED_QUARTERS)


def _inputs_on_host(base: Base) -> list[Rung]:
    why = (
        "what checkpointing keeps of each block waits in host memory: far less to copy than weights, and the result "
        "is the same"
    )
    return [(Choice(INPUTS_ON_HOST, True, why),)] if base.can_offload else []


def _offloaded(base: Base, quarters: Iterable[int]) -> list[Rung]:
    counts = [base.blocks * quarter // 4 for quarter in quarters if base.can_offload]
    why = "of {} blocks stay in host memory and are copied before they run: slower"
    return [
        (Choice(OFFLOAD, count, f"{count} {why.format(base.blocks)}"),) for count in counts if count
    ]


def _batches(samples_per_step: int) -> list[Rung]:
    """So many samples of a step at a time, most first."""
    sizes = [n for n in range(samples_per_step, 0, -1) if samples_per_step % n == 0]
    why = f"{samples_per_step} for each step, as many of them at a time as fit"
    return [
        (Choice(BATCH, size, why), Choice(ACCUMULATION, samples_per_step // size, why))
        for size in sizes
    ]
