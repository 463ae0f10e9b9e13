"""Proposes a whole configuration, with reasons."""

from collections.abc import Iterator

from ..config import AccelerationConfig, TrainingConfig
from ..errors import ConfigurationError
from ..training.capabilities import unavailable_here
from ..training.memory_estimate import training_bytes
from .draft import Draft, conditioning_mode, is_full
from .ladder import Rung
from .proposal import Proposal, gib
from .request import RecipeRequest
from .timing import measured_time
from .too_large import too_large


def propose(request: RecipeRequest) -> Proposal:
    """A whole configuration for a goal, a card, a model and a data set.

    The goal, the number of clips and the effort decide what is trained and how long. Of the settings that
    decide about memory, the fastest are taken whose estimate leaves room on the card, see `ladder.ladder`:
    a larger card never gets leaner ones. Given sections stay as they are. No weights are read.

    Raises:
        ConfigurationError: no settings fit, which says what would; or sections don't fit together.
        DataError: the data set can't be used.
        ModelError: there is no such model, or its sizes aren't known before a download.
        NotAllowedError: something may not be read.
    """
    draft = Draft.of(request)
    sizes = [draft.memory(rung) for rung in draft.rungs]
    fitting = [n for n, size in enumerate(sizes) if size.total <= request.usable_bytes]
    if not fitting:
        raise ConfigurationError([too_large(draft)])
    number, passed_over = _usable_here(draft, fitting)
    rung, memory = draft.rungs[number], sizes[number]
    config = draft.configuration(rung)
    faster = number - 1
    return Proposal(
        summary=_summary(draft),
        configuration=config,
        choices=draft.choices_with(rung),
        memory=memory,
        card_bytes=request.card_bytes,
        usable_bytes=request.usable_bytes,
        faster_bytes=sizes[faster].total if faster >= 0 and faster not in fitting else None,
        time=measured_time(config, draft.clips),
        remarks=(*_remarks(draft, config), *passed_over),
    )


def _usable_here(draft: Draft, fitting: list[int]) -> tuple[int, list[str]]:
    """The first fitting rung that the device can follow, and why others before it can't be.

    Raises:
        ConfigurationError: it can follow none of them.
    """
    passed_over: list[str] = []
    for number in fitting:
        problems = _problems_here(draft, draft.rungs[number])
        if not problems:
            return number, passed_over
        passed_over += [line for line in problems if line not in passed_over]
    raise ConfigurationError(passed_over)


def _problems_here(draft: Draft, rung: Rung) -> list[str]:
    """Options of a rung that can't work on the device."""
    device = draft.request.device
    if device is None:
        return []
    options = {choice.option for choice in rung}
    found = unavailable_here(draft.configuration(rung), device)
    return [line for line in found if line.partition(":")[0] in options]


def _summary(draft: Draft) -> str:
    request = draft.request
    return (
        f"goal {request.goal}, {request.effort} effort: {draft.sizes.description.name}, "
        f"{draft.clips.count} clips, most of them {draft.clips.size}, a card of {gib(request.card_bytes)}"
    )


def _remarks(draft: Draft, config: TrainingConfig) -> Iterator[str]:
    """What the user should know of a proposal."""
    request = draft.request
    if is_full(request) != (request.goal == "full"):
        yield f"model.training_mode {config.model.training_mode} is given; goal {request.goal} has the other"
    if (conditioning_mode(request) == "reference_video") != (request.goal == "ic-lora"):
        yield f"conditioning.mode {config.conditioning.mode} is given; goal {request.goal} has the other"
    if config.acceleration.blocks_to_offload:
        whole = config.model_copy(
            update={
                "acceleration": AccelerationConfig(
                    **{**config.acceleration.model_dump(), "blocks_to_offload": 0}
                )
            }
        )
        tokens = draft.clips.tokens
        on_host = (
            training_bytes(whole, draft.sizes, tokens).base
            - training_bytes(config, draft.sizes, tokens).base
        )
        yield f"at least {gib(on_host)} of the base lie in host memory"
    if not config.validation.prompts:
        yield "no samples while it trains: there is no prompt"
