import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.config import LoRAConfig
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.key_names import comfy_name
from ltxv_train_core.families.ltxv.layers import layer_name
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.geometry import LatentSize
from ltxv_train_core.lora.file import add_trained_lora, lora_tensors, write_lora_file
from ltxv_train_core.lora.inject import add_lora
from tests.helpers.video import positions

CONFIG = LoRAConfig(rank=4, alpha=2, target_modules=("to_q", "net.2", "proj_in", "time_embed.*"))
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
