"""What a recipe chooses for published models, by goal, card, clips and effort."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltxv_train_core.config import (
    AccelerationConfig,
    CheckpointsConfig,
    ConditioningConfig,
    LoRAConfig,
    ModelConfig,
    OptimizationConfig,
    ValidationConfig,
    ignored,
)
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.families.registry import EARLIEST
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.recipes.clips import Clips
from ltxv_train_core.recipes.draft import Draft
from ltxv_train_core.recipes.names import EFFORTS, GOALS
from ltxv_train_core.recipes.proposal import Proposal
from ltxv_train_core.recipes.propose import propose
from ltxv_train_core.recipes.request import RecipeRequest
from ltxv_train_core.training.held_out import affordable_clips, measuring_share
from ltxv_train_core.training.preflight import check
from ltxv_train_core.units import GIB

MODELS = {"2B": "LTXV_2B_0.9.6_DEV", "13B": "LTXV_13B_097_DEV"}
SIZE = VideoSize(768, 448, 89)


def request(goal="style", card=24, model="13B", clips=25, size=SIZE, **changes) -> RecipeRequest:
    return RecipeRequest(
        goal=goal,
        card_bytes=card * GIB,
        data_root="data",
        model=ModelConfig(model_source=MODELS.get(model, model)),
        clips=Clips.alike(clips, size, 24.0, EARLIEST, goal == "ic-lora"),
        **changes,
    )


def memory_settings(config) -> tuple:
    options = config.optimization
    return (
        options.enable_gradient_checkpointing,
        options.optimizer_type,
        config.acceleration.quantization,
        config.acceleration.blocks_to_offload,
    )


@pytest.mark.parametrize(
    ("goal", "rank", "rate", "steps", "first_frame", "layers", "per_step"),
    [
        ("style", 32, 2e-4, 1500, 0.1, 4, 1),
        ("character", 64, 1e-4, 2000, 0.1, 4, 1),
        ("motion", 128, 2e-4, 2000, 0.5, 4, 1),
        ("ic-lora", 128, 2e-4, 2000, 0.2, 6, 1),
        ("full", 64, 1e-5, 500, 0.1, 4, 4),  # the LoRA's options are the defaults, and not used
    ],
)
def test_what_each_goal_trains_on_25_clips(goal, rank, rate, steps, first_frame, layers, per_step):
    config = propose(request(goal, card=80, model="2B")).configuration
    assert (config.lora.rank, len(config.lora.target_modules)) == (rank, layers)
    options = config.optimization
    assert (options.learning_rate, options.steps) == (rate, steps)
    assert options.batch_size * options.gradient_accumulation_steps == per_step
    assert config.conditioning.first_frame_conditioning_p == first_frame
    assert config.conditioning.mode == ("reference_video" if goal == "ic-lora" else "none")
    assert config.model.training_mode == ("full" if goal == "full" else "lora")


@pytest.mark.parametrize(
    ("clips", "effort", "steps", "rank"),
    [
        (4, "normal", 1000, 16),  # 240 samples are too few; half the rank
        (9, "normal", 1000, 16),
        (10, "normal", 1000, 32),
        (25, "draft", 450, 32),
        (25, "normal", 1500, 32),
        (25, "thorough", 2250, 32),  # three times as many samples, two for each step
        (30, "normal", 1800, 32),
        (500, "normal", 3000, 32),  # 30,000 samples are too many
    ],
)
def test_steps_and_rank_of_a_style_by_clips_and_effort(clips, effort, steps, rank):
    config = propose(request(clips=clips, effort=effort)).configuration
    assert (config.optimization.steps, config.lora.rank, config.lora.alpha) == (steps, rank, rank)
    passes = config.optimization.batch_size * config.optimization.gradient_accumulation_steps
    assert passes == (2 if effort == "thorough" else 1)


def test_a_normal_run_continues_a_draft_as_only_the_steps_differ():
    draft, normal = (
        propose(request("motion", effort=effort)).configuration for effort in ("draft", "normal")
    )
    same = draft.optimization.model_copy(update={"steps": normal.optimization.steps})
    assert same == normal.optimization
    for section in ("model", "lora", "conditioning", "acceleration", "data", "flow_matching"):
        assert getattr(draft, section) == getattr(normal, section), section
    assert (draft.checkpoints.interval, normal.checkpoints.interval) == (300, 400)


@pytest.mark.parametrize(
    ("model", "goal", "card", "expected", "gib"),
    [
        ("2B", "style", 8, (True, "adamw", None, 0), 4.806),
        ("2B", "style", 16, (False, "adamw", None, 0), 10.201),
        ("2B", "ic-lora", 8, (True, "adamw8bit", "int8-quanto", 0), 4.936),
        ("2B", "ic-lora", 12, (True, "adamw", None, 0), 7.752),
        ("2B", "full", 24, (True, "adamw8bit", None, 0), 20.478),
        ("2B", "full", 80, (False, "adamw", None, 0), 70.919),
        ("13B", "style", 8, (True, "adamw8bit", "nf4", 24), 5.431),
        ("13B", "style", 12, (True, "adamw8bit", "int8-quanto", 24), 8.578),
        ("13B", "style", 16, (True, "adamw8bit", "int8-quanto", 0), 14.082),
        ("13B", "style", 24, (True, "adamw8bit", "int8-quanto", 0), 15.340),
        ("13B", "style", 32, (True, "adamw", None, 0), 27.903),
        ("13B", "style", 80, (False, "adamw", None, 0), 46.721),
        ("13B", "motion", 16, (True, "adamw8bit", "int8-quanto", 12), 14.392),
        ("13B", "ic-lora", 16, (True, "adamw8bit", "nf4", 0), 14.279),
        ("13B", "ic-lora", 80, (True, "adamw", None, 0), 37.418),
    ],
)
def test_the_fastest_settings_that_fit_a_card(model, goal, card, expected, gib):
    proposal = propose(request(goal, card, model))
    assert memory_settings(proposal.configuration) == expected
    assert proposal.memory.total / GIB == pytest.approx(gib, abs=0.001)


def test_more_clips_at_a_time_where_they_fit():
    """Of four samples for each step, as many at once as the card has room for."""
    batches = {}
    for card in (24, 32, 40, 48):
        options = propose(request("full", card, "2B")).configuration.optimization
        batches[card] = options.batch_size, options.gradient_accumulation_steps
    assert batches == {24: (4, 1), 32: (4, 1), 40: (4, 1), 48: (4, 1)}


def test_room_on_a_card():
    """A tenth stays free, and at least 1.5 GiB."""
    assert request(card=8).usable_bytes == 6.5 * GIB
    assert request(card=15).usable_bytes == 13.5 * GIB
    assert request(card=80).usable_bytes == 72 * GIB
    assert request(card=1).usable_bytes == 0


def position(proposal: Proposal, asked: RecipeRequest) -> int:
    """How far down its ladder a proposal stands."""
    chosen = set(proposal.choices)
    return next(n for n, rung in enumerate(Draft.of(asked).rungs) if set(rung) <= chosen)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    model=st.sampled_from(sorted(MODELS)),
    goal=st.sampled_from(GOALS),
    effort=st.sampled_from(EFFORTS),
    clips=st.integers(1, 200),
    size=st.sampled_from(["512x320x49", "768x448x89", "1216x704x121"]),
    prompt=st.booleans(),
)
def test_what_holds_for_every_proposal(model, goal, effort, clips, size, prompt):
    """It fits with room to spare; more memory never gives leaner settings; no option is ignored; every option
    that isn't the default is a choice with a reason."""
    prompts = ("a cat",) if prompt and goal != "ic-lora" else ()
    before = None
    for card in (8, 16, 24, 40, 80):
        asked = request(
            goal, card, model, clips, VideoSize.parse(size), effort=effort, prompts=prompts
        )
        try:
            proposal = propose(asked)
        except ConfigurationError:
            assert before is None, "a smaller card had room"
            continue
        now = position(proposal, asked)
        assert before is None or now <= before
        before = now
        assert proposal.memory.total <= asked.usable_bytes < card * GIB
        config = proposal.configuration
        assert ignored(config) == []
        values = config.model_dump()
        for choice in proposal.choices:
            assert values[choice.section][choice.name] == choice.value, choice.option
            assert choice.reason[0].islower() or choice.reason[0].isdigit(), choice.option
            assert not choice.reason.endswith("."), choice.option
        changed = {
            f"{section}.{name}"
            for section, options in config.model_dump(exclude_defaults=True).items()
            if isinstance(options, dict)
            for name in options
        }
        assert changed <= {choice.option for choice in proposal.choices}


@pytest.mark.parametrize("goal", GOALS)
def test_check_finds_nothing_but_that_the_data_set_is_elsewhere(goal):
    for model, card in (("2B", 24), ("13B", 24)):
        if (goal, model) == ("full", "13B"):
            continue
        problems, warnings = check(propose(request(goal, card, model)).configuration)
        assert problems == []
        assert [line for line in warnings if "no such" not in line] == []


def test_what_does_not_fit_says_what_would():
    with pytest.raises(ConfigurationError) as refused:
        propose(request("motion", 6))
    assert str(refused.value) == (
        "card memory 6 GiB: goal motion with LTXV_13B_097_DEV takes at least 5.1 GiB (base 557 MiB, "
        "trained weights 2.2 GiB, gradients 1.5 GiB, activations 1.7 GiB), and a run may take 4.5 GiB of "
        "this card. What would fit: a card of 8 GB; clips of at most 24 % of the pixels (width x height x "
        "frames); the model LTXV_2B_0.9.6_DEV"
    )
    with pytest.raises(
        ConfigurationError, match="What would fit: a LoRA: the goal style"
    ) as refused:
        propose(request("full", 80))
    assert "the model LTXV_2B_0.9.6_DEV" in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"What would fit: none of the known cards"):
        propose(request("full", 80, sections={"model": ModelConfig(training_mode="full")}))


@pytest.mark.parametrize("goal", ["style", "full"])
def test_a_given_section_wins_as_a_whole(goal):
    given_sections = {
        "optimization": OptimizationConfig(learning_rate=3e-5, steps=700, batch_size=3),
        "checkpoints": CheckpointsConfig(interval=70),
        "lora": LoRAConfig(rank=8, alpha=4),
    }
    if goal == "full":
        del given_sections["lora"]
    asked = request(goal, 80, "2B", sections=given_sections, prompts=("a cat",))
    proposal = propose(asked)
    for name, section in given_sections.items():
        assert getattr(proposal.configuration, name) == section
        assert not [choice for choice in proposal.choices if choice.section == name]
    assert proposal.configuration.validation.interval == 70


def test_the_estimate_is_that_of_given_sections():
    """Rank 8 instead of 32; batch 3 without checkpointing leaves nothing but the base to save on."""
    lora = propose(request(sections={"lora": LoRAConfig(rank=8, alpha=8)})).memory
    assert lora.trained * 4 == propose(request()).memory.trained
    options = OptimizationConfig(batch_size=3, enable_gradient_checkpointing=True)
    proposal = propose(request(sections={"optimization": options}))
    one = propose(request())
    three, single = (
        each.memory.activations - each.memory.gradients // 2 for each in (proposal, one)
    )
    assert three == pytest.approx(3 * single, rel=1e-6)
    assert memory_settings(proposal.configuration) == (True, "adamw", "int8-quanto", 0)
    plain = AccelerationConfig(compile_with_inductor=False)
    with pytest.raises(ConfigurationError, match=r"takes at least 26\.1 GiB"):
        propose(request(sections={"acceleration": plain}))


def test_a_given_section_that_contradicts_the_goal_is_said():
    sections = {"conditioning": ConditioningConfig(), "model": ModelConfig(training_mode="full")}
    asked = request("ic-lora", 80, sections={"conditioning": sections["conditioning"]})
    remarks = propose(asked).remarks
    assert remarks[0] == "conditioning.mode none is given; goal ic-lora has the other"
    model = ModelConfig(model_source=MODELS["2B"], training_mode="full")
    proposal = propose(request("style", 80, sections={"model": model}))
    assert "model.training_mode full is given; goal style has the other" in proposal.remarks
    assert ignored(proposal.configuration) == []


def test_samples_are_made_as_the_model_is_meant_to_be_sampled():
    def of(model):
        return propose(request(model=model, prompts=("a cat", "a dog"))).configuration.validation

    dev, distilled = of("LTXV_13B_098_DEV"), of("LTXV_13B_098_DISTILLED")
    assert (dev.inference_steps, dev.guidance_scale) == (50, 3.0)
    assert (distilled.inference_steps, distilled.guidance_scale) == (7, 1.0)
    assert dev.prompts == ("a cat", "a dog")
    assert (dev.video_dims, dev.frame_rate, dev.interval) == ((768, 448, 89), 24.0, 250)
    assert "no samples" in propose(request()).remarks[0]


def test_the_text_encoder_is_in_8_bits_where_it_has_no_room():
    """T5-XXL takes 8.8 GiB in bf16; 8.5 GiB of a card of 10 GB may be taken, and 10.5 of one of 12."""
    for card, prompts, eight_bits in (
        (10, ("a cat",), True),
        (12, ("a cat",), False),
        (8, (), False),
    ):
        config = propose(request(card=card, model="2B", prompts=prompts)).configuration
        assert config.acceleration.load_text_encoder_in_8bit is eight_bits
    sections = {"validation": ValidationConfig(prompts=("a cat",))}
    config = propose(request(card=8, model="2B", sections=sections)).configuration
    assert config.acceleration.load_text_encoder_in_8bit


def test_prompts_of_an_ic_lora_need_reference_videos():
    with pytest.raises(ConfigurationError, match=r"give a validation section .*reference_videos"):
        propose(request("ic-lora", 80, prompts=("a cat",)))
    validation = ValidationConfig(prompts=("a cat",), reference_videos=("a.mp4",))
    asked = request("ic-lora", 80, prompts=("a dog",), sections={"validation": validation})
    assert propose(asked).configuration.validation == validation


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal": "styles"}, "goal 'styles': expected style, character, motion, ic-lora, full"),
        ({"effort": "much"}, "effort 'much': expected draft, normal, thorough"),
        ({"card_bytes": 0}, "card memory 0 bytes: expected more than 0"),
    ],
)
def test_a_request_for_what_there_is_not(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        replace(request(), **changes)


def test_the_text_says_what_it_takes_and_why():
    lines = propose(request(card=12)).text.splitlines()
    assert lines[:5] == [
        "goal style, normal effort: LTXV_13B_097_DEV, 25 clips, most of them 768x448x89, a card of 12 GiB",
        "memory: about 8.6 GiB (base 6.8 GiB, trained weights 576 MiB, gradients 384 MiB, activations "
        "1.1 GiB) of 12 GiB, of which a run may take 10.5 GiB; faster settings need 11.6 GiB",
        "time: not known, this machine has trained nothing like it yet",
        "note: at least 5.5 GiB of the base lie in host memory",
        "note: no samples while it trains: there is no prompt",
    ]
    assert (
        "acceleration.blocks_to_offload = 24: 24 of 48 blocks stay in host memory and are copied before "
        "they run: slower" in lines
    )
    assert "optimization.steps = 1500: 25 clips, each seen 60 times; 1 for each step" in lines


@pytest.mark.parametrize(
    ("goal", "clips", "held_out", "interval", "why"),
    [
        ("character", 25, 4, 400, "of 25 clips so many are never trained on"),
        ("character", 200, 7, 700, "of 200 clips so many are never trained on"),
        ("style", 25, 0, 250, "to measure 4 clips would take more than 3 % of so short a run"),
        ("style", 30, 4, 400, "of 30 clips so many"),
        ("motion", 19, 0, 250, "19 clips are too few to hold some out"),
        ("full", 100, 10, 500, "of 100 clips so many"),
    ],
)
def test_clips_are_held_out_where_measuring_takes_at_most_3_per_cent(
    goal, clips, held_out, interval, why
):
    proposal = propose(request(goal, card=80, model="2B", clips=clips))
    config = proposal.configuration
    assert config.data.held_out_clips == held_out
    assert config.checkpoints.interval == interval
    (line,) = [line for line in proposal.reasons if line.startswith("data.held_out_clips")]
    assert why in line
    if held_out:
        options = config.optimization
        samples = options.steps * options.batch_size * options.gradient_accumulation_steps
        saves = math.ceil(options.steps / interval)
        assert affordable_clips(samples, saves, is_full=goal == "full") >= 4


@pytest.mark.parametrize(
    ("goal", "clips", "interval", "per_cent"),
    [("style", 30, 300, 5), ("ic-lora", 25, 300, 5), ("character", 30, 700, None)],
)
def test_a_draft_whose_measuring_takes_longer_says_so(goal, clips, interval, per_cent):
    asked = replace(request(goal, card=80, model="2B", clips=clips), effort="draft")
    proposal = propose(asked)
    steps = proposal.configuration.optimization.steps
    assert proposal.configuration.checkpoints.interval == interval
    saves = math.ceil(steps / interval)
    share = measuring_share(4, steps, saves, is_full=False)
    assert (share > 0.03) == (per_cent is not None)
    (line,) = [line for line in proposal.reasons if line.startswith("checkpoints.interval")]
    told = "measuring 4 clips takes about"
    if per_cent is None:
        assert told not in line
    else:
        assert f"{told} {per_cent} % of the time of so short a run" in line
        assert round(100 * share) == per_cent


def test_the_share_of_time_is_that_of_the_affordable_clips():
    for samples, saves, is_full in ((600, 1, False), (3000, 6, False), (40_000, 5, True)):
        count = affordable_clips(samples, saves, is_full)
        shares = [measuring_share(n, samples, saves, is_full) for n in (count, count + 1)]
        assert shares[0] <= 0.03 < shares[1]
    # By hand: 4 clips at 2 times 5 levels, and 3 times 2 passes at 3 levels of one clip; 3 passes for a step.
    assert measuring_share(4, 600, 1, False) == pytest.approx((4 * 2 * 5 + 3 * 2 * 3) / 1800)


def test_a_whole_long_video_is_not_held_out():
    clips = replace(Clips.alike(40, SIZE, 24.0, EARLIEST), videos=(20, 20))
    asked = replace(request("character", clips=40), clips=clips)
    assert propose(asked).configuration.data.held_out_clips == 0
