"""Recipes for data sets on disk and the miniature."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from ltxv_train_core.config import DataConfig, LoRAConfig, ModelConfig, OptimizationConfig
from ltxv_train_core.demo import recipe as demo
from ltxv_train_core.errors import DataError, LTXVTrainError
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.registry import EARLIEST, LTX2
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.recipes import propose as proposing
from ltxv_train_core.recipes.clips import Clips
from ltxv_train_core.recipes.propose import propose
from ltxv_train_core.recipes.request import RecipeRequest
from ltxv_train_core.training.preflight import check
from ltxv_train_core.units import GIB
from tests.core.preprocessing.test_sounds import APART, metadata, write_sound
from tests.helpers.short_run import run

MINIATURE = ModelConfig(model_source="LTXV_MINIATURE")
SIZE = VideoSize(96, 96, 17)


def request(data, goal="style", **changes) -> RecipeRequest:
    return RecipeRequest(goal, 8 * GIB, str(data), MINIATURE, **changes)


@pytest.mark.parametrize(
    ("task", "goal", "clips"), [("stripes", "style", 24), ("mirror", "ic-lora", 48)]
)
def test_the_miniature_is_trained_as_the_demo_trains_it(tmp_path, task, goal, clips):
    alike = Clips.alike(clips, SIZE, 25.0, EARLIEST, goal == "ic-lora")
    config = propose(request(tmp_path, goal, clips=alike)).configuration
    theirs = demo.training_config(task, tmp_path, tmp_path, 42, "LTXV_MINIATURE")
    for section in ("model", "conditioning", "optimization", "acceleration", "flow_matching"):
        assert getattr(config, section) == getattr(theirs, section), section
    assert (config.lora.rank, config.lora.alpha) == (16, 16)
    assert len(config.lora.target_modules) == len(theirs.lora.target_modules)


def test_a_file_with_the_miniatures_sizes_is_the_miniature(tmp_path, stripes_data):
    model = ModelConfig(model_source=str(export(tmp_path / "file.safetensors")))
    config = propose(replace(request(stripes_data), model=model)).configuration
    assert config.optimization.learning_rate == 2e-3
    assert config.model == model


def test_clips_are_counted_in_the_data_set(prepared, stripes_data):
    """Of `prepared` five clips are 64x64x9 and three 96x64x9, each with a reference."""
    proposal = propose(request(prepared))
    assert proposal.summary.startswith(
        "goal style, normal effort: LTXV_MINIATURE, 8 clips, most of them 64x64x9"
    )
    assert proposal.configuration.optimization.steps == 100  # 800 samples are the fewest
    assert proposal.configuration.lora.rank == 8
    one, pair = (propose(request(prepared, goal)).memory for goal in ("style", "ic-lora"))
    copies = [each.gradients // 2 for each in (one, pair)]
    kept = 8 * 2 * 2 * 3 * 256 * (28.1 * 4 + 7.3 + 16.7)
    assert one.activations == pytest.approx(kept + copies[0], abs=1)
    assert pair.activations == pytest.approx(2 * kept + copies[1], abs=1)
    problems, _ = check(propose(request(stripes_data)).configuration, strict=True)
    assert problems == []


def test_samples_have_the_size_of_most_clips(prepared):
    validation = propose(request(prepared, prompts=("a word",))).configuration.validation
    assert (validation.video_dims, validation.frame_rate) == ((64, 64, 9), 25.0)
    assert (validation.inference_steps, validation.guidance_scale) == (20, 3.0)


def test_an_ic_lora_needs_references(stripes_data):
    with pytest.raises(DataError, match="has no references"):
        propose(request(stripes_data, "ic-lora"))


def test_a_data_set_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        propose(request(tmp_path / "gone"))
    with pytest.raises(LTXVTrainError, match=r"data\.preprocessed_data_root"):
        propose(request(""))


def test_a_given_data_section_names_the_data_set(tmp_path, stripes_data):
    data = DataConfig(preprocessed_data_root=str(stripes_data), num_dataloader_workers=0)
    config = propose(request("", sections={"data": data})).configuration
    assert config.data == data


def test_a_data_set_of_another_family_is_refused(tmp_path, prepared, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    from tests.helpers import toy_family

    with toy_family.known():
        index = json.loads((copy / "index.json").read_text(encoding="utf-8"))
        model = ModelConfig(model_source=toy_family.MINIATURE)
        with pytest.raises(
            DataError,
            match="it was preprocessed for LTX-Video, and TOY_MINIATURE is a model of Toy",
        ):
            propose(replace(request(copy), model=model))
        assert "family" in index


def test_a_second_family_is_proposed_for(tmp_path):
    from tests.helpers import toy_family

    with toy_family.known() as toy:
        clips = Clips.alike(10, VideoSize(48, 32, 13), 10.0, toy)
        assert clips.tokens == {"video": 4 * 2 * 3, "light": 7}
        asked = request(tmp_path, "full", clips=clips)
        asked = replace(asked, model=ModelConfig(model_source=toy_family.MINIATURE))
        memory = propose(asked).memory
        assert memory.activations == round(8 * 31 * 32 * (30.0 * 2 + 10.0)) + memory.gradients // 2


def test_what_this_machine_can_not_do_is_not_chosen(monkeypatch):
    """Where bitsandbytes is missing, what comes after it on the ladder is chosen without it; a recipe for
    another machine doesn't ask this one."""
    missing = "optimization.optimizer_type: adamw8bit needs bitsandbytes"

    def without(config, device):
        return [missing] if config.optimization.optimizer_type == "adamw8bit" else []

    def chosen(asked):
        proposal = propose(asked)
        config = proposal.configuration
        return (
            config.optimization.optimizer_type,
            config.acceleration.quantization,
            proposal.remarks,
        )

    clips = Clips.alike(25, VideoSize(768, 448, 89), 24.0, EARLIEST)
    style = RecipeRequest("style", 24 * GIB, "data", ModelConfig(), clips=clips)
    small = ModelConfig(model_source="LTXV_2B_0.9.6_DEV")
    full = RecipeRequest("full", 32 * GIB, "data", small, clips=clips)
    monkeypatch.setattr(proposing, "unavailable_here", without)
    assert chosen(style)[:2] == ("adamw8bit", "int8-quanto")
    assert chosen(full)[:2] == ("adamw8bit", None)
    here = torch.device("cuda")
    monkeypatch.setattr("ltxv_train_core.recipes.draft.computes_bfloat16", lambda device: True)
    optimizer, quantization, remarks = chosen(replace(style, device=here))
    assert (optimizer, quantization, remarks[-1]) == ("adamw", "int8-quanto", missing)
    assert chosen(replace(full, device=here))[:2] == ("adafactor", None)

    def nothing(config, device):
        quantized = config.acceleration.quantization is not None
        return [
            *without(config, device),
            *(["acceleration.quantization: int8-quanto needs optimum"] * quantized),
        ]

    monkeypatch.setattr(proposing, "unavailable_here", nothing)
    with pytest.raises(LTXVTrainError) as refused:
        propose(replace(style, card_bytes=2 * GIB, device=here))
    assert str(refused.value).startswith("card memory 2 GiB: goal style")
    optimizer, quantization, remarks = chosen(replace(style, device=here))
    assert (optimizer, quantization) == ("adamw", None)
    assert missing in remarks


def test_a_gpu_without_bf16_trains_in_fp16(monkeypatch):
    clips = Clips.alike(25, VideoSize(768, 448, 89), 24.0, EARLIEST)
    asked = RecipeRequest("style", 48 * GIB, "data", clips=clips, device=torch.device("cuda"))
    for computes, mode in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(
            "ltxv_train_core.recipes.draft.computes_bfloat16", lambda _, c=computes: c
        )
        assert propose(asked).configuration.acceleration.mixed_precision_mode == mode


def test_nothing_is_offloaded_on_a_cpu():
    asked = RecipeRequest(
        "style",
        12 * GIB,
        "data",
        ModelConfig(),
        clips=Clips.alike(25, VideoSize(768, 448, 89), 24.0, EARLIEST),
    )
    assert propose(asked).configuration.acceleration.blocks_to_offload == 24
    on_cpu = replace(asked, device=torch.device("cpu"))
    config = propose(on_cpu).configuration
    assert (config.acceleration.quantization, config.acceleration.blocks_to_offload) == ("nf4", 0)
    assert not config.optimization.activations_on_host
    with pytest.raises(LTXVTrainError, match=r"takes at least 9\.5 GiB"):
        propose(replace(on_cpu, card_bytes=10 * GIB))


@pytest.mark.long
def test_the_time_is_that_of_an_earlier_run(tmp_path, stripes_data):
    """Of an equal run, in proportion to steps; not of one with other settings."""
    options = OptimizationConfig(steps=10, batch_size=2, learning_rate=1e-3)
    sections = {"optimization": options, "lora": LoRAConfig(rank=4, alpha=4)}
    asked = request(stripes_data, sections=sections, output_dir=str(tmp_path / "runs"))
    before = propose(asked)
    assert (before.seconds, before.time) == (None, None)
    result, _, _ = run(before.configuration)
    longer = options.model_copy(update={"steps": 1000, "gradient_accumulation_steps": 3})
    after = propose(replace(asked, sections={**sections, "optimization": longer}))
    lines = (result.run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = sorted(json.loads(line)["step_seconds"] for line in lines[3:])
    assert len(steps) == 7
    assert after.seconds == pytest.approx(1000 * 3 * steps[3])
    assert after.time.run == result.run_folder.name
    assert f"as run {result.run_folder.name} took {3 * steps[3]:.2f} s for each" in after.text
    for size, is_alike in ((SIZE, True), (VideoSize(64, 64, 9), False)):
        elsewhere = replace(asked, clips=Clips.alike(4, size, 25.0, EARLIEST))
        assert (propose(elsewhere).seconds is not None) is is_alike
    other = options.model_copy(update={"batch_size": 4})
    assert propose(replace(asked, sections={**sections, "optimization": other})).seconds is None
    (result.run_folder / "training_config.yaml").write_text("not one", encoding="utf-8")
    assert propose(asked).seconds is None


def test_sounds_alone_are_learned_by_the_layers_of_the_sound(tmp_path):
    """LoRAs of other layers would see nothing of them."""
    for name in "ab":
        write_sound(tmp_path / f"{name}.wav", APART["wav"])
    source = metadata(tmp_path, [{"audio": f"{name}.wav", "caption": name} for name in "ab"])
    data = preprocess(PreprocessSettings(source, "LTX2_MINIATURE", "96x96x41")).root
    model = ModelConfig(model_source="LTX2_MINIATURE")
    asked = replace(request(data, "character", prompts=("a voice",)), model=model)
    proposal = propose(asked)
    config = proposal.configuration
    assert "2 sounds without pictures, most of them of 1.6 seconds, a card" in proposal.summary
    assert config.conditioning.modalities == "audio"
    assert config.conditioning.first_frame_conditioning_p == 0
    assert config.lora.target_modules == ("audio",)
    reasons = {choice.option: choice.reason for choice in proposal.choices}
    assert reasons["conditioning.modalities"] == "the data set has sounds alone"
    assert "32x32" not in "".join(reasons.values())
    assert check(config, strict=True)[0] == []
    both = replace(asked, clips=Clips.alike(2, VideoSize(96, 96, 41), 25.0, LTX2))
    assert propose(both).configuration.conditioning.modalities == "joint"
    assert proposal.memory.total < propose(both).memory.total
    short = config.model_copy(
        update={
            "output_dir": tmp_path / "runs",
            "optimization": config.optimization.model_copy(update={"steps": 1}),
            "validation": config.validation.model_copy(
                update={"inference_steps": 1, "interval": 1}
            ),
        }
    )
    result, losses, _ = run(short)
    assert len(losses) == 1
    assert result.lora_file is not None
