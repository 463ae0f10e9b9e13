"""A file to start from that is of a model of other sizes is found from heads alone."""

import json

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ltxv_train_core.errors import ConfigurationError, ModelError
from ltxv_train_core.families.ltxv.checkpoint_export import config_metadata, transformer_tensors
from ltxv_train_core.families.ltxv.diffusers_folder import TransformerFolder
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.shipped import TRANSFORMER_CONFIG
from ltxv_train_core.families.ltxv.miniature_model import MiniatureTransformer
from ltxv_train_core.families.ltxv.single_file import TransformerFile
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.model_sizes import ModelSizes, require_lora_of, require_transformer_of
from ltxv_train_core.training import preflight
from ltxv_train_core.training.trainer import train

SIZES = {"2B": (28, 2048), "13B": (48, 4096), "miniature": (4, 256)}
NAMED = {
    "2B": "2B: 28 blocks of width 2048",
    "13B": "13B: 48 blocks of width 4096",
    "miniature": "4 blocks of width 256",
}


def write_lora(path, size, form="comfy", layers=("attn1.to_q", "attn2.to_k"), blocks=None):
    """A LoRA of rank 4 for a model of a public size."""
    count, width = SIZES[size]
    tensors = {}
    for number in range(count) if blocks is None else blocks:
        for layer in layers:
            name = f"transformer_blocks.{number}.{layer}"
            key = f"diffusion_model.{name}"
            down, up = "lora_A", "lora_B"
            if form == "kohya":
                key, down, up = f"lora_unet_{name.replace('.', '_')}", "lora_down", "lora_up"
            inputs = 4 * width if layer == "ff.net.2" else width
            tensors[f"{key}.{down}.weight"] = torch.zeros(4, inputs, dtype=torch.bfloat16)
            tensors[f"{key}.{up}.weight"] = torch.zeros(width, 4, dtype=torch.bfloat16)
    save_file(tensors, path)
    return path


def started(training_config, path, source="LTXV_MINIATURE", **lora):
    return training_config(model={"load_checkpoint": str(path), "model_source": source}, lora=lora)


def about_start(config):
    problems, _ = preflight.check(config)
    return [line for line in problems if line.startswith("model.load_checkpoint")]


@pytest.mark.parametrize("form", ["comfy", "kohya"])
@pytest.mark.parametrize(
    ("size", "source", "wanted"),
    [
        ("2B", "LTXV_13B_097_DEV", "13B"),
        ("13B", "LTXV_2B_0.9.5", "2B"),
        ("2B", "LTXV_13B_098_DEV", "13B"),
        ("13B", "LTXV_2B_0.9.8_DISTILLED", "2B"),
        ("2B", "Lightricks/LTX-Video-0.9.7-dev", "13B"),
        ("2B", "LTXV_MINIATURE", "miniature"),
    ],
)
def test_another_models_lora_is_named(training_config, tmp_path, size, source, wanted, form):
    path = write_lora(tmp_path / "a.safetensors", size, form)
    (line,) = about_start(started(training_config, path, source))
    assert f"is a LoRA ({NAMED[size]}) of another model than" in line
    assert f"model.model_source {source} ({NAMED[wanted]})" in line
    assert line.endswith("take a LoRA of the same model")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("size", "source"), [("2B", "LTXV_2B_0.9.6_DEV"), ("13B", "LTXV_13B_098_DEV")]
)
def test_a_lora_of_the_same_size_fits(training_config, tmp_path, size, source):
    path = write_lora(tmp_path / "a.safetensors", size)
    assert about_start(started(training_config, path, source)) == []


@pytest.mark.parametrize("last", [4, 5, 30])
def test_a_lora_of_more_blocks_is_named(training_config, tmp_path, last):
    path = write_lora(tmp_path / "a.safetensors", "miniature", blocks=[0, last])
    (line,) = about_start(started(training_config, path))
    assert f"is a LoRA ({last + 1} blocks of width 256) of another model" in line
    assert f"(it changes transformer_blocks.{last}.attn1.to_q)" in line


def test_a_lora_of_the_last_block_alone_fits(training_config, tmp_path):
    path = write_lora(tmp_path / "a.safetensors", "miniature", blocks=[3])
    assert about_start(started(training_config, path)) == []


def test_a_layer_of_another_width_is_named(training_config, tmp_path):
    path = write_lora(tmp_path / "a.safetensors", "2B", layers=["ff.net.2"], blocks=[1])
    config = started(training_config, path, target_modules=["ff.net.2"])
    (line,) = about_start(config)
    assert "(transformer_blocks.1.ff.net.2 is 2048x8192 instead of 256x1024)" in line
    assert "is a LoRA of another model" in line, "no layer tells its width"


MODEL = ModelSizes("mine", TRANSFORMER_CONFIG, LTXV)
FITS = {"proj_in": (256, 128), "transformer_blocks.3.ff.net.2": (256, 1024)}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(FITS)), change=st.sampled_from([-1, 1]), side=st.integers(0, 1))
def test_one_more_or_one_less_on_either_side_is_another_model(name, change, side):
    require_lora_of("x", FITS, MODEL)
    shape = list(FITS[name])
    shape[side] += change
    told = f"{name} is {shape[0]}x{shape[1]} instead of {FITS[name][0]}x{FITS[name][1]}"
    with pytest.raises(ModelError, match=rf"\({told}\)"):
        require_lora_of("x", FITS | {name: tuple(shape)}, MODEL)


def test_the_width_is_read_off_a_square_self_attention():
    """Cross-attention's is that of the captions; not every LoRA changes one that is square."""
    wrong = {"transformer_blocks.7.attn2.to_k": (64, 64)}
    for more, told in (
        ({}, "is a LoRA of"),
        ({"transformer_blocks.0.attn1.to_q": (64, 32)}, "is a LoRA of"),
        ({"transformer_blocks.0.attn1.to_v": (32, 32)}, r"is a LoRA \(8 blocks of width 32\) of"),
    ):
        with pytest.raises(ModelError, match=told):
            require_lora_of("x", wrong | more, MODEL)
    with pytest.raises(ModelError, match=r"is a LoRA \(0 blocks of width 9\)"):
        require_lora_of("x", {"proj_in": (1, 1), "my.attn1.to_q": (9, 9)}, MODEL)


def test_sizes_of_a_model_by_its_configuration():
    assert MODEL.blocks == 4
    assert str(MODEL) == "mine (4 blocks of width 256)"
    assert MODEL.linear_shapes()["transformer_blocks.0.ff.net.0.proj"] == (1024, 256)
    assert "transformer_blocks.1.attn1.to_q" not in MODEL.linear_shapes()
    shapes = MODEL.shapes()
    assert shapes["transformer_blocks.3.attn1.to_q.weight"] == (256, 256)
    assert "transformer_blocks.4.attn1.to_q.weight" not in shapes
    assert all(type(size) is int for shape in shapes.values() for size in shape)


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"proj_in.bias": None}, 1),
        ({"proj_in.bias": (255,)}, 1),
        ({"proj_in.bias": (257,), "another": (1,)}, 2),
    ],
)
def test_a_transformer_has_every_tensor_in_its_shape_and_no_other(changed, number):
    shapes = {n: s for n, s in (MODEL.shapes() | changed).items() if s}
    with pytest.raises(ModelError, match=rf"x: is of .*; {number} tensors .* the first is [ap]"):
        require_transformer_of("x", shapes, MODEL)
    require_transformer_of("x", MODEL.shapes(), MODEL)


def test_a_run_finds_it_before_it_loads_the_model(training_config, tmp_path, monkeypatch):
    path = write_lora(tmp_path / "a.safetensors", "2B")
    monkeypatch.setattr(MiniatureTransformer, "load", None)
    with pytest.raises(ConfigurationError, match=r"of another model than model\.model_source"):
        train(started(training_config, path))


@pytest.fixture(scope="module")
def narrow():
    """A transformer of half the miniature's width and two of its blocks."""
    config = TRANSFORMER_CONFIG | {
        "num_layers": 2,
        "attention_head_dim": 32,
        "cross_attention_dim": 128,
    }
    torch.manual_seed(0)
    return LTXVideoTransformer3DModel(**config)


@pytest.mark.parametrize("layout", ["file", "folder"])
def test_sizes_are_read_from_a_file_and_a_folder(training_config, tmp_path, narrow, layout):
    path = write_lora(tmp_path / "a.safetensors", "miniature")
    if layout == "file":
        source = tmp_path / "narrow.safetensors"
        metadata = config_metadata(narrow.config, True)
        save_file(transformer_tensors(narrow.state_dict()), source, metadata)
    else:
        source = tmp_path / "narrow"
        narrow.save_pretrained(source / "transformer")
        index = '{"_class_name": "LTXConditionPipeline"}'
        (source / "model_index.json").write_text(index, encoding="utf-8")
    model = open_model(str(source))
    kind = TransformerFile if layout == "file" else TransformerFolder
    assert isinstance(model.transformer, kind)
    assert model.facts.transformer_config["num_layers"] == 2
    (line,) = about_start(started(training_config, path, str(source)))
    assert "(2 blocks of width 128)" in line
    assert "is a LoRA (4 blocks of width 256)" in line


def test_a_transformer_of_another_size_is_found_by_check(training_config, tmp_path, narrow):
    path = tmp_path / "narrow.safetensors"
    save_file(transformer_tensors(narrow.state_dict()), path)
    config = training_config(model={"training_mode": "full", "load_checkpoint": str(path)})
    (line,) = about_start(config)
    assert (
        "is of another model than model.model_source LTXV_MINIATURE (4 blocks of width 256)" in line
    )
    assert "tensors are missing, too many or of another shape, the first is" in line


@pytest.mark.parametrize("value", [None, "abc", 2.5])
def test_a_folder_whose_number_of_blocks_is_left_out_or_none_is_named(
    training_config, tmp_path, narrow, value
):
    source = tmp_path / "narrow"
    narrow.save_pretrained(source / "transformer")
    index = '{"_class_name": "LTXConditionPipeline"}'
    (source / "model_index.json").write_text(index, encoding="utf-8")
    path = source / "transformer" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"num_layers": value}
    if value is None:
        del config["num_layers"]
    path.write_text(json.dumps(config), encoding="utf-8")
    lora = write_lora(tmp_path / "a.safetensors", "miniature")
    problems, _ = preflight.check(started(training_config, lora, str(source)))
    words = "its weights are not all" if value is None else "no model of the file's sizes"
    assert any(words in line for line in problems)
