"""The recipes that ship as YAML files in `recipes/`, for usual cards and data sets."""

from ..config import ModelConfig, yaml_file
from ..families.registry import EARLIEST
from ..geometry import VideoSize
from ..units import GIB
from .clips import Clips
from .names import GOALS, Goal
from .proposal import Proposal
from .request import RecipeRequest

MODELS = {"2b": "LTXV_2B_0.9.6_DEV", "13b": "LTXV_13B_097_DEV"}
_CARDS: dict[Goal, tuple[tuple[str, int], ...]] = {
    **dict.fromkeys(GOALS, (("2b", 12), ("13b", 24), ("13b", 80))),
    "full": (("2b", 24), ("2b", 80)),
}
"""Models and cards in GB, by goal."""
CLIP_COUNTS: dict[Goal, int] = {"ic-lora": 50, "full": 100}
USUAL_CLIPS = 25
SIZE, FPS = VideoSize(768, 448, 89), 24.0


def shipped_recipes() -> dict[str, RecipeRequest]:
    """What is asked for, by the file's name without its suffix."""
    return {
        f"{goal}-{model}-{card}gb": RecipeRequest(
            goal=goal,
            card_bytes=card * GIB,
            data_root="path/to/dataset",
            model=ModelConfig(model_source=MODELS[model]),
            clips=Clips.alike(
                CLIP_COUNTS.get(goal, USUAL_CLIPS), SIZE, FPS, EARLIEST, goal == "ic-lora"
            ),
            name=goal,
        )
        for goal in GOALS
        for model, card in _CARDS[goal]
    }


def recipe_file(proposal: Proposal) -> str:
    """A proposal as a YAML file, with its reasons in comments."""
    lines = [proposal.summary, proposal.memory_line, *proposal.reasons]
    # A prompt or a folder may hold ends of lines, behind which a comment would be YAML.
    lines = [" ".join(line.splitlines()) for line in lines]
    return "".join(f"# {line}\n" for line in lines) + "\n" + yaml_file.dump(proposal.configuration)
