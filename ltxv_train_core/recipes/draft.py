"""A configuration but for the settings that decide about memory, and what it takes with each of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..config import (
    SECTIONS,
    CheckpointsConfig,
    ConditioningConfig,
    DataConfig,
    ModelConfig,
    OptimizationConfig,
    TrainingConfig,
    ValidationConfig,
    build,
)
from ..config.sections.conditioning import ConditioningMode
from ..datasets.of_run import open_dataset
from ..errors import ConfigurationError, DataError, cut
from ..families.open import describe_model, open_model
from ..models.precision import computes_bfloat16
from ..training.memory_estimate import (
    TrainingBytes,
    training_bytes,
)
from ..training.transformer_sizes import TransformerSizes, transformer_sizes
from ..units import byte_size
from .clips import Clips
from .goals import GOAL_SETTINGS, Length, goal_choices, length, miniature_choices, of_the_miniature
from .held_out import affordable_saves, cost_of_a_short_run, held_out_choice
from .ladder import Base, Rung, ladder
from .proposal import Choice
from .request import RecipeRequest
from .samples import MINIATURE_SAMPLING, sample_choices, save_choices, usual_saves


@dataclass(frozen=True)
class Draft:
    """A configuration but for its rung.

    Attributes:
        choices: of the sections that are not given.
        base: what the rungs depend on.
    """

    request: RecipeRequest
    sizes: TransformerSizes
    clips: Clips
    choices: tuple[Choice, ...]
    base: Base

    @classmethod
    def of(cls, request: RecipeRequest) -> "Draft":
        """Chooses all that doesn't depend on memory.

        Raises:
            LTXVTrainError: the model or the data set can't be used, or they don't belong together.
        """
        model = request.given(ModelConfig) or request.model
        sizes = transformer_sizes(describe_model(model.model_source))
        description = sizes.description
        clips = request.clips or _read_clips(request, description.family.name)
        settings, sampling = GOAL_SETTINGS[request.goal], description.sampling
        is_miniature = _is_miniature(sizes)
        if is_miniature:
            settings, sampling = of_the_miniature(settings), MINIATURE_SAMPLING
        planned = length(settings, request.effort, clips.count)
        normal = length(settings, "normal", clips.count)
        held_out = held_out_choice(
            clips,
            normal.steps * normal.samples_per_step,
            usual_saves(is_full(request)),
            is_full(request),
        )
        saves = _saves(request, planned, held_out)
        own_saves = request.given(CheckpointsConfig)
        interval = (own_saves and own_saves.interval) or saves[0].value
        chosen = [
            *_model_choices(request, sizes),
            *goal_choices(request.goal, settings, clips),
            Choice("optimization.steps", planned.steps, planned.why),
            *(miniature_choices() if is_miniature else ()),
            *_acceleration_choices(
                request, 0 if is_miniature else description.family.text_encoder_bytes
            ),
            Choice(
                "data.preprocessed_data_root",
                request.data_root,
                clips.text,
            ),
            held_out,
            *sample_choices(_prompts(request), sampling, clips, interval),
            *saves,
        ]
        base = Base(
            is_full=is_full(request),
            samples_per_step=planned.samples_per_step,
            blocks=sizes.blocks,
            is_fp8=description.is_fp8,
            can_offload=request.device is None or request.device.type != "cpu",
        )
        return cls(request, sizes, clips, _needed(request, chosen), base)

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """From the fastest to the leanest; of each, what lies in sections that are not given."""
        return tuple(dict.fromkeys(_needed(self.request, rung) for rung in ladder(self.base)))

    def without(self, values: Iterable[str]) -> "Draft":
        """The same without rungs that need values of options that can't work here."""
        unavailable = self.base.unavailable | frozenset(values)
        return replace(self, base=replace(self.base, unavailable=unavailable))

    def choices_with(self, rung: Rung) -> tuple[Choice, ...]:
        """All choices, section by section."""
        order = list(SECTIONS)
        return tuple(sorted((*self.choices, *rung), key=lambda each: order.index(each.section)))

    def configuration(self, rung: Rung) -> TrainingConfig:
        """The whole configuration.

        Raises:
            ConfigurationError: given sections don't fit to what was chosen.
        """
        values: dict[str, Any] = {"name": self.request.name, "output_dir": self.request.output_dir}
        for choice in self.choices_with(rung):
            values.setdefault(choice.section, {})[choice.name] = choice.value
        return build(TrainingConfig, {**values, **self.request.sections})

    def memory(self, rung: Rung) -> TrainingBytes:
        """What it takes."""
        return training_bytes(self.configuration(rung), self.sizes, self.clips.tokens)


def is_full(request: RecipeRequest) -> bool:
    """Whether every weight is trained: as the given section says, or the goal."""
    own = request.given(ModelConfig)
    return own.training_mode == "full" if own else request.goal == "full"


def conditioning_mode(request: RecipeRequest) -> ConditioningMode:
    """As the given section says, or the goal."""
    own = request.given(ConditioningConfig)
    if own:
        return own.mode
    return "reference_video" if request.goal == "ic-lora" else "none"


def _saves(request: RecipeRequest, planned: Length, held_out: Choice) -> list[Choice]:
    """When checkpoints are written: as often as held-out clips can be measured at each."""
    own, data = request.given(OptimizationConfig), request.given(DataConfig)
    steps, per_step = planned.steps, planned.samples_per_step
    if own:
        steps, per_step = own.steps, own.batch_size * own.gradient_accumulation_steps
    wanted = usual_saves(is_full(request))
    holds_out = data.holds_out if data else bool(held_out.value)
    saves = affordable_saves(steps * per_step, wanted, is_full(request)) if holds_out else wanted
    dear = cost_of_a_short_run(steps * per_step, saves, is_full(request)) if holds_out else ""
    return save_choices(is_full(request), steps, saves, holds_out, dear)


def _needed(request: RecipeRequest, choices: Iterable[Choice]) -> tuple[Choice, ...]:
    """Those of sections that are not given and that the run uses."""
    others = {*request.sections, *(("lora",) if is_full(request) else ())}
    return tuple(choice for choice in choices if choice.section not in others)


def _read_clips(request: RecipeRequest, family: str) -> Clips:
    conditioning = request.given(ConditioningConfig)
    config = build(
        TrainingConfig,
        {
            "data": request.given(DataConfig) or {"preprocessed_data_root": request.data_root},
            "conditioning": conditioning or {"mode": conditioning_mode(request)},
        },
    )
    dataset = open_dataset(config)
    if dataset.index.family != family:
        model = (request.given(ModelConfig) or request.model).model_source
        raise DataError(
            f"data.preprocessed_data_root: it was preprocessed for {dataset.index.family}, and "
            f"{cut(model)} is a model of {family}: preprocess the data set with this model"
        )
    return Clips.of(dataset)


def _prompts(request: RecipeRequest) -> tuple[str, ...]:
    """Raises `ConfigurationError` for prompts without the reference videos that an IC-LoRA samples by."""
    if not request.prompts or request.given(ValidationConfig):
        return ()
    if conditioning_mode(request) != "none":
        raise ConfigurationError(
            [
                "prompts: samples of an IC-LoRA follow reference videos: give a validation section (on the canvas: "
                "Configure LTXV Validation) with prompts and reference_videos, one for each prompt, or leave "
                "the prompts empty"
            ]
        )
    return request.prompts


def _is_miniature(sizes: TransformerSizes) -> bool:
    """Whether the transformer has the sizes of the one that ships, under whatever name."""
    own = open_model(sizes.description.family.miniature).facts.transformer_config
    return own is not None and all(sizes.config.get(name) == size for name, size in own.items())


def _model_choices(request: RecipeRequest, sizes: TransformerSizes) -> list[Choice]:
    """The given model, and what is trained of it."""
    described = f"{sizes.numbers / 1e6:,.0f} million numbers in {sizes.blocks} blocks"
    given = request.model.model_dump(
        exclude_defaults=True, exclude={"model_source", "training_mode"}
    )
    mode = (
        ("full", "the goal trains every weight") if is_full(request) else ("lora", "the base stays")
    )
    return [
        Choice("model.model_source", request.model.model_source, f"as given: {described}"),
        Choice("model.training_mode", *mode),
        *(Choice(f"model.{name}", value, "as given") for name, value in given.items()),
    ]


def _acceleration_choices(request: RecipeRequest, text_encoder_bytes: int) -> list[Choice]:
    """Precision and speed, but for what the ladder decides."""
    device = request.device
    if device is not None and device.type == "cuda" and not computes_bfloat16(device):
        precision = ("fp16", "this GPU doesn't compute in bf16")
    else:
        precision = ("bf16", "half of float32's memory; trained weights stay in float32")
    found = [
        Choice("acceleration.mixed_precision_mode", *precision),
        Choice(
            "acceleration.compile_with_inductor",
            False,
            "as in the LoRA examples: compiling takes a minute or more before the first step",
        ),
    ]
    own = request.given(ValidationConfig)
    samples = own.prompts if own else request.prompts
    if samples and text_encoder_bytes > request.usable_bytes:
        found.append(
            Choice(
                "acceleration.load_text_encoder_in_8bit",
                True,
                f"the text encoder of the prompts takes {byte_size(text_encoder_bytes)} otherwise",
            )
        )
    return found
