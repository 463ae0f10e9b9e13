import pytest

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig


def ignored(**sections) -> list[str]:
    values = {"data": {"preprocessed_data_root": "d"}, **sections}
    return config.ignored(config.build(TrainingConfig, values))


def test_defaults_are_no_ones_wish():
    assert ignored() == []
    assert ignored(acceleration={"compile_with_inductor": False}) == []


@pytest.mark.parametrize(
    ("sections", "option", "because"),
    [
        (
            {"acceleration": {"compile_with_inductor": False, "compilation_mode": "default"}},
            "acceleration.compilation_mode",
            "compile_with_inductor is off",
        ),
        (
            {"model": {"training_mode": "full"}, "lora": {"rank": 8}},
            "lora.rank",
            "training_mode is full",
        ),
        (
            {"conditioning": {"reference_latents_dir": "canny"}},
            "conditioning.reference_latents_dir",
            "mode is none",
        ),
        (
            {"conditioning": {"masks_dir": "holes"}},
            "conditioning.masks_dir",
            "mask_conditioning_p is 0",
        ),
        ({"validation": {"seed": 7}}, "validation.seed", "no validation.prompts"),
        (
            {"validation": {"prompts": ["a"], "interval": None, "seed": 7}},
            "validation.seed",
            "interval is not set",
        ),
        (
            {"validation": {"prompts": ["a"], "guidance_scale": 1, "negative_prompt": "grey"}},
            "validation.negative_prompt",
            "guidance_scale is 1",
        ),
        ({"lora": {"adapter": "oft", "alpha": 8}}, "lora.alpha", "rotations have no scale"),
        ({"lora": {"lokr_factor": 8}}, "lora.lokr_factor", "adapter is lora"),
        ({"flow_matching": {"loss_delta": 2}}, "flow_matching.loss_delta", "loss is mse"),
        (
            {"flow_matching": {"loss_weighting": "cosmap", "min_snr_gamma": 2}},
            "flow_matching.min_snr_gamma",
            "loss_weighting is cosmap",
        ),
        (
            {"optimization": {"preservation_weight": 2}},
            "optimization.preservation_weight",
            "preservation is none",
        ),
        (
            {"optimization": {"preservation": "blank_prompt", "preservation_class": "dog"}},
            "optimization.preservation_class",
            "preservation is blank_prompt",
        ),
        (
            {"optimization": {"prior_weight": 2}},
            "optimization.prior_weight",
            "prior_data_root is not set",
        ),
        ({"checkpoints": {"keep_last_n": 2}}, "checkpoints.keep_last_n", "interval is not set"),
        ({"trackers": {"entity": "ada"}}, "trackers.entity", "trackers.wandb is off"),
        (
            {"trackers": {"log_validation_videos": False}},
            "trackers.log_validation_videos",
            "no tracker is on",
        ),
    ],
)
def test_an_option_that_is_not_used_is_said(sections, option, because):
    (line,) = ignored(**sections)
    assert line.startswith(f"{option}: is not used, because ")
    assert because in line
