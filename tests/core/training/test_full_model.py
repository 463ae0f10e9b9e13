"""Full training: every weight of the transformer, written as ComfyUI loads it."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core.config import ModelConfig
from ltxv_train_core.errors import ConfigurationError, ModelError
from ltxv_train_core.events import ignore
from ltxv_train_core.families.ltxv.checkpoint_export import transformer_tensors
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.open import open_model
from ltxv_train_core.training.trainable import TRAINABLES, load_trainable
from tests.helpers.short_run import run

FULL = {"training_mode": "full"}


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.fixture(scope="module")
def base():
    return transformer_tensors(load_transformer(torch.float32).state_dict())


def test_every_mode_of_the_configuration_can_be_trained():
    choices = ModelConfig.model_json_schema()["properties"]["training_mode"]["enum"]
    assert set(choices) == set(TRAINABLES)


def test_every_weight_moves_and_the_loss_falls(training_config, base):
    optimization = {"steps": 12, "batch_size": 4, "learning_rate": 1e-4}
    narrow = {"timestep_sampling_mode": "uniform", "timestep_sampling_params": {"min": 0.5}}
    sections = {"model": FULL, "optimization": optimization, "flow_matching": narrow}
    result, losses, notices = run(training_config(**sections))
    trained = load_file(result.lora_file)
    assert trained.keys() == base.keys()
    moved = [k for k in base if not torch.equal(trained[k], base[k])]
    assert len(moved) == len(base)
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4])
    count = sum(value.numel() for value in base.values())
    assert any(f"{count:,} trainable parameters" in line for line in notices)


def test_the_file_has_the_layout_and_the_configuration_of_a_checkpoint(training_config, tmp_path):
    result, _, _ = run(training_config(model=FULL, optimization={"steps": 1}))
    with (
        safe_open(result.lora_file, "pt") as ours,
        safe_open(export(tmp_path / "comfy.safetensors"), "pt") as comfy,
    ):
        names = {key for key in comfy.keys() if key.startswith("model.")}  # noqa: SIM118
        assert set(ours.keys()) == names
        described = json.loads(ours.metadata()["config"])["transformer"]
        expected = json.loads(comfy.metadata()["config"])["transformer"]
        assert described | expected == described
        assert ours.metadata()["step"] == "1"
        assert ours.metadata()["modelspec.architecture"] == "ltx-video"
        assert ours.metadata()["base_model"] == "LTXV_MINIATURE"


@pytest.mark.parametrize(("mode", "dtype"), [("bf16", torch.bfloat16), ("no", torch.float32)])
def test_the_file_has_the_precision_of_the_run(training_config, mode, dtype):
    acceleration = {"mixed_precision_mode": mode}
    config = training_config(model=FULL, acceleration=acceleration, optimization={"steps": 1})
    trained = load_file(run(config)[0].lora_file)
    assert {value.dtype for value in trained.values()} == {dtype}


def test_a_diffusers_folder_is_written_beside_the_file_by_wish(training_config):
    config = training_config(
        model=FULL, optimization={"steps": 1}, checkpoints={"write_diffusers": True}
    )
    path = run(config)[0].lora_file
    folder = path.with_name(f"{path.stem}-diffusers")
    loaded = LTXVideoTransformer3DModel.from_pretrained(folder, subfolder="transformer")
    assert same(transformer_tensors(loaded.state_dict()), load_file(path))


def test_the_diffusers_folder_is_a_model_source_with_the_parts_of_another(training_config):
    once = {"optimization": {"steps": 1}, "checkpoints": {"write_diffusers": True}}
    path = run(training_config(model=FULL, **once))[0].lora_file
    folder = path.with_name(f"{path.stem}-diffusers")
    alone = open_model(str(folder))
    assert (
        alone.transformer.causal_positions
        == open_model("LTXV_MINIATURE").transformer.causal_positions
    )
    with pytest.raises(ModelError, match=r"vae: expected a folder with config.json"):
        alone.require("vae")
    with pytest.raises(ModelError, match=r"text_encoder: expected a folder with config.json"):
        alone.require("text_encoder")
    checkpoint = export(path.with_name("base.safetensors"))
    model = {"model_source": str(folder), "text_encoder_source": "LTXV_MINIATURE"}
    model["vae_source"] = str(checkpoint)
    validation = {"prompts": ["a red ring"], "video_dims": [64, 64, 9], "inference_steps": 1}
    config = training_config(model=model, validation=validation, optimization={"steps": 1})
    assert run(config)[0].finished


def test_a_diffusers_folder_appears_whole_or_not_at_all(training_config, monkeypatch):
    config = training_config(
        model=FULL, optimization={"steps": 1}, checkpoints={"write_diffusers": True}
    )
    trained = load_trainable(config, open_model("LTXV_MINIATURE"), torch.device("cpu"), ignore)
    path = Path(config.output_dir) / "model.safetensors"

    def fail(model, folder):
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("no space left")

    monkeypatch.setattr(LTXVideoTransformer3DModel, "save_pretrained", fail)
    with pytest.raises(OSError, match="no space"):
        trained.write(path, {})
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    monkeypatch.undo()
    for _ in range(2):
        trained.write(path, {})
        names = {file.name for file in path.parent.iterdir()}
        assert names == {path.name, "model-diffusers"}


def test_a_diffusers_folder_costs_no_second_copy(training_config, monkeypatch):
    config = training_config(
        model=FULL, optimization={"steps": 1}, checkpoints={"write_diffusers": True}
    )
    trained = load_trainable(config, open_model("LTXV_MINIATURE"), torch.device("cpu"), ignore)
    own = {p.data_ptr() for p in trained.denoiser.transformer.parameters()}
    written = []

    def note(model, folder):
        written.extend(p.data_ptr() for p in model.parameters())

    monkeypatch.setattr(LTXVideoTransformer3DModel, "save_pretrained", note)
    trained.write(Path(config.output_dir) / "model.safetensors", {})
    assert set(written) == own, "in the run's precision it needs none"


def test_an_interrupted_run_goes_on_to_the_same_bits(training_config, tmp_path):
    sections = {"model": FULL, "optimization": {"steps": 3, "batch_size": 1, "ema_decay": 0.9}}
    whole, losses, _ = run(training_config(**sections))
    two = training_config(**sections, output_dir=str(tmp_path / "two"))
    run(two, stop_after=1)
    resumed, rest, _ = run(two)
    assert rest == losses[1:]
    assert same(load_file(resumed.lora_file), load_file(whole.lora_file))
    assert same(load_file(resumed.ema_file), load_file(whole.ema_file))
    assert not same(load_file(whole.ema_file), load_file(whole.lora_file))


def test_a_run_starts_from_a_trained_transformer_or_the_newest_of_a_folder(training_config, base):
    steady = {"learning_rate": 1e-12, "steps": 1, "scheduler_type": "constant"}
    first, _, _ = run(training_config(model=FULL, optimization={"steps": 2}))
    for name, start in (("from-file", first.lora_file), ("from-folder", first.run_folder)):
        model = {**FULL, "load_checkpoint": str(start)}
        result, _, notices = run(training_config(model=model, optimization=steady, name=name))
        assert f"starting from {first.lora_file.name}" in notices
        trained, begun = load_file(result.lora_file), load_file(first.lora_file)
        assert max((trained[k] - begun[k]).abs().max() for k in begun) < 1e-6
        assert max((trained[k] - base[k]).abs().max() for k in begun) > 1e-4


def test_what_is_no_transformer_is_refused_before_anything_is_loaded(training_config):
    lora, _, _ = run(training_config(optimization={"steps": 1}))
    model = {**FULL, "load_checkpoint": str(lora.lora_file)}
    with pytest.raises(ConfigurationError, match="starts from a transformer, not from a LoRA"):
        run(training_config(model=model))
    model["load_checkpoint"] = str(lora.run_folder)
    with pytest.raises(ConfigurationError, match="expected a transformer file"):
        run(training_config(model=model))


def test_a_transformer_of_another_size_is_named(training_config, tmp_path, base):
    path = tmp_path / "other.safetensors"
    save_file({k: v for k, v in base.items() if "blocks.3." not in k}, path)
    with pytest.raises(ConfigurationError, match=r"of another model .* transformer_blocks\.3\."):
        run(training_config(model={**FULL, "load_checkpoint": str(path)}))


def test_a_run_starts_from_a_file_with_diffusers_names(training_config, tmp_path, base):
    own = load_transformer(torch.float32).state_dict()
    changed = {f"model.diffusion_model.{name}": value + 1e-3 for name, value in own.items()}
    save_file(changed, tmp_path / "start.safetensors")
    model = {**FULL, "load_checkpoint": str(tmp_path / "start.safetensors")}
    steady = {"learning_rate": 1e-12, "steps": 1, "scheduler_type": "constant"}
    result, _, _ = run(training_config(model=model, optimization=steady))
    trained = load_file(result.lora_file)
    assert all((trained[key] - base[key] - 1e-3).abs().max() < 1e-6 for key in base)
