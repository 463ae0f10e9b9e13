from typing import ClassVar, Literal

from pydantic import model_validator

from ..base import Section, option

SAMPLING_PARAMS: dict[str, tuple[str, ...]] = {
    "uniform": ("min", "max"),
    "shifted_logit_normal": ("std", "shift", "shift_limit", "uniform_share"),
}


class FlowMatchingConfig(Section):
    """The section `flow_matching`."""

    summary: ClassVar[str] = "How timesteps (noise levels) are sampled for training."

    timestep_sampling_mode: Literal["uniform", "shifted_logit_normal"] = option(
        "shifted_logit_normal", "Distribution that noise levels are drawn from."
    )
    timestep_sampling_params: dict[str, float] = option(
        {},
        "Parameters of the distribution, one 'name: value' per line. uniform: min, max; "
        "shifted_logit_normal: std (1), shift (by default it grows with the number of tokens: 0.95 at "
        "1024, 2.05 at 4096), shift_limit (the largest shift; 2.05, LTX-2 none), uniform_share (share of "
        "samples whose noise level is drawn uniformly; 0, LTX-2 0.1).",
        advanced=True,
    )
    noise_levels: Literal["independent", "shared"] = option(
        "independent",
        "For a model with sound: whether video and sound get noise levels of their own in each sample, as "
        "the model was trained, or the same one.",
        advanced=True,
    )
    audio_loss_weight: float = option(
        1.0,
        "For a model with sound: weight of the sound's loss beside the video's. 0 trains on the video's "
        "loss alone.",
        ge=0.0,
        le=100.0,
        step=0.1,
        advanced=True,
    )
    video_loss_weight: float = option(
        1.0,
        "For a model with sound: weight of the video's loss beside the sound's. 0 trains on the sound's "
        "loss alone.",
        ge=0.0,
        le=100.0,
        step=0.1,
        advanced=True,
    )

    compat: Literal["ltx-video-trainer"] | None = option(
        None,
        "Compute steps as another trainer does, to reproduce its runs. ltx-video-trainer (LTX-Video 0.9.x): "
        "timesteps rounded to thousandths, no causal positions of videos and references, noise and target in "
        "bfloat16, a shift without limit, one draw for the first frames of a batch. The LoRA then suits "
        "ComfyUI's sampler less well.",
        advanced=True,
    )

    loss: Literal["mse", "huber", "smooth_l1"] = option(
        "mse",
        "What an error costs. mse: its square. huber and smooth_l1: its square where it is small and its size where it "
        "is large, so that outliers count less.",
        advanced=True,
    )
    loss_delta: float = option(
        1.0,
        "With loss huber and smooth_l1: the error from which on its size counts (delta, beta). Predictions are about 1 "
        "large.",
        gt=0.0,
        le=100.0,
        step=0.05,
        advanced=True,
    )
    loss_weighting: Literal["none", "min_snr", "cosmap"] = option(
        "none",
        "What noise levels weigh. none: all the same. min_snr: middle levels most, nothing at pure noise, as min-SNR "
        "does for the clean sample. cosmap: middle levels twice as much as both ends, as a cosine schedule has.",
        advanced=True,
    )
    min_snr_gamma: float = option(
        5.0,
        "With loss_weighting min_snr: gamma, the signal-to-noise ratio above which weights stop growing.",
        gt=0.0,
        le=1000.0,
        step=0.1,
        advanced=True,
    )

    @model_validator(mode="after")
    def _known_params(self) -> "FlowMatchingConfig":
        allowed = SAMPLING_PARAMS[self.timestep_sampling_mode]
        unknown = sorted(set(self.timestep_sampling_params) - set(allowed))
        if unknown:
            raise ValueError(
                f"timestep_sampling_params {', '.join(unknown)}: {self.timestep_sampling_mode} "
                f"takes {', '.join(allowed)}"
            )
        return self

    @model_validator(mode="after")
    def _usable_params(self) -> "FlowMatchingConfig":
        params = self.timestep_sampling_params
        low, high = params.get("min", 0.0), params.get("max", 1.0)
        rules = [
            (0 <= low < high <= 1, f"min {low:g} and max {high:g}: 0 <= min < max <= 1 is needed"),
            (params.get("std", 1.0) > 0, f"std {params.get('std')}: must be above 0"),
            (
                0 <= params.get("uniform_share", 0.0) <= 1,
                f"uniform_share {params.get('uniform_share')}: must lie between 0 and 1",
            ),
        ]
        if broken := [text for kept, text in rules if not kept]:
            raise ValueError(f"timestep_sampling_params {'; '.join(broken)}")
        return self
