"""Proposes a whole configuration, with reasons."""

from collections.abc import Iterator

from ..config import TrainingConfig
from ..errors import ConfigurationError
from ..training.capabilities import unavailable_here
from ..training.memory_estimate import TrainingBytes, offloaded_bytes
from ..units import byte_size
from .draft import Draft, conditioning_mode, is_full
from .ladder import Rung
from .proposal import Proposal
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
    missing: list[str] = []
    while True:
        rung, memory, faster_bytes = _first_that_fits(draft, missing)
        problems = _problems_here(draft, rung)
        if not problems:
            break
        assert not draft.base.unavailable & problems.keys(), problems
        missing += problems.values()
        draft = draft.without(problems)
    config = draft.configuration(rung)
    return Proposal(
        summary=_summary(draft),
        configuration=config,
        choices=draft.choices_with(rung),
        memory=memory,
        card_bytes=request.card_bytes,
        usable_bytes=request.usable_bytes,
        faster_bytes=faster_bytes,
        time=measured_time(config, draft.clips),
        remarks=(*_remarks(draft, config), *missing),
    )


def _first_that_fits(draft: Draft, missing: list[str]) -> tuple[Rung, TrainingBytes, int | None]:
    """The first rung that fits, what it takes, and what the one before it takes.

    Args:
        missing: what can't work here, for the error.

    Raises:
        ConfigurationError: none fits.
    """
    before: int | None = None
    for rung in draft.rungs:
        memory = draft.memory(rung)
        if memory.total <= draft.request.usable_bytes:
            return rung, memory, before
        before = memory.total
    raise ConfigurationError([too_large(draft), *missing])


def _problems_here(draft: Draft, rung: Rung) -> dict[str, str]:
    """Why values of a rung can't work on the device, by value."""
    device = draft.request.device
    if device is None:
        return {}
    values = {choice.option: choice.value for choice in rung}
    found = {
        line.partition(":")[0]: line for line in unavailable_here(draft.configuration(rung), device)
    }
    return {values[option]: line for option, line in found.items() if option in values}


def _summary(draft: Draft) -> str:
    request = draft.request
    return (
        f"goal {request.goal}, {request.effort} effort: {draft.sizes.description.name}, "
        f"{draft.clips.text}, a card of {byte_size(request.card_bytes)}"
    )


def _remarks(draft: Draft, config: TrainingConfig) -> Iterator[str]:
    """What the user should know of a proposal."""
    request = draft.request
    if is_full(request) != (request.goal == "full"):
        yield f"model.training_mode {config.model.training_mode} is given; goal {request.goal} has the other"
    if (conditioning_mode(request) != "none") != (request.goal == "ic-lora"):
        yield f"conditioning.mode {config.conditioning.mode} is given; goal {request.goal} has the other"
    if config.acceleration.blocks_to_offload:
        away = byte_size(offloaded_bytes(config, draft.sizes))
        yield f"at least {away} of the base lie in host memory"
    if not config.validation.prompts:
        yield "no samples while it trains: there is no prompt"
