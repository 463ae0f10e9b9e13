"""The same LoRA in every form: what it does to the weights stays what it is."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import LTXPipeline
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.inspect import inspect_file
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.registry import comfy_name
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.file import lora_ranks, read_lora, write_lora
from ltxv_train_core.lora.forms import LORA_FORMS, LoRAForm
from ltxv_train_core.lora.initialize import require_rank
from ltxv_train_core.lora.lora import LoRA, LoRALayer
from ltxv_train_core.lora.resize import resize_lora

LAYERS = {
    "proj_in": (128, 256),
    "transformer_blocks.3.attn1.to_q": (256, 256),
    "transformer_blocks.0.attn2.to_out.0": (256, 256),
    "transformer_blocks.1.ff.net.0.proj": (256, 1024),
    "transformer_blocks.1.ff.net.2": (1024, 256),
    "time_embed.linear": (256, 1536),
}
IN_BLOCKS = {name: shape for name, shape in LAYERS.items() if "blocks" in name}


def lora(layers=LAYERS, alpha: float = 3.0, ranks=(4,), dtype=torch.float32) -> dict:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 0.05).to(dtype)

    made = {}
    for number, (name, (inputs, outputs)) in enumerate(layers.items()):
        rank = ranks[number % len(ranks)]
        made[name] = LoRALayer(random(rank, inputs), random(outputs, rank), alpha)
    return made


def written(folder: Path, form: LoRAForm, made: LoRA, metadata: dict | None = None) -> Path:
    path = folder / f"{form}.safetensors"
    write_lora(path, made, metadata or {}, form)
    return path


def assert_same_change(path: Path, wanted: LoRA) -> None:
    found = read_lora(path)
    assert found.foreign == ()
    assert set(found.lora) == set(wanted)
    for name, layer in wanted.items():
        change = layer.change()
        error = (found.lora[name].change() - change).abs().max()
        assert error <= 1e-6 * change.abs().max(), name


@pytest.mark.parametrize("source", LORA_FORMS)
@pytest.mark.parametrize("target", LORA_FORMS)
@pytest.mark.parametrize("ranks", [(4,), (2, 5)], ids=["one rank", "two ranks"])
def test_every_form_becomes_every_other(tmp_path, source, target, ranks):
    made = lora(ranks=ranks)
    facts = {"base_model": "LTXV", "rank": "4", "alpha": "3", "ss_tag_frequency": "{}"}
    output = tmp_path / "out" / "converted.safetensors"
    done = convert_lora(written(tmp_path, source, made, facts), target, output)
    assert done.layers == len(LAYERS)
    assert_same_change(output, made)
    with safe_open(output, "pt") as file:
        assert facts.items() <= file.metadata().items()
        assert ("lora_adapter_metadata" in file.metadata()) == (target == "diffusers")
        assert ("ss_network_dim" in file.metadata()) == (target == "kohya")
    assert bool(done.notes) == (target == "comfy")


def test_the_keys_of_each_form(tmp_path):
    for form, key in (
        ("comfy", "diffusion_model.patchify_proj.lora_A.weight"),
        ("kohya", "lora_unet_patchify_proj.lora_down.weight"),
        ("diffusers", "transformer.proj_in.lora_A.weight"),
    ):
        assert key in load_file(written(tmp_path, form, lora()))
    kohya = load_file(tmp_path / "kohya.safetensors")
    assert kohya["lora_unet_transformer_blocks_0_attn2_to_out_0.alpha"].item() == 3
    alphas = [key for key in kohya if key.endswith(".alpha")]
    assert len(alphas) == len(LAYERS)


@pytest.mark.parametrize("form", ["comfy", "diffusers"])
def test_diffusers_gives_the_same_weights(tmp_path, form):
    """Through the pipeline's own reader, with the metadata that it finds in the file."""
    made = lora(LAYERS if form == "diffusers" else IN_BLOCKS, ranks=(4, 2))
    path = written(tmp_path, form, made)
    transformer = load_transformer()
    before = {n: m.weight.clone() for n, m in transformer.named_modules() if n in made}
    state, metadata = LTXPipeline.lora_state_dict(str(path), return_lora_metadata=True)
    assert (metadata is not None) == (form == "diffusers")
    LTXPipeline.load_lora_into_transformer(state, transformer, metadata=metadata)
    transformer.fuse_lora()
    modules = dict(transformer.named_modules())
    for name, layer in made.items():
        change = modules[name].weight - before[name]
        assert torch.allclose(change, layer.change(), atol=1e-6), name


def test_what_diffusers_writes_is_read(tmp_path):
    """A file as `save_lora_weights` makes it: alpha in the adapter metadata alone."""
    made = lora(alpha=8.0)
    state = {}
    for name, layer in made.items():
        state |= {f"{name}.lora_A.weight": layer.down, f"{name}.lora_B.weight": layer.up}
    config = {"r": 4, "lora_alpha": 8, "target_modules": ["to_q"], "rank_pattern": {}}
    LTXPipeline.save_lora_weights(tmp_path, state, transformer_lora_adapter_metadata=config)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    assert_same_change(path, made)
    assert convert_lora(path, "kohya", tmp_path / "kohya.safetensors").layers == len(made)
    assert_same_change(tmp_path / "kohya.safetensors", made)


def test_what_peft_writes_is_read(tmp_path):
    """A folder as `save_pretrained` makes it: alpha in a file beside the weights."""
    made = lora(alpha=8.0)
    state = {}
    for name, layer in made.items():
        key = f"base_model.model.{name}"
        state |= {f"{key}.lora_A.weight": layer.down, f"{key}.lora_B.weight": layer.up}
    LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"]).save_pretrained(tmp_path)
    save_file(state, tmp_path / "adapter_model.safetensors", {"format": "pt"})
    assert_same_change(tmp_path / "adapter_model.safetensors", made)


@pytest.mark.parametrize("prefix", ["", "base_model.model."])
def test_what_a_model_of_peft_has_in_its_state_is_read(tmp_path, prefix):
    """With the adapter's name in the keys; two adapters in one file are refused."""
    made, path = lora(IN_BLOCKS, alpha=4.0), tmp_path / "state.safetensors"

    def state(adapter: str) -> dict[str, torch.Tensor]:
        return {
            f"{prefix}{name}.lora_{x}.{adapter}.weight": tensor
            for name, layer in made.items()
            for x, tensor in (("A", layer.down), ("B", layer.up))
        }

    save_file(state("default"), path)
    assert_same_change(path, made)
    require_rank(path, 4)
    convert_lora(path, "comfy", tmp_path / "comfy.safetensors")
    assert_same_change(tmp_path / "comfy.safetensors", made)
    save_file(state("default") | {k: v + 1 for k, v in state("other").items()}, path)
    with pytest.raises(ModelError, match=r"holds several LoRAs \(default, other\)"):
        read_lora(path)


def test_alpha_by_layer_and_rslora(tmp_path):
    made = lora(alpha=4.0)
    path = tmp_path / "peft.safetensors"
    write_lora(path, made, {}, "diffusers")
    tensors = load_file(path)
    adapter = {"r": 4, "lora_alpha": 4, "alpha_pattern": {"attn1.to_q": 8}}

    def scales(**values) -> tuple[float, float]:
        save_file(tensors, path, {"lora_adapter_metadata": json.dumps(adapter | values)})
        found = read_lora(path).lora
        return found["transformer_blocks.3.attn1.to_q"].scale, found["proj_in"].scale

    assert scales() == (2.0, 1.0)
    assert scales(use_rslora=True) == (4.0, 2.0)
    save_file(tensors, path, {"lora_adapter_metadata": "{"})
    with pytest.raises(ModelError, match="lora_adapter_metadata can't be read"):
        read_lora(path)


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", "", "base_model.model."])
def test_without_alpha_the_scale_is_1(tmp_path, prefix):
    """Both forms that LTX-Video-Trainer writes, and what others make of them."""
    made = lora(alpha=4.0)
    path = tmp_path / "theirs.safetensors"
    tensors = {}
    for name, layer in made.items():
        key = prefix + (comfy_name(name) if prefix == "diffusion_model." else name)
        tensors |= {f"{key}.lora_A.weight": layer.down, f"{key}.lora_B.weight": layer.up}
    save_file(tensors, path)
    assert_same_change(path, made)
    convert_lora(path, "comfy", tmp_path / "comfy.safetensors")
    assert_same_change(tmp_path / "comfy.safetensors", made)


def test_half_precision_stays_where_it_is_exact(tmp_path):
    for alpha, dtype in ((2.0, torch.bfloat16), (3.0, torch.float32)):
        made = lora(alpha=alpha, dtype=torch.bfloat16)
        output = tmp_path / f"{alpha}.safetensors"
        convert_lora(written(tmp_path, "kohya", made), "comfy", output)
        tensors = load_file(output)
        assert tensors["diffusion_model.patchify_proj.lora_A.weight"].dtype == torch.bfloat16
        assert tensors["diffusion_model.patchify_proj.lora_B.weight"].dtype == dtype
        assert_same_change(output, made)


def test_what_has_no_place_is_named(tmp_path):
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    half = "diffusion_model.transformer_blocks.0.attn1.to_k.lora_A.weight"
    others = {
        half: torch.zeros(4, 256),
        "lora_te1_text_model_encoder_layers_0.lora_down.weight": torch.zeros(4, 8),
        "diffusion_model.transformer_blocks.0.attn1.to_q.diff_b": torch.zeros(8),
    }
    save_file(load_file(path) | others, path)
    done = convert_lora(path, "diffusers", tmp_path / "out.safetensors")
    assert done.layers == len(IN_BLOCKS)
    note, biases = done.notes
    assert note.startswith("2 keys not converted, as of no layer")
    assert set(note.rpartition(": ")[2].split(", ")) == set(list(others)[:2])
    assert biases == (
        "not converted, as changes of biases and norms, which are no LoRA: "
        "diffusion_model.transformer_blocks.0.attn1.to_q.diff_b"
    )
    save_file(others, path)
    with pytest.raises(ModelError, match="is not a LoRA of an LTX-Video or LTX-2 transformer"):
        convert_lora(path, "diffusers", tmp_path / "none.safetensors")


def test_many_keys_of_a_text_encoder_are_one_note(tmp_path):
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    others = {
        f"text_encoders.{n}.q.lora_{x}.weight": torch.zeros(4, 4) for n in range(100) for x in "AB"
    }
    save_file(load_file(path) | others, path)
    small = resize_lora(path, tmp_path / "small.safetensors", rank=2)
    (note,) = small.notes
    assert note.startswith(
        "200 keys left out, as of no layer of LTX-Video or LTX-2: text_encoders."
    )
    assert note.endswith(" and 197 more")


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("DoRA", "lora_magnitude_vector"),
        ("DoRA", "lora_magnitude_vector.weight"),
        ("LoKr", "lokr_t2"),
        ("LoHa", "hada_t1"),
        ("OFT", "oft_R.weight"),
        ("OFT", "rescale"),
        ("BOFT", "boft_R"),
        ("GLoRA", "a1.weight"),
        ("IA3", "ia3_l"),
    ],
)
def test_what_is_like_a_lora_is_refused_and_named(tmp_path, kind, end):
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    key = f"diffusion_model.transformer_blocks.3.attn1.to_q.{end}"
    save_file(load_file(path) | {key: torch.ones(2, 4, 4)}, path)
    assert inspect_file(path)["adapter"].startswith(f"{kind}: it ")
    for attempt in (convert_lora, resize_lora):
        form = "kohya" if attempt is convert_lora else None
        arguments = (form,) if form else ()
        output = tmp_path / "out.safetensors"
        rank = {} if form else {"rank": 2}
        with pytest.raises(ModelError, match=rf"is an? {kind} \({re.escape(key)}\)"):
            attempt(path, *arguments, output, **rank)
        assert not output.exists()


def test_a_boft_of_lycoris_has_one_dimension_more_than_an_oft(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"lycoris_transformer_blocks_0_attn1_to_q.oft_blocks": torch.ones(2, 4, 8, 8)}, path)
    with pytest.raises(ModelError, match="is a BOFT"):
        convert_lora(path, "kohya", tmp_path / "out.safetensors")


LTX2_LAYERS = [
    "transformer_blocks.0.audio_attn1.to_q",
    "transformer_blocks.0.audio_to_video_attn.to_k",
    "av_ca_video_scale_shift_adaln_single.linear",
    "audio_patchify_proj",
]


@pytest.mark.parametrize("layer", LTX2_LAYERS)
@pytest.mark.parametrize("form", ["dots", "underscores"])
def test_a_lora_of_ltx_2_is_known_by_its_layers(tmp_path, layer, form):
    """Some of its layers are called as LTX-Video's are."""
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    stem = f"diffusion_model.{layer}" if form == "dots" else f"lora_unet_{layer.replace('.', '_')}"
    pair = {
        f"{stem}.lora_down.weight": torch.ones(4, 8),
        f"{stem}.lora_up.weight": torch.ones(8, 4),
    }
    save_file(load_file(path) | pair, path)
    assert inspect_file(path)["model"] == "LTX-2"
    found = read_lora(resize_lora(path, tmp_path / "out.safetensors", rank=2).output)
    assert found.family.name == "LTX-2"
    assert not found.foreign
    assert comfy_name(layer) == layer, "its name in ComfyUI"
    kept = load_file(tmp_path / "out.safetensors")
    assert f"diffusion_model.{layer}.lora_A.weight" in kept


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("ltx-2", "LTX-2"),
        ("ltx2/lora", "LTX-2"),
        ("LTX-2.3", "LTX-2"),
        ("ltx-video/lora", "LTX-Video"),
        ("ltx-video-2b-v0.9.5", "LTX-Video"),
        ("ltx_2b", None),
    ],
)
def test_metadata_tell_the_family_of_a_lora_without_sound(tmp_path, architecture, family):
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    save_file(load_file(path), path, {"modelspec.architecture": architecture})
    assert inspect_file(path).get("model") == family


def test_several_ranks_become_one_without_loss(tmp_path):
    made = lora(IN_BLOCKS)
    name = next(iter(made))
    made[name] = LoRALayer(made[name].down[:2], made[name].up[:, :2], 2.0)
    path = written(tmp_path, "comfy", made)
    old = max(layer.rank for layer in made.values())
    done = resize_lora(path, tmp_path / "one.safetensors", rank=old)
    assert done.error < 1e-6
    assert lora_ranks(done.output) == {old}
    with pytest.raises(ModelError, match="give a smaller rank"):
        resize_lora(done.output, tmp_path / "again.safetensors", rank=old)


def test_nothing_is_overwritten(tmp_path):
    path = written(tmp_path, "comfy", lora(IN_BLOCKS))
    content = path.read_bytes()
    with pytest.raises(ModelError, match="is there already"):
        convert_lora(path, "kohya", path)
    with pytest.raises(ModelError, match=r"ends in \.safetensors"):
        convert_lora(path, "kohya", tmp_path / "lora.pt")
    assert path.read_bytes() == content
