"""What a run trains: how it is loaded, and what is told of it."""

import pytest
import torch
from safetensors.torch import save_file

from ltxv_train_core.events import Notice, Progress
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.file import lora_tensors, read_lora, write_lora
from ltxv_train_core.lora.lora import LoRALayer
from ltxv_train_core.models.memory.frozen_linear import EightBitLinear
from ltxv_train_core.training import trainable_lora
from ltxv_train_core.training.trainable import (
    has_wanted_dtype,
    load_trainable,
    write_missing_forms,
)
from ltxv_train_core.units import byte_size

CPU = torch.device("cpu")
Q, K = (f"transformer_blocks.0.attn1.to_{x}" for x in "qk")
ONE = {"rank": 2, "alpha": 1, "target_modules": ["0.attn1.to_q"]}
FULL = {"training_mode": "full"}


@pytest.fixture
def load(training_config):
    def load(**sections):
        told = []
        config = training_config(**{"lora": ONE} | sections)
        trained = load_trainable(config, open_model("LTXV_MINIATURE"), CPU, told.append)
        return trained, told

    return load


def notices(told):
    return [event.message for event in told if isinstance(event, Notice)]


@pytest.mark.parametrize("model", [{}, FULL])
def test_loading_is_told_at_its_begin_and_its_end(load, model):
    trained, told = load(model=model)
    progress = [(e.phase, e.done, e.total, e.unit) for e in told if isinstance(e, Progress)]
    assert progress == [("load model", 0, 1, "model"), ("load model", 1, 1, "model")]
    assert notices(told) == []
    transformer = trained.denoiser.transformer
    assert transformer.training
    wanted = [p for p in transformer.parameters() if p.requires_grad]
    assert [id(p) for p in trained.parameters] == [id(p) for p in wanted]
    assert len(wanted) == (len(list(transformer.parameters())) if model else 2)
    assert {p.dtype for p in wanted} == {torch.float32}
    assert trained.dropout_seed.value == 0
    assert not transformer.is_gradient_checkpointing


@pytest.mark.parametrize("model", [{}, FULL])
def test_checkpointing_is_switched_on_by_wish(load, model):
    optimization = {"enable_gradient_checkpointing": True}
    trained, _ = load(model=model, optimization=optimization)
    assert trained.denoiser.transformer.is_gradient_checkpointing


@pytest.mark.parametrize("count", [1, 3, 4])
def test_offloaded_blocks_are_told_with_their_size(load, monkeypatch, count):
    """The miniature's, as if they were a thousand times as large."""
    size = trainable_lora.frozen_bytes
    monkeypatch.setattr(trainable_lora, "frozen_bytes", lambda block: 1000 * size(block))
    trained, told = load(acceleration={"blocks_to_offload": count})
    blocks = trained.denoiser.transformer.transformer_blocks
    each = 1000 * sum(p.nbytes for p in blocks[3].parameters() if not p.requires_grad)
    assert 2**31 < each < 2**34
    (line,) = notices(told)
    assert line == (
        f"{count} of 4 blocks ({byte_size(count * each)}) live in host memory; on a CPU that "
        "saves nothing"
    )


def test_the_base_has_the_precision_of_the_run(load):
    for mode, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        trained, _ = load(acceleration={"mixed_precision_mode": mode})
        assert trained.denoiser.transformer.proj_in.weight.dtype == dtype
        assert not any(
            isinstance(m, EightBitLinear) for m in trained.denoiser.transformer.modules()
        )


def test_layers_that_the_start_lacks_are_told(load, tmp_path):
    path = tmp_path / "start-5.safetensors"
    layer = LoRALayer(torch.ones(2, 256), torch.ones(256, 2), 2.0)
    write_lora(path, {Q: layer}, {})
    for targets, rest in (
        (["0.attn1.to_q"], ""),
        (["0.attn1.to_[qk]", "1.attn1.to_q"], "; 2 layers that it lacks start from zero"),
    ):
        trained, told = load(
            model={"load_checkpoint": str(tmp_path)}, lora=ONE | {"target_modules": targets}
        )
        assert notices(told) == [f"starting from start-5.safetensors{rest}"]
        up = lora_tensors(trained.denoiser.transformer)[f"{Q}.lora_B.weight"]
        assert (up == 2).all(), "alpha over rank is half of the file's"


@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_a_lora_is_written_in_its_format_and_forms(load, tmp_path, dtype, training_config):
    files = {"lora_dtype": dtype, "write_kohya": True}
    trained, _ = load(checkpoints=files)
    with torch.no_grad():
        trained.parameters[1].fill_(1.0)
    path = tmp_path / "x.safetensors"
    trained.write(path, {"step": "9"})
    found = read_lora(path)
    assert found.metadata["step"] == "9"
    assert (found.metadata["rank"], found.metadata["alpha"]) == ("2", "1")
    assert (found.lora[Q].up == 0.5).all()
    names = {file.name for file in tmp_path.glob("*.safetensors")}
    assert names == {"x.safetensors", "x-kohya.safetensors"}
    for wanted in ("float32", "bf16"):
        config = training_config(checkpoints={"lora_dtype": wanted})
        assert has_wanted_dtype(config, path) == (wanted == dtype)


def test_the_format_of_what_is_no_lora_is_not_the_wanted_one(training_config, tmp_path):
    config, path = training_config(), tmp_path / "x.safetensors"
    assert not has_wanted_dtype(config, path)
    save_file({"a.alpha": torch.zeros(1)}, path)
    assert not has_wanted_dtype(config, path)
    path.write_bytes(b"torn")
    assert not has_wanted_dtype(config, path)
    assert has_wanted_dtype(training_config(model=FULL), path), "a transformer is as it is"


def test_missing_forms_are_written_beside_a_lora_alone(training_config, tmp_path):
    path = tmp_path / "x.safetensors"
    write_lora(path, {Q: LoRALayer(torch.ones(2, 256), torch.ones(256, 2), 2.0)}, {})
    files = {"write_kohya": True, "write_diffusers": True}
    write_missing_forms(training_config(model=FULL, checkpoints=files), path)
    write_missing_forms(training_config(), path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    write_missing_forms(training_config(checkpoints=files), path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_names_that_diffusers_lacks_are_told_unless_it_gets_its_own_file(load):
    lora = ONE | {"target_modules": ["proj_in", "time_embed.linear"]}
    (line,) = notices(load(lora=lora)[1])
    assert "names of proj_in, time_embed.linear:" in line
    assert line.endswith("(checkpoints.write_diffusers)")
    assert notices(load(lora=lora, checkpoints={"write_diffusers": True})[1]) == []
