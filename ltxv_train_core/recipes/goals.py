"""How each goal is trained: the values that a recipe starts from.

They are those of LTX-Video-Trainer's example configurations (31b1273, `configs/`) where a goal is like one of
them, and this program's own where not: `why` says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..families.names import AUDIO
from .clips import Clips
from .names import Effort, Goal
from .proposal import Choice

_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
FEW_CLIPS = 10


@dataclass(frozen=True)
class GoalSettings:
    """How a goal is trained at normal effort.

    Attributes:
        passes: how often each clip is seen.
        samples: fewest and most samples of a run, however many clips there are.
        samples_per_step: of one optimizer step.
        first_frame_p: `conditioning.first_frame_conditioning_p`.
        why: reasons, by the option's name.
    """

    rank: int
    learning_rate: float
    passes: int
    samples: tuple[int, int]
    first_frame_p: float
    why: Mapping[str, str]
    samples_per_step: int = 1
    target_modules: tuple[str, ...] = _ATTENTION


GOAL_SETTINGS: dict[Goal, GoalSettings] = {
    "style": GoalSettings(
        rank=32,
        learning_rate=2e-4,
        passes=60,
        samples=(1000, 3000),
        first_frame_p=0.1,
        why={
            "rank": "a style changes everything alike, which takes few numbers; as in ltxv_2b_lora.yaml",
            "learning_rate": "as in ltxv_2b_lora.yaml",
            "first_frame_conditioning_p": "some samples start from a clean frame, so that image to video "
            "works too; as in ltxv_2b_lora.yaml",
        },
    ),
    "character": GoalSettings(
        rank=64,
        learning_rate=1e-4,
        passes=80,
        samples=(1200, 4000),
        first_frame_p=0.1,
        why={
            "rank": "a face or a thing has more details than a style; this program's default",
            "learning_rate": "half of the examples' rate: likeness suffers first when a step is too large",
            "first_frame_conditioning_p": "some samples start from a clean frame, so that image to video "
            "works too; as in ltxv_2b_lora.yaml",
        },
    ),
    "motion": GoalSettings(
        rank=128,
        learning_rate=2e-4,
        passes=80,
        samples=(1500, 4000),
        first_frame_p=0.5,
        why={
            "rank": "a movement changes what happens over time; as in ltxv_13b_lora_cakeify.yaml",
            "learning_rate": "as in ltxv_13b_lora_cakeify.yaml",
            "first_frame_conditioning_p": "half of the samples start from a clean frame, so that what is "
            "learned is what follows; as in ltxv_13b_lora_cakeify.yaml",
        },
    ),
    "ic-lora": GoalSettings(
        rank=128,
        learning_rate=2e-4,
        passes=40,
        samples=(2000, 6000),
        first_frame_p=0.2,
        target_modules=_ATTENTION + _FEED_FORWARD,
        why={
            "rank": "to follow a reference takes many numbers; as in ltxv_13b_ic_lora.yaml",
            "learning_rate": "as in ltxv_13b_ic_lora.yaml",
            "first_frame_conditioning_p": "some samples start from a clean frame; as in "
            "ltxv_13b_ic_lora.yaml",
        },
    ),
    "full": GoalSettings(
        rank=0,
        learning_rate=1e-5,
        passes=40,
        samples=(2000, 40000),
        samples_per_step=4,
        first_frame_p=0.1,
        why={
            "learning_rate": "every weight moves, so that each moves little; as in ltxv_2b_full.yaml",
            "first_frame_conditioning_p": "some samples start from a clean frame, so that image to video "
            "works too; as in ltxv_2b_full.yaml",
        },
    ),
}


def of_the_miniature(settings: GoalSettings) -> GoalSettings:
    """How the miniature is trained for a goal: as the demo does, whatever is to be learned."""
    is_lora = settings.rank > 0
    return replace(
        settings,
        rank=16 if is_lora else 0,
        learning_rate=2e-3 if is_lora else 2e-4,
        passes=50,
        samples=(800, 4800),
        samples_per_step=8,
        first_frame_p=0.0,
        why={
            "rank": "as the demo trains the miniature",
            "learning_rate": "as the demo trains the miniature"
            if is_lora
            else "a tenth of the rate of its LoRAs, as every weight moves",
            "first_frame_conditioning_p": "as the demo trains the miniature",
        },
    )


@dataclass(frozen=True)
class EffortSettings:
    """Attributes: samples, samples_per_step: factors on those of normal effort."""

    samples: float
    samples_per_step: int = 1


EFFORT_SETTINGS: dict[Effort, EffortSettings] = {
    "draft": EffortSettings(0.3),
    "normal": EffortSettings(1.0),
    "thorough": EffortSettings(3.0, samples_per_step=2),
}


@dataclass(frozen=True)
class Length:
    """How long a run trains.

    Attributes:
        samples_per_step: of one optimizer step.
        why: a sentence.
    """

    steps: int
    samples_per_step: int
    why: str


def length(settings: GoalSettings, effort: Effort, clips: int) -> Length:
    """Steps for a number of clips: each is seen some times, within the goal's bounds.

    Draft and normal effort differ in steps alone: a normal run continues a finished draft.
    """
    fewest, most = settings.samples
    wanted = clips * settings.passes
    samples = min(max(wanted, fewest), most)
    factors = EFFORT_SETTINGS[effort]
    per_step = settings.samples_per_step * factors.samples_per_step
    steps = rounded_steps(samples * factors.samples / per_step)
    why = f"{clips} clips, each seen {settings.passes} times"
    if samples != wanted:
        why = f"{clips} clips: {samples:,} samples, the {'fewest' if wanted < samples else 'most'} for the goal"
    if effort != "normal":
        why += f", times {factors.samples:g} for {effort} effort"
    return Length(steps, per_step, f"{why}; {per_step} for each step")


def rounded_steps(steps: float) -> int:
    """To tens, from 200 on to fifties."""
    unit = 50 if steps >= 200 else 10
    return max(1, round(steps / unit)) * unit


def goal_choices(goal: Goal, settings: GoalSettings, clips: Clips) -> list[Choice]:
    """What the goal decides, but for the length of the run."""
    why, layers = settings.why, _layers(settings)
    given = (settings.first_frame_p, why["first_frame_conditioning_p"])
    modalities = []
    if clips.are_sounds:
        given = (0.0, "there are no pictures")
        modalities = [Choice("conditioning.modalities", AUDIO, "the data set has sounds alone")]
        layers = ((AUDIO,), "the attention layers of the sound: no others see any of it")
    chosen = [
        *modalities,
        Choice("conditioning.first_frame_conditioning_p", *given),
        Choice("optimization.learning_rate", settings.learning_rate, why["learning_rate"]),
    ]
    mode = ("reference_video", "it learns to follow the clips' reference videos")
    if goal != "ic-lora":
        mode = ("none", "no reference videos are followed")
    chosen.append(Choice("conditioning.mode", *mode))
    if goal == "full":
        return chosen
    rank, reason = settings.rank, why["rank"]
    if clips.count < FEW_CLIPS:
        rank //= 2
        reason += f"; halved, as a smaller LoRA memorises {clips.count} clips less"
    return [
        *chosen,
        Choice("lora.rank", rank, reason),
        Choice("lora.alpha", rank, "equal to the rank: the LoRA is applied at scale 1"),
        Choice("lora.target_modules", *layers),
    ]


def _layers(settings: GoalSettings) -> tuple[tuple[str, ...], str]:
    if settings.target_modules != _ATTENTION:
        why = "attention and feed-forward layers; as in ltxv_13b_ic_lora.yaml"
    else:
        why = "the attention layers, as in all LoRA examples but that of the IC-LoRA"
    return settings.target_modules, why


def miniature_choices() -> list[Choice]:
    """What is different for the miniature, whose clips are tiny."""
    why = "as the demo trains the miniature"
    return [
        Choice("optimization.scheduler_type", "cosine", why),
        Choice("flow_matching.timestep_sampling_params", {"std": 1.2, "shift": 0.4}, why),
    ]
