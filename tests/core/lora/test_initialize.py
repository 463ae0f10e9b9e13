import math
import os
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltxv_train_core.config import LoRAConfig, TrainingConfig
from ltxv_train_core.errors import ConfigurationError, ModelError, shown
from ltxv_train_core.events import Notice, StepCompleted
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltxv.checkpoint_export import transformer_tensors
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.shipped import TRANSFORMER_CONFIG
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.names import TRANSFORMER_PREFIX
from ltxv_train_core.families.registry import comfy_name
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.file import PREFIX, lora_tensors, write_lora_file
from ltxv_train_core.lora.forms import LORA_FORMS
from ltxv_train_core.lora.initialize import (
    find_start,
    load_transformer_file,
    require_rank,
    require_start,
    start_from,
    start_notes,
)
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.lora.model_sizes import ModelSizes
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.training.trainer import train

TARGETS = ("attn1.to_q", "proj_in")
CONFIG = LoRAConfig(rank=4, alpha=8, target_modules=TARGETS)


def lora(config=CONFIG):
    transformer = load_transformer()
    add_lora(transformer, config, seed=0)
    return transformer


@pytest.fixture(scope="module")
def tensors():
    """Trained tensors under diffusers' names, to be applied at scale 1."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=generator) * 0.05
        for name, value in lora_tensors(lora()).items()
    }


def effect(transformer):
    """What the LoRA adds to each layer's weights."""
    own = lora_tensors(transformer)
    scale = transformer.transformer_blocks[0].attn1.to_q.scaling["default"]
    layers = {name.split(".lora_")[0] for name in own}
    return {
        layer: own[f"{layer}.lora_B.weight"] @ own[f"{layer}.lora_A.weight"] * scale
        for layer in layers
    }


def wanted(tensors, scale=1.0):
    layers = {name.split(".lora_")[0] for name in tensors}
    return {
        layer: tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"] * scale
        for layer in layers
    }


def close(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs
    )


def test_our_own_file_gives_back_what_was_trained(tensors, tmp_path):
    path = tmp_path / "ours.safetensors"
    write_lora_file(path, tensors, rank=4, alpha=2, metadata={})
    transformer = lora()
    assert start_from(transformer, path, CONFIG) == 0
    assert close(effect(transformer), wanted(tensors, scale=0.5))


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", ""])
@pytest.mark.parametrize("rename", [comfy_name, str], ids=["comfyui", "diffusers"])
def test_keys_of_other_trainers(tensors, tmp_path, prefix, rename):
    path = tmp_path / "theirs.safetensors"
    save_file({prefix + rename(name): value for name, value in tensors.items()}, path)
    transformer = lora()
    start_from(transformer, path, CONFIG)
    assert close(effect(transformer), wanted(tensors))


def test_an_alpha_in_the_file_counts(tensors, tmp_path):
    path = tmp_path / "alpha.safetensors"
    alphas = {
        PREFIX + name.replace("lora_A.weight", "alpha"): torch.tensor(2.0)
        for name in tensors
        if ".lora_A." in name
    }
    save_file({PREFIX + name: value for name, value in tensors.items()} | alphas, path)
    transformer = lora()
    start_from(transformer, path, CONFIG)
    assert close(effect(transformer), wanted(tensors, scale=0.5))


@pytest.mark.parametrize("form", LORA_FORMS)
def test_every_form_that_is_written_can_be_gone_on_from(tensors, tmp_path, form):
    path = tmp_path / "ours.safetensors"
    write_lora_file(path, tensors, rank=4, alpha=2, metadata={})
    if form != "comfy":
        path = convert_lora(path, form, tmp_path / f"{form}.safetensors").output
    transformer = lora()
    start_from(transformer, path, CONFIG)
    assert close(effect(transformer), wanted(tensors, scale=0.5))


def test_layers_that_the_file_lacks_start_as_new_ones(tensors, tmp_path):
    path = tmp_path / "part.safetensors"
    save_file({n: v for n, v in tensors.items() if not n.startswith("proj_in")}, path)
    transformer = lora()
    assert start_from(transformer, path, CONFIG) == 1
    assert lora_tensors(transformer)["proj_in.lora_B.weight"].abs().max() == 0
    save_file({n: v for n, v in tensors.items() if n.startswith("proj_in")}, path)
    layers = {name.rpartition(".lora_")[0] for name in tensors}
    assert start_from(lora(), path, CONFIG) == len(layers) - 1


def test_what_does_not_fit_is_refused(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    narrow = LoRAConfig(rank=4, alpha=4, target_modules=("to_q",))
    with pytest.raises(ModelError, match=r"1 layers .*first is proj_in.*lora\.target_modules"):
        start_from(lora(narrow), path, narrow)
    other = LoRAConfig(rank=8, alpha=8, target_modules=TARGETS)
    with pytest.raises(ModelError, match=r"has rank 4 and lora\.rank is 8"):
        start_from(lora(other), path, other)
    save_file({"model.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelError, match="is not a LoRA file"):
        start_from(lora(), path, CONFIG)
    half = {name: value for name, value in tensors.items() if name != "proj_in.lora_B.weight"}
    save_file(half, path)
    with pytest.raises(ModelError, match="expected pairs"):
        start_from(lora(), path, CONFIG)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is no safetensors file"):
        start_from(lora(), path, CONFIG)


def test_several_ranks_are_refused_with_the_command_that_gives_one(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    narrow = {
        n: v[:2] if ".lora_A." in n else v[:, :2] for n, v in tensors.items() if "proj_in" in n
    }
    save_file({n: v.contiguous() for n, v in (tensors | narrow).items()}, path)
    for rank, new in ((2, 2), (4, 4), (16, 4)):
        with pytest.raises(
            ModelError, match=rf"ranks 2, 4, .*`resize x\.safetensors --rank {new} "
        ):
            require_rank(path, rank)
        resize_lora(path, tmp_path / f"{rank}.safetensors", rank=new)
        require_rank(tmp_path / f"{rank}.safetensors", new)


def test_layers_that_the_run_does_not_train_are_found_without_a_model(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    layers = {name.split(".lora_")[0]: CONFIG.rank for name in tensors}
    require_start(starting(path), layers)
    with pytest.raises(ModelError, match=r"1 layers .*first is proj_in.*lora\.target_modules"):
        require_start(starting(path), {n: 4 for n in layers if n != "proj_in"})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(tensors, tmp_path, value):
    path = tmp_path / "x.safetensors"
    broken = tensors["proj_in.lora_B.weight"].clone()
    broken[0, 0] = value
    save_file(tensors | {"proj_in.lora_B.weight": broken}, path)
    for attempt in (
        lambda: require_start(starting(path)),
        lambda: start_from(lora(), path, CONFIG),
    ):
        with pytest.raises(
            ModelError, match=r"NaN or infinite numbers in 1 of 5 layers \(proj_in\)"
        ):
            attempt()


def test_pairs_of_comfyuis_own_training_node_are_taken_without_biases_and_norms(tensors, tmp_path):
    path = tmp_path / "trained.safetensors"
    layers = sorted({name.split(".lora_")[0] for name in tensors})
    written = {f"{PREFIX}{comfy_name(n)}.alpha": torch.tensor(1.0) for n in layers}
    for name in layers:
        stem = PREFIX + comfy_name(name)
        written[f"{stem}.lora_down.weight"] = tensors[f"{name}.lora_A.weight"]
        written[f"{stem}.lora_up.weight"] = tensors[f"{name}.lora_B.weight"]
        written[f"{stem}.diff_b"] = torch.ones(256)
    written[f"{PREFIX}transformer_blocks.0.attn1.q_norm.diff"] = torch.ones(256)
    save_file(written, path)
    transformer = lora()
    assert start_from(transformer, path, CONFIG) == 0
    assert close(effect(transformer), wanted(tensors, scale=0.25))
    (note,) = start_notes(starting(path).model)
    assert f"{len(layers) + 1} keys left out, as changes of biases and norms" in note
    assert inspect_file(path)["biases_and_norms"] == len(layers) + 1


def starting(path):
    data = {"preprocessed_data_root": "data"}
    model = {"load_checkpoint": str(path)}
    return TrainingConfig(data=data, model=model, lora=CONFIG)


def test_of_a_folder_the_highest_step_is_taken(tensors, tmp_path):
    def write(name, values=tensors):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        save_file(values, path)
        return path

    with pytest.raises(ModelError, match="or a folder that holds one"):
        find_start(tmp_path, "lora")
    write("weights.safetensors", {"proj_in.lora_A.default.weight": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match="or a folder that holds one"):
        find_start(tmp_path, "lora")
    final = write("final.safetensors")
    assert find_start(tmp_path, "lora") == final
    newest = write("weights/mine-abc-000100.safetensors")
    old = write("checkpoints/lora_weights_step_00090.safetensors")
    write("weights/mine-abc-000100-ema.safetensors")
    os.utime(old, (2**31, 2**31))
    assert find_start(tmp_path, "lora") == newest
    assert find_start(old, "lora") == old


def test_the_trained_weights_of_a_step_win_and_then_the_newer_file(tensors, tmp_path):
    def write(name, time):
        save_file(tensors, tmp_path / name)
        os.utime(tmp_path / name, (time, time))
        return tmp_path / name

    write("run-7-ema.safetensors", 3e9)
    assert find_start(tmp_path, "lora").name == "run-7-ema.safetensors"
    write("final.safetensors", 4e9)
    assert find_start(tmp_path, "lora").name == "run-7-ema.safetensors", "it tells its step"
    write("a-7.safetensors", 1e9)
    assert find_start(tmp_path, "lora").name == "a-7.safetensors"
    for name, time in (("b-7.safetensors", 2e9), ("Z-7.safetensors", 1.5e9)):
        write(name, time)
    assert find_start(tmp_path, "lora").name == "b-7.safetensors"
    write("c-10-ema.safetensors", 1e9)
    assert find_start(tmp_path, "lora").name == "c-10-ema.safetensors", "10 is more than 7"
    write("d-99-backup.safetensors", 5e9)
    assert find_start(tmp_path, "lora").name == "c-10-ema.safetensors", "99 does not end it"


def full_start(training_config, path):
    return training_config(model={"training_mode": "full", "load_checkpoint": str(path)})


@pytest.fixture(scope="module")
def whole():
    return transformer_tensors(load_transformer().state_dict())


def test_a_folder_gives_what_suits_the_mode(tensors, whole, tmp_path):
    save_file(tensors, tmp_path / "lora-20.safetensors")
    save_file(whole, tmp_path / "model-10.safetensors")
    assert find_start(tmp_path, "lora").name == "lora-20.safetensors"
    assert find_start(tmp_path, "full").name == "model-10.safetensors"


def test_the_check_of_a_transformer_tells_how_far_it_is(training_config, whole, tmp_path):
    path, told = tmp_path / "start.safetensors", []
    save_file(whole, path)
    require_start(full_start(training_config, path), report=told.append)
    sizes = [value.numel() * value.element_size() for value in whole.values()]
    assert len(told) == len(sizes)
    assert {e.total for e in told} == {sum(sizes)}
    done = [0, *(e.done for e in told)]
    assert done[-1] == sum(sizes)
    assert sorted(b - a for a, b in pairwise(done)) == sorted(sizes)
    assert {(e.phase, e.unit, e.item) for e in told} == {("check start file", "byte", path.name)}


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_transformer_with_one_broken_number_is_refused(training_config, whole, tmp_path, value):
    path = tmp_path / "start.safetensors"
    key = sorted(whole)[-1]
    broken = whole[key].clone()
    broken.view(-1)[-1] = value
    save_file(whole | {key: broken}, path)
    told = f"start.safetensors': {re.escape(key)} holds NaN or infinite numbers"
    with pytest.raises(ModelError, match=told):
        require_start(full_start(training_config, path))
    with pytest.raises(ModelError, match=told):
        load_transformer_file(SimpleNamespace(transformer=load_transformer()), path)


def test_a_transformer_file_is_loaded_as_it_is(whole, tmp_path):
    path, own = tmp_path / "start.safetensors", load_transformer()
    save_file({name: value + 0.5 for name, value in whole.items()}, path)
    load_transformer_file(SimpleNamespace(transformer=own), path)
    found = transformer_tensors(own.state_dict())
    assert all(torch.equal(found[name], value + 0.5) for name, value in whole.items())


BIAS = f"{TRANSFORMER_PREFIX}proj_out.bias"


@pytest.mark.parametrize(
    ("changed", "number", "first"),
    [
        ({BIAS: None}, 1, "proj_out.bias"),
        ({BIAS: torch.zeros(127)}, 1, "proj_out.bias"),
        ({BIAS: torch.zeros(129)}, 1, "proj_out.bias"),
        ({BIAS: torch.zeros(1, 128)}, 1, "proj_out.bias"),
        ({f"{TRANSFORMER_PREFIX}zzz": torch.zeros(1), BIAS: None}, 2, "proj_out.bias"),
        ({f"{TRANSFORMER_PREFIX}zzz": torch.zeros(1)}, 1, "zzz"),
    ],
)
def test_a_transformer_file_has_every_tensor_and_no_other(whole, tmp_path, changed, number, first):
    path, own = tmp_path / "start.safetensors", load_transformer()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    found = {n: v + 1 for n, v in (whole | changed).items() if v is not None}
    save_file(found | {"vae.another": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=rf"another model .*; {number} tensors .* is {first}$"):
        load_transformer_file(SimpleNamespace(transformer=own), path)
    assert all(torch.equal(own.state_dict()[name], value) for name, value in before.items())


def test_a_layer_of_another_shape_is_told_with_both(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    for change in (-1, 1):
        for part, side in (("A", 1), ("B", 0)):
            name = f"proj_in.lora_{part}.weight"
            shape = list(tensors[name].shape)
            shape[side] += change
            save_file(tensors | {name: torch.zeros(shape)}, path)
            with pytest.raises(ModelError, match=r"proj_in has the shapes .*, the model's are"):
                start_from(lora(), path, CONFIG)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_damaged_file_is_named_with_its_option_and_passed_over_in_a_folder(
    training_config, tensors, whole, tmp_path, mode
):
    path = tmp_path / "run-9.safetensors"
    path.write_bytes(b"nothing")
    model = {"training_mode": mode, "load_checkpoint": str(path)}
    config = training_config(model=model, lora={"rank": 4})
    with pytest.raises(ModelError, match=r"^model\.load_checkpoint .*run-9\.safetensors"):
        require_start(config)
    good = tmp_path / "run-1.safetensors"
    save_file(tensors if mode == "lora" else whole, good)
    assert find_start(tmp_path, mode) == good


def test_a_lora_with_a_damaged_alpha_is_named_with_its_option(tensors, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, {"lora_adapter_metadata": "{"})
    with pytest.raises(ModelError, match=r"^model\.load_checkpoint .*metadata can't be read"):
        require_start(starting(path))
    save_file(tensors | {"other": torch.zeros(1)}, path)
    with pytest.raises(
        ModelError, match=r"^model\.load_checkpoint .*x\.safetensors': expected pairs"
    ):
        require_start(starting(path))


@pytest.mark.skipif(os.name == "nt", reason="paths there are shorter")
def test_a_long_path_is_cut_at_300_letters_in_whatever_is_said(
    training_config, tensors, whole, tmp_path
):
    path = tmp_path / ("a" * 150) / ("b" * 150) / "x.safetensors"
    path.parent.mkdir(parents=True)
    named = shown(str(path), 300)
    own = SimpleNamespace(transformer=load_transformer())
    wide = tensors | {"proj_in.lora_A.weight": torch.zeros(4, 127)}
    nan = {name: value * math.nan for name, value in whole.items()}
    sizes = ModelSizes("mine", TRANSFORMER_CONFIG, LTXV)

    def told(attempt):
        with pytest.raises(ModelError) as error:
            attempt()
        text = str(error.value)
        assert text.startswith(f"model.load_checkpoint {named}:"), text

    def full():
        require_start(full_start(training_config, path), model=sizes)

    for content, attempts in (
        (tensors | {"other": torch.zeros(1)}, [lambda: require_start(starting(path))]),
        (wide, [lambda: require_start(starting(path), model=sizes)]),
        (wide, [lambda: start_from(lora(), path, CONFIG)]),
        (tensors, [lambda: require_rank(path, 5), lambda: require_start(starting(path), {})]),
        (tensors, [full]),
        ({BIAS: torch.zeros(127)}, [full, lambda: load_transformer_file(own, path)]),
        (nan, [full]),
    ):
        save_file(content, path)
        for attempt in attempts:
            told(attempt)
    path.unlink()
    empty = path.parent
    with pytest.raises(ModelError) as error:
        find_start(empty, "lora")
    assert str(error.value).startswith(f"model.load_checkpoint {shown(str(empty), 300)}: expected")


def test_a_lora_is_no_start_of_full_training_nor_the_other_way_round(
    training_config, tensors, whole, tmp_path
):
    lora_file, model_file = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(tensors, lora_file)
    save_file(whole, model_file)
    with pytest.raises(
        ModelError, match=r"load_checkpoint .*has no tensors model\.diffusion_model"
    ):
        require_start(full_start(training_config, lora_file))
    with pytest.raises(ModelError, match=r"load_checkpoint .*is not a LoRA file; expected keys"):
        require_start(starting(model_file))


def test_full_training_has_nothing_to_leave_out(training_config, tensors, tmp_path):
    save_file(tensors | {"other": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert start_notes(full_start(training_config, tmp_path / "x.safetensors").model) == ()
    assert start_notes(training_config().model) == ()
    require_start(training_config())
    (note,) = start_notes(starting(tmp_path / "x.safetensors").model)
    assert note == "model.load_checkpoint: left out, as of no layer of LTX-Video or LTX-2: other"


def test_a_run_starts_from_another(training_config, tmp_path):
    def run(**sections):
        events = []
        result = train(training_config(**sections), events.append)
        losses = [e.loss for e in events if isinstance(e, StepCompleted)]
        return result, losses, [e.message for e in events if isinstance(e, Notice)]

    first, _, _ = run()
    start = {"model": {"load_checkpoint": str(first.run_folder)}, "seed": 7}
    second, losses, notices = run(**start, optimization={"steps": 1, "learning_rate": 1e-12})
    assert f"starting from {first.lora_file.name}" in notices
    ours, theirs = load_file(second.lora_file), load_file(first.lora_file)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)
    _, fresh, _ = run(seed=7, optimization={"steps": 1, "learning_rate": 1e-12})
    assert losses != fresh

    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(first.lora_file.read_bytes())
    again = {"model": {"load_checkpoint": str(moved)}, "seed": 7}
    same, steps, _ = run(**again, optimization={"steps": 1, "learning_rate": 1e-12})
    assert (same.run_folder, steps) == (second.run_folder, []), "the content names the run"
    with pytest.raises(ConfigurationError, match=r"lora\.rank is 8"):
        run(**again, lora={"rank": 8})


def test_the_file_tells_no_path_of_its_start(training_config, tmp_path, tensors):
    from safetensors import safe_open

    path = tmp_path / "secret-place" / "start.safetensors"
    path.parent.mkdir()
    save_file(tensors, path)
    config = training_config(
        model={"load_checkpoint": str(path)},
        lora={"target_modules": list(TARGETS)},
        optimization={"steps": 1},
    )
    with safe_open(train(config).lora_file, "pt") as file:
        text = file.metadata()["training_config"]
    assert "start.safetensors" in text
    assert "secret-place" not in text
