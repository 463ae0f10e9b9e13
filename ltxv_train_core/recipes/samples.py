"""When a run saves and samples, and how it samples."""

from ..config import ValidationConfig
from ..families.family import Sampling
from .clips import Clips
from .goals import rounded_steps
from .proposal import Choice

SAVES = 6
SAVES_OF_FULL_TRAINING = 2
MINIATURE_SAMPLING = Sampling(steps=20, guidance_scale=3.0)


def usual_saves(is_full: bool) -> int:
    """Checkpoints of a run."""
    return SAVES_OF_FULL_TRAINING if is_full else SAVES


def save_choices(
    is_full: bool, steps: int, saves: int, holds_out: bool, dear: str = ""
) -> list[Choice]:
    """When checkpoints are written, and how many stay.

    Args:
        saves: how many are written, the one of the last step among them.
        holds_out: whether clips are measured at each; then they are never more.
        dear: the end of the reason, where measuring costs more than usual.
    """
    wanted = usual_saves(is_full)
    why = f"about {saves} checkpoint{'' if saves == 1 else 's'} in the run"
    if saves < wanted:
        why += f": the held-out clips are measured at each, and at {wanted} that would take too much time"
    interval = Choice("checkpoints.interval", _interval(steps, saves, holds_out), why + dear)
    if is_full:
        kept = Choice(
            "checkpoints.keep_last_n", 2, "each holds every weight and its optimizer state"
        )
    else:
        kept = Choice(
            "checkpoints.keep_last_n", -1, "all stay: the best LoRA is often not the last"
        )
    return [interval, kept]


def _interval(steps: int, saves: int, holds_out: bool) -> int:
    interval = rounded_steps(steps / saves)
    if holds_out and interval * saves < steps:
        interval = rounded_steps(interval + (50 if interval >= 200 else 10))
    return interval


def sample_choices(
    prompts: tuple[str, ...], sampling: Sampling | None, clips: Clips, interval: int
) -> list[Choice]:
    """How prompts are sampled; nothing where there are none.

    Args:
        sampling: how the model is meant to be sampled, where that is known.
        interval: steps between two checkpoints.
    """
    if not prompts:
        return []
    if sampling is None:
        fields = ValidationConfig.model_fields
        sampling = Sampling(fields["inference_steps"].default, fields["guidance_scale"].default)
        why = "the default: nothing says whether the model is distilled; of a distilled one, set its own"
    else:
        why = "as the model is meant to be sampled"
    return [
        Choice("validation.prompts", prompts, "as given"),
        Choice(
            "validation.video_dims",
            tuple(vars(clips.size).values()),
            "the length of most sounds; the picture is that of the sound"
            if clips.are_sounds
            else "the size of most clips",
        ),
        Choice("validation.frame_rate", min(max(clips.fps, 1.0), 240.0), "that of most clips"),
        Choice("validation.interval", interval, "each checkpoint has samples"),
        Choice("validation.inference_steps", sampling.steps, why),
        Choice("validation.guidance_scale", sampling.guidance_scale, why),
    ]
