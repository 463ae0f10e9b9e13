"""Base models as single files: what is in them, what is loaded, what is refused."""

import json
import sys

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from safetensors.torch import save_file

from ltxv_train_core.config.redact import shareable
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.checkpoint_export import (
    config_metadata,
    transformer_tensors,
    vae_tensors,
)
from ltxv_train_core.families.ltxv.detect import read_contents
from ltxv_train_core.families.ltxv.key_names import VAE_STATISTICS_UNUSED
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.tensor_shapes import transformer_shapes
from ltxv_train_core.families.ltxv.versions import TRANSFORMER_2B, TRANSFORMER_13B, VERSIONS
from ltxv_train_core.families.open import open_model
from ltxv_train_core.runs.fingerprint import fingerprint
from ltxv_train_core.training.preflight import check

TRANSFORMER, VAE = "model.diffusion_model.", "vae."
TEXT = "LTXV_MINIATURE"
DIFFERENT = {str((v.transformer, v.vae)): name for name, v in VERSIONS.items()}.values()


def part(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("described", [True, False], ids=["config", "no config"])
@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.skipif(sys.platform == "win32", reason="its files of 28 GB aren't sparse there")
def test_every_public_version_is_known_from_its_head(name, described, sparse_file):
    version = VERSIONS[name]
    with torch.device("meta"):
        transformer = LTXVideoTransformer3DModel(**version.transformer).state_dict()
        vae = AutoencoderKLLTXVideo(**version.vae).state_dict()
    tensors = {**transformer_tensors(transformer), **vae_tensors(vae, version.vae)}
    tensors |= {VAE + n: torch.empty(128, device="meta") for n in VAE_STATISTICS_UNUSED}
    metadata = config_metadata(version.transformer, version.causal_positions, version.vae)
    file = sparse_file(tensors, "BF16", metadata if described else {})
    found = read_contents(file)
    assert found.kind == "checkpoint"
    alike = {
        n
        for n, v in VERSIONS.items()
        if (v.transformer, v.vae) == (version.transformer, version.vae)
    }
    assert set(found.versions) == alike
    assert found.transformer.config == version.transformer
    assert found.vae.config == version.vae
    # As ComfyUI: a file that says nothing is sampled with positions that aren't causal.
    assert found.transformer.causal_positions is (version.causal_positions and described)
    model = open_model(str(file), text_encoder_source=TEXT)
    model.require("transformer")
    model.require("vae")
    with pytest.raises(ModelError, match=r"embeddings of 128 numbers.*reads 4096"):
        model.require("text_encoder")


@pytest.mark.parametrize("config", [TRANSFORMER_2B, TRANSFORMER_13B], ids=["2B", "13B"])
def test_the_shapes_that_a_file_is_compared_with_are_those_of_diffusers(config):
    with torch.device("meta"):
        module = LTXVideoTransformer3DModel(**config)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert transformer_shapes(config) == shapes


def test_a_checkpoint_is_the_model_it_was_written_from(checkpoint):
    model = open_model(str(checkpoint), text_encoder_source=TEXT)
    assert model.transformer.causal_positions
    assert same(model.load_transformer(torch.float32), weights.load_transformer())
    frames = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours, theirs = open_model("LTXV_MINIATURE").load_vae(), model.load_vae()
    latents = ours.encode(frames)
    assert (theirs.encode(frames) - latents).abs().max() < 1e-5
    assert (theirs.decode(latents) - ours.decode(latents)).abs().max() < 1e-4
    texts = [
        m.load_text_encoder().encode(["a red ring"])[0]["prompt_embeds"]
        for m in (model, open_model(TEXT))
    ]
    assert torch.equal(*texts)


def test_the_weights_get_the_wanted_format(checkpoint):
    model = open_model(str(checkpoint))
    transformer = model.load_transformer(torch.bfloat16)
    assert {p.dtype for p in transformer.parameters()} == {torch.bfloat16}
    assert same(transformer, weights.load_transformer(torch.bfloat16))
    codec = model.load_vae(torch.bfloat16)
    assert codec.vae.decoder.conv_in.conv.weight.dtype == torch.bfloat16
    assert codec.vae.latents_std.dtype == torch.float32


@pytest.mark.parametrize("prefix", ["", TRANSFORMER, "diffusion_model."])
def test_a_transformer_alone(contents, prefix, write):
    tensors, metadata = contents
    own = {prefix + k: v for k, v in part(tensors, TRANSFORMER).items()}
    path = write(own, json.loads(metadata["config"]))
    assert read_contents(path).kind == "transformer"
    model = open_model(str(path))
    assert same(model.load_transformer(torch.float32), weights.load_transformer())
    with pytest.raises(ModelError, match=r"holds no VAE; give one in vae_source"):
        model.require("vae")
    with pytest.raises(ModelError, match="text_encoder_source"):
        model.load_text_encoder()


def test_a_transformer_with_diffusers_names(write):
    own = weights.load_transformer()
    config = {"transformer": {"num_attention_heads": 4, "causal_temporal_positioning": True}}
    model = open_model(str(write(own.state_dict(), config)))
    assert same(model.load_transformer(torch.float32), own)


@pytest.mark.parametrize("prefix", ["", VAE])
def test_a_vae_from_another_file(contents, prefix, write, checkpoint):
    tensors, metadata = contents
    config = json.loads(metadata["config"])
    vae = write({prefix + k: v for k, v in part(tensors, VAE).items()}, config, "vae.safetensors")
    transformer = write(part(tensors, TRANSFORMER), config)
    model = open_model(str(transformer), TEXT, str(vae))
    model.require("vae")
    frames = torch.zeros(1, 3, 1, 64, 64)
    whole = open_model(str(checkpoint))
    assert torch.equal(model.load_vae().encode(frames), whole.load_vae().encode(frames))
    assert model.identity not in (open_model(str(transformer)).identity, whole.identity)
    with pytest.raises(
        ModelError, match=r"expected checkpoint or transformer, found an LTX-Video VAE"
    ):
        open_model(str(vae))


def test_a_file_without_metadata_is_told_of(contents, write, checkpoint, training_config):
    silent = write(contents[0], {"transformer": {"num_attention_heads": 4}})
    assert not open_model(str(silent)).transformer.causal_positions
    _, warnings = check(training_config(model={"model_source": str(silent)}))
    assert "model.safetensors has no metadata that say how frames" in warnings[0]
    assert check(training_config(model={"model_source": str(checkpoint)})) == ([], [])


def test_padding_is_comfyuis_where_the_file_says_nothing(contents, write):
    tensors, metadata = contents
    config = json.loads(metadata["config"])
    del config["vae"]["spatial_padding_mode"]
    vae = open_model(str(write(tensors, config))).load_vae().vae
    assert vae.encoder.conv_in.conv.padding_mode == "zeros"
    assert vae.decoder.conv_in.conv.padding_mode == "reflect"
    zeros = open_model(str(write(tensors, json.loads(metadata["config"]), "zeros.safetensors")))
    latents = torch.randn(1, 128, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = vae.decode(latents).sample
        assert decoded.shape == (1, 3, 9, 64, 64)
        assert (decoded - zeros.load_vae().vae.decode(latents).sample).abs().max() > 0.01


def test_other_files_are_refused_by_what_they_are(write):
    files = {
        "a LoRA": {"diffusion_model.a.lora_A.weight": torch.zeros(2, 2)},
        "latent upscaler": {
            "initial_conv.weight": torch.zeros(1),
            "final_conv.weight": torch.zeros(1),
        },
        "LTX-2": {
            "model.diffusion_model.audio_adaln_single.linear.weight": torch.zeros(1),
            "vocoder.acts.0.act.alpha": torch.zeros(1),
        },
        r"something unknown \(1 tensors: conv_in": {"conv_in": torch.zeros(1)},
    }
    for found, tensors in files.items():
        with pytest.raises(
            ModelError, match=rf"expected checkpoint or transformer, found .*{found}"
        ):
            open_model(str(write(tensors)))


@pytest.mark.parametrize(
    ("name", "described", "reason"),
    [
        ("transformer", None, "NoneType"),
        ("transformer", [1], "list"),
        ("transformer", {"num_attention_heads": "4"}, "the size '4' is none"),
        ("transformer", {"num_attention_heads": 0}, "the size 0 is none"),
        ("vae", {"latent_channels": 128}, "ValueError"),
        ("vae", "CausalVideoAutoencoder", "str"),
        ("vae", {"latent_channels": 128, "blocks": []}, "ValueError"),
        ("vae", {"latent_channels": 128, "blocks": [["res_x", {}]]}, "num_layers"),
        ("vae", {"latent_channels": 128, "blocks": [["res_z", 4]]}, "VAE block 'res_z'"),
    ],
)
def test_metadata_that_describe_nothing_are_one_line(contents, write, name, described, reason):
    tensors, metadata = contents
    path = write(tensors, json.loads(metadata["config"]) | {name: described})
    with pytest.raises(ModelError, match=reason) as caught:
        open_model(str(path))
    assert str(caught.value).startswith(f"{path}: what its metadata `config` say of the {name} ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_file_is_named(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut.safetensors: is damaged: it has [\d,]+ bytes and"):
        open_model(str(cut))
    for content in (b"", b"<html>not found</html>", whole[:1000], b"\x10" + bytes(7) + b"x" * 16):
        cut.write_bytes(content)
        with pytest.raises(ModelError, match=r"cut.safetensors: is no safetensors file"):
            open_model(str(cut))


def test_missing_and_foreign_tensors_are_named(contents, write):
    tensors, metadata = contents
    config = json.loads(metadata["config"])
    name = TRANSFORMER + "transformer_blocks.1.attn1.to_q.weight"
    changes = {
        rf"no {name}": {k: v for k, v in tensors.items() if k != name},
        rf"{name} has the shape \[2, 3\] instead": tensors | {name: torch.zeros(2, 3)},
        rf"{name} is stored as I16, and only BF16": tensors | {name: tensors[name].to(torch.int16)},
        r"attn1\.to_q\.weight_scale scales 16 blocks": tensors
        | {name + "_scale": torch.ones(4, 4)},
        rf"{TRANSFORMER}new.weight is unknown": tensors
        | {TRANSFORMER + "new.weight": torch.zeros(1)},
    }
    for message, changed in changes.items():
        model = open_model(str(write(changed, config)))
        for attempt in (
            model.transformer.require,
            lambda m=model: m.load_transformer(torch.float32),
        ):
            with pytest.raises(ModelError, match=message):
                attempt()
    del tensors[VAE + "encoder.conv_in.conv.weight"]
    with pytest.raises(ModelError, match=r"no vae\.encoder\.conv_in"):
        open_model(str(write(tensors, config))).require("vae")
    tensors[VAE + "encoder.conv_in.conv.weight"] = torch.zeros(128, 48, 3, 3, 3)


def test_identity_follows_the_content(contents, write, checkpoint, tmp_path):
    tensors, metadata = contents
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(checkpoint.read_bytes())
    assert open_model(str(copy)).identity == open_model(str(checkpoint)).identity
    name = TRANSFORMER + "transformer_blocks.1.attn1.to_q.weight"
    for place in (name, VAE + "encoder.conv_out.conv.bias"):
        changed = tensors | {place: tensors[place] + 0.01}
        other = write(changed, json.loads(metadata["config"]))
        assert open_model(str(other)).identity != open_model(str(checkpoint)).identity


def test_training_weights_in_place_leaves_the_file_alone(checkpoint):
    before = checkpoint.read_bytes()
    transformer = open_model(str(checkpoint)).load_transformer(torch.float32)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(1)
    assert checkpoint.read_bytes() == before


def test_a_file_of_another_form_is_described(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"config": "not json"})
    assert read_contents(tmp_path / "x.safetensors").header.config == {}


def test_check_knows_before_anything_is_loaded(
    contents, checkpoint, write, training_config, monkeypatch
):
    monkeypatch.setattr("ltxv_train_core.models.sources.meta_loading.fill", None)
    tensors, metadata = contents
    transformer = write(part(tensors, TRANSFORMER), raw=metadata)
    samples = {"prompts": ["a ring"], "video_dims": [64, 64, 9]}
    cases = [
        ({"model_source": str(checkpoint)}, None, []),
        ({"model_source": str(checkpoint)}, samples, ["text_encoder_source"]),
        ({"model_source": str(checkpoint), "text_encoder_source": TEXT}, samples, []),
        ({"model_source": str(transformer), "text_encoder_source": TEXT}, samples, ["vae_source"]),
        ({"model_source": str(transformer)}, None, []),
        (
            {"model_source": TEXT, "vae_source": str(transformer)},
            None,
            ["expected VAE or checkpoint"],
        ),
        (
            {"model_source": str(checkpoint), "vae_source": "/gone.safetensors"},
            None,
            ["model.vae_source: /gone"],
        ),
    ]
    for model, validation, named in cases:
        sections = {"validation": validation} if validation else {}
        problems, _ = check(training_config(model=model, **sections), strict=True)
        assert len(problems) == len(named), problems
        assert all(name in problem for name, problem in zip(named, problems, strict=True))
        assert all(problem.startswith("model.") for problem in problems)


def test_the_choice_of_parts_is_no_part_of_a_run_s_result(training_config, checkpoint):
    """Which encoder samples are made with changes nothing of the training."""
    plain = training_config(model={"model_source": str(checkpoint)})
    other = training_config(model={"model_source": TEXT, "text_encoder_source": "x/y"})
    assert fingerprint(plain, "data", "model") == fingerprint(other, "data", "model")


def test_nothing_of_the_machine_is_shared(training_config, checkpoint):
    model = {"model_source": str(checkpoint), "vae_source": str(checkpoint)}
    shared = shareable(training_config(model=model | {"text_encoder_source": "ada/t5"})).model
    assert shared.model_source == shared.vae_source == checkpoint.name
    assert shared.text_encoder_source == "ada/t5"
    short = training_config(model={"model_source": "ada/base.safetensors"})
    assert shareable(short).model.model_source == "base.safetensors", "no repository of ada's"
