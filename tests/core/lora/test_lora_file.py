import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltx2.family import LTX2
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.registry import comfy_name, layer_name
from ltxv_train_core.geometry import LatentSize
from ltxv_train_core.lora.convert import unknown_to_diffusers, write_other_forms
from ltxv_train_core.lora.declared_alpha import ADAPTER_METADATA
from ltxv_train_core.lora.file import (
    PREFIX,
    add_trained_lora,
    lora_ranks,
    lora_tensors,
    name_some,
    read_lora,
    write_lora,
    write_lora_file,
)
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.lora.lora import LoRALayer, largest_rank
from ltxv_train_core.storage.safetensors_header import read_header
from tests.helpers.video import positions

CONFIG = LoRAConfig(rank=4, alpha=2, target_modules=("to_q", "net.2", "proj_in", "time_embed.*"))
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
IN_BLOCKS = LoRAConfig(rank=4, alpha=2, target_modules=("to_q", "to_out.0", "net.2"))


def trained(config=CONFIG):
    """A transformer with a LoRA that does something."""
    transformer = load_transformer()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in add_lora(transformer, config, seed=0):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return transformer.eval()


@torch.no_grad()
def forward(transformer):
    generator = torch.Generator().manual_seed(1)
    return transformer(
        hidden_states=torch.randn(1, 27, 128, generator=generator),
        encoder_hidden_states=torch.randn(1, 5, 128, generator=generator),
        timestep=torch.full((1, 27), 500.0),
        encoder_attention_mask=torch.ones(1, 5),
        video_coords=positions(LatentSize(3, 3, 3), torch.tensor([25.0]), True),
        return_dict=False,
    )[0]


@pytest.fixture
def lora_file(tmp_path):
    path = tmp_path / "lora.safetensors"
    write_lora_file(path, lora_tensors(trained()), CONFIG.rank, CONFIG.alpha, {"step": "7"})
    return path


def test_the_file_has_comfyui_names_a_folded_alpha_and_its_facts(lora_file):
    with safe_open(lora_file, "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
        q = "diffusion_model.transformer_blocks.0.attn1.to_q"
        assert {f"{q}.lora_A.weight", f"{q}.lora_B.weight"} <= names
        assert "diffusion_model.patchify_proj.lora_A.weight" in names
        assert "diffusion_model.adaln_single.linear.lora_B.weight" in names
        assert not any("alpha" in name for name in names)
        folded = file.get_tensor(f"{q}.lora_B.weight")
    own = lora_tensors(trained())["transformer_blocks.0.attn1.to_q.lora_B.weight"]
    assert torch.equal(folded, own * 0.5)
    assert (metadata["rank"], metadata["alpha"], metadata["step"]) == ("4", "2", "7")


def test_loading_the_file_gives_what_was_trained(lora_file):
    fresh = load_transformer()
    before = forward(fresh)
    add_trained_lora(fresh, lora_file)
    after, wanted = forward(fresh), forward(trained())
    assert (wanted - before).abs().max() > 0.1
    assert (after - wanted).abs().max() < 1e-4


def test_diffusers_reads_the_file_to_the_same_result(tmp_path):
    from diffusers import LTXPipeline

    path = tmp_path / "lora.safetensors"
    write_lora_file(path, lora_tensors(trained(IN_BLOCKS)), IN_BLOCKS.rank, IN_BLOCKS.alpha, {})
    state = LTXPipeline.lora_state_dict(str(path))
    state = state[0] if isinstance(state, tuple) else state
    fresh = load_transformer()
    fresh.load_lora_adapter(state, prefix="transformer")
    assert (forward(fresh) - forward(trained(IN_BLOCKS))).abs().max() < 1e-4


def test_foreign_and_broken_files_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="is no safetensors file"):
        add_trained_lora(load_transformer(), path)
    save_file({"transformer.x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"transformer\.x"):
        add_trained_lora(load_transformer(), path)
    pair = {f"diffusion_model.nowhere.lora_{x}.weight": torch.zeros(2, 2) for x in "AB"}
    save_file(pair, path)
    with pytest.raises(ModelError, match=r"is not a LoRA .*nowhere"):
        add_trained_lora(load_transformer(), path)
    fits = {f"diffusion_model.proj_out.lora_{x}.weight": torch.zeros(2, 2) for x in "AB"}
    save_file(pair | fits, path)
    with pytest.raises(ModelError, match=r"expected pairs .*found diffusion_model\.nowhere"):
        add_trained_lora(load_transformer(), path)
    save_file(fits, path)
    with pytest.raises(ModelError, match=r"proj_out changes weights of shape \(2, 2\)"):
        add_trained_lora(load_transformer(), path)
    block = {key.replace("proj_out", "transformer_blocks.9.attn1.to_q"): fits[key] for key in fits}
    save_file(block, path)
    with pytest.raises(ModelError, match=r"no layer transformer_blocks\.9\.attn1\.to_q"):
        add_trained_lora(load_transformer(), path)


def test_layers_are_known_by_every_name():
    assert comfy_name("proj_in.lora_A.weight") == "patchify_proj.lora_A.weight"
    assert comfy_name("time_embed.linear") == "adaln_single.linear"
    assert comfy_name("transformer_blocks.1.attn2.norm_q") == "transformer_blocks.1.attn2.q_norm"
    assert comfy_name("proj_out") == "proj_out"
    layers = [n for n, m in load_transformer().named_modules() if isinstance(m, torch.nn.Linear)]
    for layer in (*layers, "transformer_blocks.47.attn1.to_out.0"):
        for name in (layer, comfy_name(layer)):
            assert layer_name(name) == layer_name(name.replace(".", "_")) == layer
    assert layer_name("transformer_blocks.0.attn3.to_q") is None


Q, K = "transformer_blocks.0.attn1.to_q", "transformer_blocks.0.attn1.to_k"


def pair(name=Q, rank=2, outputs=3, inputs=5, **more):
    """A pair of ones, with what else stands beside it."""
    tensors = {
        "lora_A.weight": torch.ones(rank, inputs),
        "lora_B.weight": torch.ones(outputs, rank),
    }
    return {f"{PREFIX}{name}.{end}": tensor for end, tensor in (tensors | more).items()}


@settings(max_examples=30, deadline=None, derandomize=True)
@given(rank=st.integers(1, 9), alpha=st.floats(-64, 64, width=32), dtype=st.sampled_from(DTYPES))
def test_a_layer_adds_up_times_down_by_alpha_over_rank(rank, alpha, dtype):
    down, up = torch.full((rank, 3), 2.0, dtype=dtype), torch.full((4, rank), 0.5, dtype=dtype)
    layer = LoRALayer(down, up, alpha)
    assert layer.rank == rank
    assert layer.scale * rank == pytest.approx(alpha)
    assert torch.allclose(layer.change(), torch.full((4, 3), alpha), rtol=1e-5)
    assert layer.change().dtype == torch.float32
    folded = layer.folded()
    assert folded.scale == 1
    assert torch.allclose(folded.change(), layer.change(), rtol=1e-5)
    is_exact = (layer.scale * 0.5) == float(torch.tensor(layer.scale * 0.5).to(dtype))
    assert (folded.up.dtype == dtype) == is_exact or dtype == torch.float32
    assert largest_rank({"a": layer, "b": LoRALayer(down[:1], up[:, :1], 1.0)}) == rank


@settings(max_examples=30, deadline=None, derandomize=True)
@given(names=st.lists(st.text("abc", min_size=1, max_size=5), max_size=9), count=st.integers(1, 9))
def test_some_names_and_the_number_of_the_others(names, count):
    head, _, more = name_some(names, count).partition(" and ")
    assert head == ", ".join(names[:count])
    assert more == (f"{len(names) - count} more" if len(names) > count else "")
    assert name_some(names) == name_some(tuple(names), 3)


@pytest.mark.parametrize(
    "broken",
    [
        pair(rank=2) | {f"{PREFIX}{Q}.lora_B.weight": torch.ones(3, 1)},
        pair(rank=2) | {f"{PREFIX}{Q}.lora_B.weight": torch.ones(2, 3)},
        {key: value[None] for key, value in pair().items()},
        {key: value[:1] for key, value in pair(outputs=1, inputs=1, rank=1).items()}
        | {f"{PREFIX}{Q}.lora_B.weight": torch.ones(1)},
        pair(rank=0),
        pair(outputs=0),
        pair(inputs=0),
        {f"{PREFIX}{Q}.lora_A.weight": torch.ones(2, 3)},
        {f"{PREFIX}{Q}.lora_B.weight": torch.ones(2, 3)},
        {f"{PREFIX}{Q}.alpha": torch.ones(())},
    ],
)
def test_what_is_no_pair_is_foreign(tmp_path, broken):
    path = tmp_path / "x.safetensors"
    save_file(pair(K) | broken, path)
    found = read_lora(path)
    assert list(found.lora) == [K]
    assert set(found.foreign) == set(broken)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_a_pair_may_have_sides_of_any_size(tmp_path, outputs):
    save_file(pair(rank=2, outputs=outputs, inputs=1), tmp_path / "x.safetensors")
    found = read_lora(tmp_path / "x.safetensors").lora[Q]
    assert found.change().shape == (outputs, 1)


@pytest.mark.parametrize("alpha", [torch.tensor(3.0), torch.tensor([3]), torch.full((1, 1), 3.0)])
def test_an_alpha_is_one_number_of_any_format(tmp_path, alpha):
    save_file(pair(alpha=alpha.bfloat16()), tmp_path / "x.safetensors")
    assert read_lora(tmp_path / "x.safetensors").lora[Q].alpha == 3


@pytest.mark.parametrize("alpha", [torch.ones(2), torch.tensor(math.nan), torch.tensor(-math.inf)])
def test_an_alpha_that_is_no_number_is_refused(tmp_path, alpha):
    save_file(pair(alpha=alpha), tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=f"the alpha of {Q} is no number"):
        read_lora(tmp_path / "x.safetensors")


def test_an_alpha_beside_a_pair_wins_over_the_metadata(tmp_path):
    declared = {ADAPTER_METADATA: json.dumps({"lora_alpha": 7})}
    save_file(pair(alpha=torch.tensor(3.0)) | pair(K), tmp_path / "x.safetensors", declared)
    found = read_lora(tmp_path / "x.safetensors").lora
    assert (found[Q].alpha, found[K].alpha) == (3, 7)


def test_a_layer_that_stands_there_twice_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(pair() | {f"transformer.{Q}.lora_A.weight": torch.ones(2, 5)}, path)
    with pytest.raises(ModelError, match=f"holds {Q} twice, under two names"):
        read_lora(path)


@pytest.mark.parametrize(("spare", "is_read"), [(0, True), (-1, False)])
def test_pefts_file_is_read_beside_its_weights_up_to_a_size(tmp_path, spare, is_read):
    text = json.dumps({"lora_alpha": 6})
    (tmp_path / "adapter_config.json").write_text(text + " " * (2**20 - len(text) - spare))
    for name, alpha in (("adapter_model", 6), ("other", 2)):
        save_file(pair(), tmp_path / f"{name}.safetensors")
        if is_read or name == "other":
            assert read_lora(tmp_path / f"{name}.safetensors").lora[Q].alpha == alpha
        else:
            with pytest.raises(ModelError, match=r"adapter_config\.json: can't be read"):
                read_lora(tmp_path / f"{name}.safetensors")


def test_what_peft_wrote_in_no_utf_8_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_bytes(b'{"lora_alpha": "\xff"}')
    save_file(pair(), tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"adapter_config\.json: can't be read \('utf-8' codec"):
        read_lora(tmp_path / "adapter_model.safetensors")


def test_what_a_file_says_wins_over_pefts(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 6}')
    path = tmp_path / "adapter_model.safetensors"
    save_file(pair(), path, {ADAPTER_METADATA: '{"lora_alpha": 8}'})
    assert read_lora(path).lora[Q].alpha == 8
    (tmp_path / "adapter_config.json").unlink()
    save_file(pair(), path)
    assert read_lora(path).lora[Q].alpha == 2


def test_ranks_are_read_off_the_head(tmp_path):
    path = tmp_path / "x.safetensors"
    kohya = {"lora_unet_a.lora_down.weight": torch.ones(7, 2)}
    adapter = {"a.lora_A.default.weight": torch.ones(1, 9)}
    scalar = {"b.lora_A.weight": torch.tensor(1.0), "c.lora_B.weight": torch.ones(8, 8)}
    save_file(pair(rank=2) | pair(K, rank=4) | kohya | adapter | scalar, path)
    assert lora_ranks(path) == {1, 2, 4, 7}
    save_file(scalar, path)
    assert lora_ranks(path) == set()


def test_each_form_says_what_its_readers_look_for(tmp_path):
    def metadata(form, **layers):
        given = {"ss_network_dim": "99", "ss_network_alpha": "99", "mine": "1"}
        path = tmp_path / f"{form}.safetensors"
        names = {"q": Q, "k": K}
        write_lora(path, {names[n]: layer for n, layer in layers.items()}, given, form)
        return read_header(path).metadata

    def layer(rank, alpha):
        return LoRALayer(torch.ones(rank, 5), torch.ones(3, rank), alpha)

    common = {"format": "pt", "mine": "1"}
    assert metadata("comfy", q=layer(2, 1.5)) == common
    kohya = common | {"ss_network_module": "networks.lora"}
    wanted = kohya | {"ss_network_dim": "4", "ss_network_alpha": "1.5"}
    assert metadata("kohya", q=layer(2, 1.5), k=layer(4, 1.5)) == wanted
    wanted = kohya | {"ss_network_dim": "2"}
    assert metadata("kohya", q=layer(2, 1.5), k=layer(2, 2.5)) == wanted
    found = metadata("diffusers", q=layer(2, 1.5), k=layer(4, 1.5))
    assert json.loads(found.pop(ADAPTER_METADATA)) == {
        "transformer.r": 4,
        "transformer.lora_alpha": 4,
        "transformer.rank_pattern": {Q: 2},
        "transformer.alpha_pattern": {Q: 2},
        "transformer.target_modules": [K, Q],
    }
    assert found == common


def test_every_layer_with_a_broken_number_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = pair() | pair(K) | pair("proj_in")
    tensors[f"{PREFIX}{Q}.lora_A.weight"][1, 4] = math.nan
    tensors[f"{PREFIX}proj_in.lora_B.weight"][0, 0] = math.inf
    save_file(tensors, path)
    with pytest.raises(ModelError, match=rf"in 2 of 3 layers \(({Q}, proj_in|proj_in, {Q})\)"):
        read_lora(path)


def test_a_trained_file_is_rounded_after_alpha_is_folded_in(tmp_path):
    down, up = torch.full((3, 4), 1.01), torch.full((5, 3), 1.01)
    tensors = {f"{Q}.lora_A.weight": down, f"{Q}.lora_B.weight": up}
    path = tmp_path / "x.safetensors"
    write_lora_file(path, tensors, 3, 1.0, {"rank": "mine"}, torch.bfloat16)
    found = read_lora(path)
    assert torch.equal(found.lora[Q].down, down.bfloat16())
    assert torch.equal(found.lora[Q].up, (up * (1 / 3)).bfloat16())
    assert (found.metadata["rank"], found.metadata["alpha"]) == ("mine", "1.0")


def test_other_forms_are_written_once(tmp_path):
    path = tmp_path / "x.safetensors"
    write_lora(path, {Q: LoRALayer(torch.ones(2, 5), torch.ones(3, 2), 1.0)}, {})
    kohya = tmp_path / "x-kohya.safetensors"
    kohya.write_bytes(b"mine")
    write_other_forms(path, ("kohya", "diffusers"))
    assert kohya.read_bytes() == b"mine"
    found = read_lora(tmp_path / "x-diffusers.safetensors").lora[Q].change()
    assert torch.equal(found, read_lora(path).lora[Q].change())
    assert len(list(tmp_path.iterdir())) == 3


def test_diffusers_lacks_comfyuis_names_of_some_layers():
    assert unknown_to_diffusers([Q, K], LTXV) == []
    (line,) = unknown_to_diffusers([Q, "proj_in", "time_embed.linear"], LTXV)
    assert "names of proj_in, time_embed.linear: use" in line
    assert unknown_to_diffusers([Q, "proj_in", "time_embed.linear"], LTX2) == []
