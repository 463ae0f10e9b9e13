"""Configurations of ltx-trainer are read, and what has no equal here is named."""

from typing import Any

import pytest
import yaml

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.errors import ConfigurationError

THEIRS = """
model:
  model_path: "models/two.safetensors"
  text_encoder_path: "models/gemma"
  video_vae_path: "models/vae.safetensors"
  audio_vae_path: "models/audio.safetensors"
  training_mode: "lora"
  load_checkpoint: null
lora: {rank: 8, alpha: 4, dropout: 0.1, target_modules: ["to_q", "to_v"]}
training_strategy:
  name: "flexible"
  video:
    is_generated: true
    latents_dir: "latents"
    conditions:
      - {type: first_frame, probability: 0.25}
      - {type: prefix, temporal_boundary: 3, probability: 0.5}
      - {type: suffix, temporal_boundary: 2, probability: 0.125}
      - {type: mask, mask_dir: video_masks, probability: 0.75}
      - {type: reference, latents_dir: reference_latents, probability: 1.0}
  audio:
    is_generated: true
    latents_dir: "audio_latents"
    conditions:
      - {type: prefix, temporal_boundary: 8, probability: 0.5}
      - {type: suffix, temporal_boundary: 9, probability: 0.25}
      - {type: mask, mask_dir: audio_masks, probability: 0.125}
      - {type: reference, latents_dir: reference_audio_latents, probability: 1.0}
optimization:
  learning_rate: 2e-4
  steps: 700
  batch_size: 1
  optimizer_type: "adamw8bit"
  scheduler_type: "linear"
  scheduler_params: {}
acceleration:
  mixed_precision_mode: "bf16"
  quantization: "int8-quanto"
  load_text_encoder_in_8bit: true
  offload_optimizer_during_validation: true
data: {preprocessed_data_root: "data/ours", num_dataloader_workers: 3}
validation:
  samples:
    - prompt: "one shape"
      conditions:
        - {type: first_frame, image_or_video: "a.png"}
        - {type: reference, video: "a.mp4", downscale_factor: 2, include_in_output: true}
        - {type: reference, audio: "a.wav"}
    - prompt: "another shape"
      conditions:
        - {type: first_frame, image_or_video: "b.png"}
        - {type: reference, video: "b.mp4"}
        - {type: reference, audio: "b.wav"}
        - {type: prefix, video: "c.mp4", num_frames: 9}
  negative_prompt: "grey"
  video_dims: [448, 320, 41]
  frame_rate: 24.0
  seed: 5
  inference_steps: 12
  interval: 50
  video_cfg_scale: 2.5
  audio_cfg_scale: 6.0
  video_stg_scale: 1.0
  audio_stg_scale: 0.0
  stg_blocks: [28]
  guidance_rescale: 0.5
  video_modality_guidance_scale: 3.0
  audio_modality_guidance_scale: 1.0
  generate_audio: true
  skip_initial_validation: true
checkpoints: {interval: 40, keep_last_n: 2, precision: "bfloat16"}
flow_matching: {timestep_sampling_mode: "shifted_logit_normal", timestep_sampling_params: {}}
hub: {push_to_hub: false, hub_model_id: null}
wandb: {enabled: true, project: "shapes", entity: null, tags: ["one"], log_validation_videos: true}
seed: 6
output_dir: "outputs/ours"
"""


def read(document: dict[str, Any] | str) -> tuple[TrainingConfig, list[str]]:
    text = document if isinstance(document, str) else yaml.safe_dump(document)
    told: list[str] = []
    return build(TrainingConfig, yaml_file.parse(text, tell=told.append)), told


def changed(**streams: Any) -> dict[str, Any]:
    """With another strategy; samples are given nothing."""
    document = yaml.safe_load(THEIRS)
    document["training_strategy"] = {"name": "flexible", **streams}
    document["validation"]["samples"] = [{"prompt": "one shape"}]
    return document


def test_every_section_is_brought_into_our_words() -> None:
    config, _ = read(THEIRS)
    found = config.model_dump(mode="json", exclude_defaults=True)
    assert found == {
        "seed": 6,
        "output_dir": "outputs/ours",
        "model": {
            "model_source": "models/two.safetensors",
            "text_encoder_source": "models/gemma",
            "vae_source": "models/vae.safetensors",
            "audio_vae_source": "models/audio.safetensors",
        },
        "lora": {"rank": 8, "alpha": 4, "dropout": 0.1, "target_modules": ["to_q", "to_v"]},
        "conditioning": {
            "mode": "reference_video_audio",
            "first_frame_conditioning_p": 0.25,
            "prefix_conditioning_p": 0.5,
            "prefix_frames": 3,
            "suffix_conditioning_p": 0.125,
            "mask_conditioning_p": 0.75,
            "audio_prefix_conditioning_p": 0.5,
            "audio_prefix_latents": 8,
            "audio_suffix_conditioning_p": 0.25,
            "audio_suffix_latents": 9,
            "audio_mask_conditioning_p": 0.125,
        },
        "optimization": {
            "learning_rate": 2e-4,
            "steps": 700,
            "batch_size": 1,
            "optimizer_type": "adamw8bit",
        },
        "acceleration": {"quantization": "int8-quanto", "load_text_encoder_in_8bit": True},
        "data": {"preprocessed_data_root": "data/ours", "num_dataloader_workers": 3},
        "validation": {
            "prompts": ["one shape", "another shape"],
            "negative_prompt": "grey",
            "images": ["a.png", "b.png"],
            "reference_videos": ["a.mp4", "b.mp4"],
            "reference_audios": ["a.wav", "b.wav"],
            "video_dims": [448, 320, 41],
            "frame_rate": 24.0,
            "seed": 5,
            "inference_steps": 12,
            "interval": 50,
            "guidance_scale": 2.5,
            "audio_guidance_scale": 6.0,
            "stg_scale": 1.0,
            "stg_mode": "stg_v",
            "stg_blocks": [28],
            "guidance_rescale": 0.5,
            "skip_initial_validation": True,
        },
        "checkpoints": {"interval": 40, "keep_last_n": 2, "lora_dtype": "bf16"},
        "trackers": {"wandb": True, "project": "shapes", "tags": ["one"]},
    } | {key: found[key] for key in ("trackers",)}
    assert config.trackers.wandb
    assert config.trackers.project == "shapes"
    assert config.trackers.tags == ("one",)


def test_what_has_no_equal_is_named() -> None:
    _, told = read(THEIRS)
    assert told == [
        "acceleration.offload_optimizer_during_validation True: has no equal here and is not used",
        "validation.video_modality_guidance_scale 3.0: has no equal here and is not used",
        "validation.samples, include_in_output: has no equal here and is not used",
        "validation.samples, condition 'prefix': samples here are not given it",
    ]


@pytest.mark.parametrize(
    ("streams", "modalities", "options"),
    [
        ({"video": {"is_generated": True}}, "video", {"guidance_scale": 2.5, "stg_scale": 1.0}),
        ({"audio": {"is_generated": True}}, "audio", {"guidance_scale": 6.0, "stg_scale": 0.0}),
        ({"video": {}, "audio": {}}, "joint", {"audio_guidance_scale": 6.0}),
    ],
)
def test_modalities_that_are_learned(streams: dict, modalities: str, options: dict) -> None:
    config, _ = read(changed(**streams))
    assert config.conditioning.modalities == modalities
    assert config.conditioning.mode == "none"
    assert config.conditioning.first_frame_conditioning_p == 0, "ours is 0.1 where it isn't named"
    for name, value in options.items():
        assert getattr(config.validation, name) == value


@pytest.mark.parametrize(
    ("given", "learned", "modalities", "option"),
    [
        ("audio", "video", "audio_to_video", "audios"),
        ("video", "audio", "video_to_audio", "videos"),
    ],
)
def test_one_modality_for_the_other(given: str, learned: str, modalities: str, option: str) -> None:
    document = changed(**{given: {"is_generated": False}, learned: {"is_generated": True}})
    condition = {"type": modalities, given: "given.mp4"}
    document["validation"]["samples"] = [{"prompt": "x", "conditions": [condition]}]
    config, told = read(document)
    assert config.conditioning.modalities == modalities
    assert getattr(config.validation, option) == ("given.mp4",)
    assert config.validation.guidance_scale == (2.5 if learned == "video" else 6.0)
    assert not any("samples" in line for line in told)


def test_what_is_taken_another_way_is_named() -> None:
    document = changed(
        video={
            "latents_dir": "other",
            "conditions": [
                {"type": "spatial_crop", "spatial_region": [0, 0, 64, 64], "probability": 0.5},
                {"type": "reference", "latents_dir": "depth", "probability": 0.5},
            ],
        }
    )
    document["validation"]["samples"] = []
    config, told = read(document)
    assert config.conditioning.spatial_crop_conditioning_p == 0.5
    assert config.conditioning.mode == "reference_video"
    words = ("latents_dir 'other'", "spatial_crop", "probability 0.5", "latents_dir 'depth'")
    assert all(any(word in line for line in told) for word in words)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (
            {"name": "text_to_video", "first_frame_conditioning_p": 0.3, "with_audio": True},
            ("none", "joint", 0.3),
        ),
        ({"name": "text_to_video"}, ("none", "video", 0.1)),
        (
            {"name": "video_to_video", "first_frame_conditioning_p": 0.2},
            ("reference_video", "video", 0.2),
        ),
    ],
)
def test_strategies_of_older_files(strategy: dict, expected: tuple) -> None:
    document = changed()
    document["training_strategy"] = strategy
    document["validation"] = {}
    found = read(document)[0].conditioning
    assert (found.mode, found.modalities, found.first_frame_conditioning_p) == expected


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("flexible", "training_strategy: expected a section"),
        ({"name": "other"}, "training_strategy.name 'other': expected flexible"),
        ({"name": "flexible"}, "expected the sections video, audio or both"),
        ({"name": "flexible", "video": {"is_generated": False}}, "must have is_generated true"),
        (
            {"name": "flexible", "audio": {"conditions": [{"type": "first_frame"}]}},
            "is no condition of audio",
        ),
        ({"name": "flexible", "video": {"conditions": 5}}, r"video\.conditions: expected a list"),
        ({"name": ["flexible"]}, "training_strategy.name list of 1"),
        ({"name": "flexible", "video": {}, "vidio": {}}, r"training_strategy\.vidio: no such"),
        ({"name": "flexible", "video": {"condition": []}}, r"video\.condition: no such option"),
        ({"name": "flexible", "video": {"is_generated": "no"}}, "must be true or false"),
        ({"name": "text_to_video", "with_audio": "no"}, "must be true or false"),
        (
            {"name": "flexible", "video": {"conditions": [{"type": "prefix"}, {"type": "prefix"}]}},
            "'prefix' stands there twice",
        ),
        (
            {
                "name": "flexible",
                "video": {"conditions": [{"type": "reference"}, {"type": "reference"}]},
            },
            "'reference' stands there twice",
        ),
    ],
)
def test_a_strategy_that_cannot_be_read_is_named(strategy: Any, said: str) -> None:
    document = changed()
    document["training_strategy"] = strategy
    with pytest.raises(ConfigurationError, match=said):
        read(document)


def test_an_unknown_key_is_refused_where_it_stands() -> None:
    document = changed(video={})
    document["optimization"]["momentum"] = 0.9
    with pytest.raises(ConfigurationError, match=r"optimization\.momentum"):
        read(document)


@pytest.mark.parametrize(
    ("section", "options", "said"),
    [
        ("checkpoints", {"precision": ["bfloat16"]}, r"checkpoints\.lora_dtype: must be"),
        (
            "validation",
            {"samples": [{"prompt": "a", "conditions": 5}]},
            "validation.samples, conditions: expected a list",
        ),
    ],
)
def test_a_value_of_another_kind_is_named(section: str, options: dict, said: str) -> None:
    document = changed(video={})
    document[section] = options
    with pytest.raises(ConfigurationError, match=said):
        read(document)


def test_a_model_that_is_not_there_is_told_without_layers_of_another_family(
    tmp_path, capsys
) -> None:
    path = tmp_path / "theirs.yaml"
    document = changed(audio={})
    document["lora"]["target_modules"] = ["audio_attn1.to_q", "to_nothing"]
    document["validation"] = {}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    main(["check", str(path)])
    printed = capsys.readouterr().out
    assert "model.model_source: models/two.safetensors: no such file" in printed
    assert "'to_nothing' matches no layer" in printed
    assert "audio_attn1.to_q' matches" not in printed
    # 0 asks for nothing, and their files have no default of ours.
    assert "first_frame_conditioning_p: is not used" not in printed


def test_check_prints_what_has_no_equal(tmp_path, capsys) -> None:
    path = tmp_path / "theirs.yaml"
    document = changed(video={}, audio={})
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    main(["check", str(path)])
    printed = capsys.readouterr().out
    assert "warning: validation.video_modality_guidance_scale 3.0: has no equal here" in printed
