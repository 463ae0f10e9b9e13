"""Configurations of LTX-Video-Trainer are read, and what is written it could read."""

import pytest
import yaml

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.config.ltx_video_trainer import KNOWN, uncommented
from ltxv_train_core.errors import ConfigurationError

# Every option that its configuration has, with values that are not the defaults.
THEIRS = """
# A run of another trainer
model:
  model_source: "LTXV_2B_0.9.6_DEV"  # or a path
  training_mode: "lora"
  load_checkpoint: "runs/first"
lora:
  rank: 16
  alpha: 8
  dropout: 0.05
  target_modules:
    - "to_q"
    - "ff.net.0.proj"
conditioning:
  mode: "reference_video"
  first_frame_conditioning_p: 0.25
  reference_latents_dir: "canny_latents"
optimization:
  learning_rate: 3e-4
  steps: 1200
  batch_size: 3
  gradient_accumulation_steps: 2
  max_grad_norm: 0.5
  optimizer_type: "adamw8bit"
  scheduler_type: "cosine_with_restarts"
  scheduler_params:
    T_0: 300
    T_mult: 1
    eta_min: 1e-5
  enable_gradient_checkpointing: true
acceleration:
  mixed_precision_mode: null
  quantization: "no_change"
  load_text_encoder_in_8bit: true
  compile_with_inductor: false
  compilation_mode: "max-autotune"
data:
  preprocessed_data_root: "data/shapes"
  num_dataloader_workers: 4
validation:
  prompts:
    - "a shape moves"
  negative_prompt: "grey"
  images: null
  reference_videos:
    - "references/shape.mp4"
  video_dims: [512, 320, 49]  # width, height, frames
  seed: 7
  inference_steps: 20
  interval: null
  videos_per_prompt: 2
  guidance_scale: 4
  skip_initial_validation: true
checkpoints:
  interval: 250
  keep_last_n: -1
flow_matching:
  timestep_sampling_mode: "uniform"
  timestep_sampling_params: {min_value: 0.1, max_value: 0.9}
hub:
  push_to_hub: true
  hub_model_id: "ada/shapes"
wandb:
  enabled: true
  project: "shapes"
  entity: null
  tags: ["first", "canny"]
  log_validation_videos: false
seed: 11
output_dir: "outputs/shapes"
"""

EXPECTED = {
    "model": {
        "model_source": "LTXV_2B_0.9.6_DEV",
        "training_mode": "lora",
        "load_checkpoint": "runs/first",
    },
    "lora": {"rank": 16, "alpha": 8, "dropout": 0.05, "target_modules": ["to_q", "ff.net.0.proj"]},
    "conditioning": {
        "mode": "reference_video",
        "first_frame_conditioning_p": 0.25,
        "reference_latents_dir": "canny_latents",
    },
    "optimization": {
        "learning_rate": 3e-4,
        "steps": 1200,
        "batch_size": 3,
        "gradient_accumulation_steps": 2,
        "max_grad_norm": 0.5,
        "optimizer_type": "adamw8bit",
        "scheduler_type": "cosine_with_restarts",
        "scheduler_params": {"cycles": 4.0, "eta_min": 1e-5},
        "enable_gradient_checkpointing": True,
    },
    "acceleration": {
        "mixed_precision_mode": "no",
        "quantization": None,
        "load_text_encoder_in_8bit": True,
        "compile_with_inductor": False,
        "compilation_mode": "max-autotune",
    },
    "data": {"preprocessed_data_root": "data/shapes", "num_dataloader_workers": 4},
    "validation": {
        "prompts": ["a shape moves"],
        "negative_prompt": "grey",
        "images": None,
        "reference_videos": ["references/shape.mp4"],
        "video_dims": [512, 320, 49],
        "seed": 7,
        "inference_steps": 20,
        "interval": None,
        "videos_per_prompt": 2,
        "guidance_scale": 4.0,
        "skip_initial_validation": True,
    },
    "checkpoints": {"interval": 250, "keep_last_n": -1},
    "flow_matching": {
        "timestep_sampling_mode": "uniform",
        "timestep_sampling_params": {"min": 0.1, "max": 0.9},
    },
    "hub": {"push_to_hub": True, "hub_model_id": "ada/shapes"},
    "trackers": {
        "wandb": True,
        "project": "shapes",
        "entity": None,
        "tags": ["first", "canny"],
        "log_validation_videos": False,
    },
}


def read(text: str, *overrides: str) -> TrainingConfig:
    return config.build(TrainingConfig, yaml_file.parse(text, list(overrides)))


def with_data(**sections) -> TrainingConfig:
    return config.build(TrainingConfig, {"data": {"preprocessed_data_root": "d"}, **sections})


def test_every_option_of_theirs_is_read():
    assert {section: tuple(options) for section, options in EXPECTED.items()} == KNOWN
    values = read(THEIRS).model_dump(mode="json")
    for section, options in EXPECTED.items():
        assert {name: values[section][name] for name in options} == options, section
    assert (values["seed"], values["output_dir"]) == (11, "outputs/shapes")


def test_a_file_of_theirs_is_written_as_one_of_theirs():
    whole = read(THEIRS)
    document = yaml.safe_load(yaml_file.dump(whole))
    assert set(document) == set(yaml.safe_load(THEIRS))
    for section, options in yaml.safe_load(THEIRS).items():
        if isinstance(options, dict):
            assert set(document[section]) == set(options), section
    assert document["optimization"]["scheduler_params"] == {"T_0": 300, "eta_min": 1e-5}
    assert document["flow_matching"]["timestep_sampling_params"] == {
        "min_value": 0.1,
        "max_value": 0.9,
    }
    assert document["wandb"]["enabled"] is True
    assert read(yaml_file.dump(whole)) == whole


def test_options_of_ours_stand_in_comments_only_when_they_are_set():
    assert "#" not in yaml_file.dump(with_data())
    whole = with_data(
        name="ours",
        trackers={"tensorboard": True},
        hub={"private": False},
        optimization={"scheduler_type": "cosine_with_restarts", "scheduler_params": {"cycles": 7}},
        flow_matching={"timestep_sampling_params": {"std": 2, "shift_limit": 9}},
    )
    text = yaml_file.dump(whole)
    document = yaml.safe_load(text)
    assert set(document) == set(yaml.safe_load(THEIRS))
    assert text.splitlines()[-12:-10] == [
        "# ltxv_train: options that LTX-Video-Trainer doesn't know; they count here",
        "#| name: ours",
    ]
    assert yaml.safe_load(uncommented(text)) == {
        "name": "ours",
        "trackers": {"tensorboard": True},
        "hub": {"private": False},
        "optimization": {"scheduler_params": {"cycles": 7.0}},  # 3000 / 7 is no number of steps
        "flow_matching": {"timestep_sampling_params": {"shift_limit": 9.0}},
    }
    assert document["flow_matching"]["timestep_sampling_params"] == {"std": 2.0}
    assert read(text) == read(text.replace("\n", "\r\n")) == whole


def test_a_key_of_ours_in_older_files_is_still_read():
    text = "data: {preprocessed_data_root: d}\nltxv_train: {name: ours, hub: {private: false}}\n"
    assert read(text) == with_data(name="ours", hub={"private": False})


@pytest.mark.parametrize(
    "name", ["# ltxv_train:", "#| seed: 3", "a: b", "-", "'", "é", "a\u2028seed: 9", "a\x85b"]
)
def test_values_that_look_like_comments_come_back(name):
    prompts = [f"one\n# ltxv_train:\n#| seed: 5\n{name}", name]
    own = {"trackers": {"tensorboard": True}, "model": {"vae_source": name}}
    whole = with_data(name="ours", validation={"prompts": prompts}, **own)
    text = yaml_file.dump(whole)
    assert read(text) == whole
    assert set(yaml.safe_load(text)) == set(yaml.safe_load(THEIRS))


def test_what_is_wrong_in_the_comments_is_told_with_its_line():
    start = "data: {preprocessed_data_root: d}\n# a comment\n#| seed: 5\n"
    assert read(start) == with_data()  # no options of ours: nothing announces them
    with pytest.raises(ConfigurationError, match=r"line 7"):
        read(start + "# ltxv_train:\n#| name: a\n#| hub: [\n")
    with pytest.raises(ConfigurationError, match=r"ltxv_train: expected sections"):
        read(start + "# ltxv_train:\n#| ours\n")
    with pytest.raises(ConfigurationError, match=r"lora\.rank: given twice"):
        read("lora: {rank: 1}\n# ltxv_train:\n#| lora: {rank: 2}")


def test_the_configuration_that_it_saves_with_a_run_is_read():
    """Its YAML has tags for Python's tuples and enums, and a null section."""
    saved = """
model:
  model_source: !!python/object/apply:ltxv_trainer.model_loader.LtxvModelVersion
  - LTXV_13B_097_DEV
  training_mode: full
lora: null
data: {preprocessed_data_root: d}
validation:
  video_dims: !!python/tuple
  - 512
  - 320
  - 49
"""
    whole = read(saved)
    assert whole.model.model_source == "LTXV_13B_097_DEV"
    assert whole.validation.video_dims == (512, 320, 49)
    assert whole.lora == config.LoRAConfig()


def test_no_other_python_object_is_made():
    with pytest.raises(ConfigurationError, match="tag is not known here"):
        read("seed: !!python/object/apply:os.getcwd []")


def test_set_understands_their_names_and_wins():
    whole = read(THEIRS, "wandb.enabled=false", "trackers.project=mine", "ltxv_train.name=ours")
    assert (whole.trackers.wandb, whole.trackers.project, whole.name) == (False, "mine", "ours")
    whole = read(THEIRS, "optimization.steps=600", "optimization.warmup_steps=300")
    assert whole.optimization.scheduler_params["cycles"] == 1  # 300 steps, 300 a cycle


def test_no_and_none_are_understood_as_they_stand_in_the_reference():
    words = ["acceleration.mixed_precision_mode=no", "acceleration.quantization=none"]
    values = yaml_file.parse("data: {preprocessed_data_root: data}", words)
    assert values["acceleration"] == {"mixed_precision_mode": "no", "quantization": None}


def test_an_option_that_is_given_twice_is_refused():
    with pytest.raises(ConfigurationError, match=r"trackers\.project: given twice, 'a' and 'b'"):
        read("wandb: {project: a}\ntrackers: {project: b}")
    with pytest.raises(ConfigurationError, match=r"lora\.rank: given twice"):
        read("lora: {rank: 1}\nltxv_train: {lora: {rank: 2}}")


@pytest.mark.parametrize(
    "text",
    ["wandb: {enable: true}", "lora: 5", "seed: null", "ltxv_train: 3", "[1, 2]", "a: {b: 1}"],
)
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigurationError):
        read(text)


def test_growing_cycles_are_refused_by_name():
    params = "{scheduler_type: cosine_with_restarts, scheduler_params: {T_0: 10, T_mult: 2}}"
    with pytest.raises(ConfigurationError, match="T_mult"):
        read(f"data: {{preprocessed_data_root: d}}\noptimization: {params}")
