"""Says what is missing where no settings fit, and what would fit."""

from collections.abc import Iterator
from dataclasses import replace

from ..families.open import describe_model
from ..training.memory_estimate import TrainingBytes
from ..training.transformer_sizes import transformer_sizes
from ..units import GIB, byte_size
from .draft import Draft
from .names import CARDS_GB
from .request import RecipeRequest

LEAST_SHARE = 0.05
"""Of the tokens; smaller clips are none."""


def too_large(draft: Draft) -> str:
    """Why no settings fit, and what would."""
    request = draft.request
    least = min((draft.memory(rung) for rung in draft.rungs), key=lambda each: each.total)
    found = list(_what_fits(draft))
    return (
        f"card memory {byte_size(request.card_bytes)}: goal {request.goal} with "
        f"{draft.sizes.description.name} takes at least {byte_size(least.total)} (base {byte_size(least.base)}, "
        f"trained weights {byte_size(least.trained)}, gradients {byte_size(least.gradients)}, activations "
        f"{byte_size(least.activations)}), and a run may take {byte_size(request.usable_bytes)} of this card. What would fit: "
        + ("; ".join(found) or "none of the known cards and models")
    )


def _what_fits(draft: Draft) -> Iterator[str]:
    request = draft.request
    least = min((draft.memory(rung) for rung in draft.rungs), key=lambda each: each.total)
    for card in CARDS_GB:
        larger = replace(request, card_bytes=card * GIB)
        if larger.usable_bytes >= least.total:
            yield f"a card of {card} GB"
            break
    if (share := _share_of_clips(least, request.usable_bytes)) >= LEAST_SHARE:
        yield f"clips of at most {int(100 * share)} % of the pixels (width x height x frames)"
    if "model" in request.sections:
        return
    if request.goal == "full" and _fits(replace(request, goal="style")):
        yield "a LoRA: the goal style, character or motion"
    if smaller := _smaller_model(draft):
        yield f"the model {smaller}"


def _share_of_clips(needed: TrainingBytes, usable: int) -> float:
    """How much of the clips would fit: activations grow with them, at the beginning of the backward pass and at its end."""
    room = usable - needed.base - needed.trained
    at_end = room - needed.gradients
    at_begin = at_end if needed.adds_up else room
    return min(at_begin / max(1, needed.activations), at_end / max(1, needed.last_block))


def _smaller_model(draft: Draft) -> str | None:
    """The largest published model that fits and is smaller; of several, the one that came last and is
    not distilled."""
    family = draft.sizes.description.family
    sizes = {
        name: transformer_sizes(describe_model(name)).numbers
        for name, version in family.versions.items()
        if version.sampling.levels is None and version.sampling.guidance_scale > 1
    }
    for name, numbers in sorted(reversed(sizes.items()), key=lambda each: -each[1]):
        model = draft.request.model.model_copy(update={"model_source": name})
        if numbers < draft.sizes.numbers and _fits(replace(draft.request, model=model)):
            return name
    return None


def _fits(request: RecipeRequest) -> bool:
    """Whether some settings fit, for the same clips."""
    draft = Draft.of(request)
    return any(draft.memory(rung).total <= request.usable_bytes for rung in draft.rungs)
