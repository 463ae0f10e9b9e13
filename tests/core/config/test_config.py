import math
import subprocess
import sys

import pytest
import yaml

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.errors import ConfigurationError

DATA = {"data": {"preprocessed_data_root": "data"}}

SPECIFIED_DEFAULTS = """
model: {model_source: LTXV_13B_097_DEV, training_mode: lora, load_checkpoint: null}
lora: {rank: 64, alpha: 64, dropout: 0.0, target_modules: [to_k, to_q, to_v, to_out.0]}
conditioning:
  mode: none
  first_frame_conditioning_p: 0.1
  reference_latents_dir: reference_latents
optimization:
  learning_rate: 1e-4
  steps: 3000
  batch_size: 2
  gradient_accumulation_steps: 1
  max_grad_norm: 1.0
  optimizer_type: adamw
  scheduler_type: linear
  scheduler_params: {}
  enable_gradient_checkpointing: false
acceleration:
  mixed_precision_mode: bf16
  quantization: null
  load_text_encoder_in_8bit: false
  compile_with_inductor: true
  compilation_mode: reduce-overhead
data: {preprocessed_data_root: data, num_dataloader_workers: 2}
validation:
  negative_prompt: worst quality, inconsistent motion, blurry, jittery, distorted
  images: null
  reference_videos: null
  video_dims: [704, 480, 161]
  seed: 42
  inference_steps: 50
  interval: 100
  videos_per_prompt: 1
  guidance_scale: 3.0
checkpoints: {interval: null, keep_last_n: 5}
hub: {push_to_hub: false}
flow_matching: {timestep_sampling_mode: shifted_logit_normal, timestep_sampling_params: {}}
"""


def build(**sections):
    return config.build(TrainingConfig, DATA | sections)


def test_defaults_are_the_specified_ones():
    assert build() == config.build(TrainingConfig, yaml.safe_load(SPECIFIED_DEFAULTS))


def test_the_sections_in_their_order():
    assert list(config.SECTIONS) == [
        "model",
        "lora",
        "conditioning",
        "optimization",
        "acceleration",
        "data",
        "validation",
        "checkpoints",
        "hub",
        "flow_matching",
        "trackers",
    ]


@pytest.mark.parametrize("section", config.SECTIONS.values(), ids=list(config.SECTIONS))
def test_every_option_is_described_and_survives_its_widget(section):
    for option in config.options(section):
        assert option.description.endswith(".")
        if option.default is None:
            continue
        read = config.from_widgets(section, DATA["data"] if section is config.DataConfig else {})
        value = getattr(read, option.name)
        assert option.from_widget(option.default) == value
        assert option.to_widget(value) == option.default


def test_null_can_be_written_in_widgets():
    read = config.from_widgets(config.ValidationConfig, {"interval": 0, "images": ""})
    assert read.interval is None
    assert read.images is None
    assert (
        config.from_widgets(config.AccelerationConfig, {"quantization": "none"}).quantization
        is None
    )


def test_widgets_hold_lists_mappings_and_sizes():
    read = config.from_widgets(
        config.ValidationConfig, {"prompts": " a cat \n\nein Bär\n", "video_dims": "96x64x17"}
    )
    assert read.prompts == ("a cat", "ein Bär")
    assert read.video_dims == (96, 64, 17)
    read = config.from_widgets(
        config.OptimizationConfig, {"scheduler_type": "cosine", "scheduler_params": "eta_min: 1e-6"}
    )
    assert read.scheduler_params == {"eta_min": 1e-6}


def test_float_widgets_can_hold_a_small_learning_rate():
    rate = next(o for o in config.options(config.OptimizationConfig) if o.name == "learning_rate")
    assert rate.step == 1e-6
    assert rate.minimum <= 5e-5 <= rate.maximum


def test_yaml_reads_back_to_the_same_configuration(tmp_path):
    whole = build(validation={"prompts": ["ein Bär"], "video_dims": [96, 96, 17]}, name="näme")
    path = tmp_path / "config.yaml"
    yaml_file.save(whole, path)
    assert yaml_file.load(path) == whole
    assert "!!" not in path.read_text(encoding="utf-8")


def test_set_wins_over_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    yaml_file.save(build(), path)
    read = yaml_file.load(
        path,
        ["optimization.learning_rate=5e-5", "checkpoints.interval=7", "lora.target_modules=[to_q]"],
    )
    assert read.optimization.learning_rate == 5e-5
    assert read.checkpoints.interval == 7
    assert read.lora.target_modules == ("to_q",)
    with pytest.raises(ConfigurationError, match=r"optimization\.steps: must be at least 1"):
        yaml_file.load(path, ["optimization.steps=0"])
    with pytest.raises(ConfigurationError, match=r"expected section\.option=value"):
        yaml_file.load(path, ["optimization.steps"])


def test_all_problems_are_reported_together():
    with pytest.raises(ConfigurationError) as caught:
        build(
            optimization={"steps": 0, "learning_rte": 1},
            lora={"rank": -1},
            validation={"video_dims": [700, 480, 160], "prompts": "a ring"},
            flow_matching={"timestep_sampling_params": {"stdd": 1}},
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "validation.prompts: must be a list (given: 'a ring')" in text
    assert "optimization.steps" in text
    assert "optimization.learning_rte: no such option" in text
    assert "lora.rank" in text
    assert "704x480x161" in text
    assert "stdd" in text


def test_a_missing_data_section_is_named():
    with pytest.raises(ConfigurationError, match="data: must be given"):
        config.build(TrainingConfig, {})


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"validation": {"prompts": ["a"], "reference_videos": []}}, "1"),
        (
            {"conditioning": {"mode": "reference_video"}, "validation": {"prompts": ["a"]}},
            "one reference video for each",
        ),
        ({"validation": {"prompts": ["a"], "reference_videos": ["x.mp4"]}}, "would be ignored"),
        ({"hub": {"push_to_hub": True}}, "hub_model_id"),
        ({"optimization": {"scheduler_params": {"eta_min": 0}}}, "linear schedule takes"),
        *(
            (
                {"optimization": {"scheduler_type": kind, "scheduler_params": params}},
                f"scheduler_params {message}",
            )
            for kind, params, message in (
                ("polynomial", {"power": -1}, "power -1: must be above 0 and at most 100"),
                ("polynomial", {"power": 0}, "power 0: must be above 0"),
                ("cosine", {"eta_min": -1e-6}, "eta_min -1e-06: must be between 0 and learning_r"),
                ("cosine", {"eta_min": 2e-4}, r"eta_min 0.0002: .* learning_rate \(0.0001\)"),
                ("cosine_with_restarts", {"cycles": 0}, "cycles 0: must be above 0"),
                ("linear", {"end_factor": 1.5}, "end_factor 1.5: must be between 0 and 1"),
                (
                    "linear",
                    {"start_factor": 0, "end_factor": -1},
                    "start_factor 0: must be above 0 and at most 1; end_factor -1: must be between",
                ),
            )
        ),
        ({"optimization": {"learning_rate": math.nan}}, "learning_rate: .*finite"),
        (
            {
                "optimization": {
                    "scheduler_type": "cosine",
                    "scheduler_params": {"eta_min": math.nan},
                }
            },
            "scheduler_params.eta_min: .*finite",
        ),
        ({"flow_matching": {"timestep_sampling_params": {"shift": math.inf}}}, "shift: .*finite"),
        (
            {"model": {"training_mode": "full"}, "acceleration": {"quantization": "int8-quanto"}},
            "quantization int8-quanto: is for frozen weights",
        ),
        (
            {"model": {"training_mode": "full"}, "acceleration": {"blocks_to_offload": 2}},
            "blocks_to_offload 2: is for frozen weights",
        ),
    ],
)
def test_contradictions_are_refused(sections, named):
    with pytest.raises(ConfigurationError, match=named):
        build(**sections)


def test_importing_the_configuration_imports_no_torch():
    code = "import sys, ltxv_train_core.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
