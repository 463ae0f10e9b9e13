"""What encodes for a user's own LTX-2 model: the same parts from a checkpoint, from split files and from folders."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltx2.audio_vae_file import comfy_vocoder_name
from ltxv_train_core.families.ltx2.description import as_metadata
from ltxv_train_core.families.ltx2.text_encoder import LTX2TextEncoder
from ltxv_train_core.families.names import AUDIO_TEXT, AUDIO_VAE, TEXT_ENCODER, VAE, VIDEO_TEXT
from ltxv_train_core.families.open import local_problems, open_model
from ltxv_train_core.storage.safetensors_header import read_header
from ltxv_train_core.storage.tensors import write_safetensors
from tests.helpers import ltx2_parts as parts
from tests.helpers.ltx2 import AUDIO_WIDTH, CAPTION, WIDTH, write_checkpoint
from tests.helpers.ltx2_parts import SENTENCES

GENERATIONS = ("2.0", "2.3", "2.5")
GEMMAS = {"2.0": "Gemma 3", "2.3": "Gemma 3", "2.5": "Gemma 4"}
TEXT_TOKENS = 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files of a generation, each written once: `whole`, `gemma`, `folder`, and `transformer`, `vae`, `audio`,
    `projection` as split files."""
    root = tmp_path_factory.mktemp("ltx2")

    @cache
    def written(kind: str, generation: str) -> Path:
        path = root / f"{kind}-{generation}.safetensors"
        if kind == "whole":
            return parts.write_whole(path, generation)
        if kind == "gemma":
            packed = generation if generation == "2.5" else None
            return parts.write_gemma_file(path, GEMMAS[generation], packed)
        if kind == "folder":
            return parts.write_diffusers_folder(root / generation, generation)
        if kind == "transformer":
            return write_checkpoint(path, generation)
        tensors, told = {
            "vae": (lambda: parts.video_vae_tensors(generation, ""), ("vae",)),
            "audio": (lambda: parts.audio_tensors(generation), ("audio_vae", "vocoder")),
            "projection": (lambda: parts.projection_tensors(generation), ()),
        }[kind]
        whole = read_header(written("whole", generation)).config
        metadata = as_metadata({name: whole[name] for name in told})
        write_safetensors(path, tensors(), metadata)
        return path

    return written


def split(files: Any, generation: str) -> Any:
    """A model of ComfyUI's split files."""
    named = {"vae_source": "vae", "audio_vae_source": "audio", "text_encoder_source": "gemma"}
    if generation != "2.5":
        named["text_projection_source"] = "projection"
    sources = {option: str(files(kind, generation)) for option, kind in named.items()}
    return open_model(str(files("transformer", generation)), **sources)


def whole(files: Any, generation: str) -> Any:
    text = str(files("gemma", generation))
    return open_model(str(files("whole", generation)), text_encoder_source=text)


def opened(files: Any, form: str, generation: str) -> Any:
    if form == "folder":
        return open_model(str(files("folder", generation)))
    return (split if form == "split" else whole)(files, generation)


FORMS = ("whole", "split", "folder")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_video_is_encoded_and_decoded_as_diffusers_does(
    files: Any, form: str, generation: str
) -> None:
    if (form, generation) == ("folder", "2.5"):
        pytest.skip("diffusers has LTX-2.5's encoder in the layout of 2.3")
    model = opened(files, form, generation)
    model.require(VAE)
    frames = torch.rand(1, 3, 9, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    reference = parts.video_vae(generation)
    mean, std = (
        each.view(1, -1, 1, 1, 1) for each in (reference.latents_mean, reference.latents_std)
    )
    with torch.no_grad():
        expected = (reference.encode(frames).latent_dist.mode() - mean) / std
        decoded = reference.decode(expected * std + mean).sample.clamp(-1, 1)
    vae = model.load_vae()
    latents = vae.encode(frames)
    assert latents.shape == (1, 128, 2, 2, 3)
    torch.testing.assert_close(latents, expected)
    if generation == "2.5":
        with pytest.raises(
            ModelError, match="choose as vae_source the VAE file with the convolutional decoder"
        ):
            vae.decode(latents)
    else:
        torch.testing.assert_close(vae.decode(latents), decoded)
    half = model.load_vae(torch.bfloat16)
    assert half.vae.encoder.conv_in.conv.weight.dtype == torch.bfloat16
    assert half.vae.latents_std.dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_sound_is_encoded_and_decoded_as_diffusers_does(
    files: Any, form: str, generation: str
) -> None:
    model = opened(files, form, generation)
    model.require(AUDIO_VAE)
    vae = model.load_audio_vae()
    sound = torch.randn(1, 2, 6400, generator=torch.Generator().manual_seed(2)) / 5
    latents = vae.encode(sound)
    assert latents.shape == (1, 8, 10, 16)
    reference, voice = parts.audio_vae(), parts.vocoder(generation)
    mean, std = (each.view(1, 8, 1, 16) for each in (reference.latents_mean, reference.latents_std))
    with torch.no_grad():
        mel = reference.decode(latents * std + mean).sample
        heard = voice(mel).clamp(-1, 1)
        again = (reference.encode(mel).latent_dist.mode() - mean) / std
        ours = (vae.vae.encode(mel).latent_dist.mode() - mean) / std
    assert vae.sample_rate == parts.SOUND_RATES[generation]
    decoded = vae.decode(latents)
    assert decoded.shape == (1, 2, 37 * vae.sample_rate // 100)
    torch.testing.assert_close(decoded, heard)
    torch.testing.assert_close(ours, again)
    assert decoded.std() > 0.01


def as_diffusers(generation: str, ids: list[int]) -> tuple[Tensor, Tensor]:
    """A prompt padded on the left to 1,024 tokens, through diffusers' own modules."""
    gemma, connectors = parts.gemma(GEMMAS[generation]), parts.whole_connectors(generation)
    padding = TEXT_TOKENS - len(ids)
    mask = torch.tensor([[0] * padding + [1] * len(ids)])
    with torch.no_grad():
        states = gemma(
            input_ids=torch.tensor([[0] * padding + ids]),
            attention_mask=mask,
            output_hidden_states=True,
        ).hidden_states
        video, audio, _ = connectors(torch.stack(states, dim=-1), mask, padding_side="left")
    return video[0], audio[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_prompt_is_encoded_as_diffusers_pipeline_does(
    files: Any, form: str, generation: str
) -> None:
    model = opened(files, form, generation)
    model.require(TEXT_ENCODER)
    encoder = model.load_text_encoder()
    first, second = encoder.encode(SENTENCES)
    widths = (CAPTION, CAPTION) if generation == "2.0" else (WIDTH, AUDIO_WIDTH)
    assert first[VIDEO_TEXT].shape == (TEXT_TOKENS, widths[0])
    assert first[AUDIO_TEXT].shape == (TEXT_TOKENS, widths[1])
    assert (first[VIDEO_TEXT] - second[VIDEO_TEXT]).abs().max() > 0.1
    ids = encoder.tokenize(SENTENCES[0])
    assert ids[0] == 2
    for ours, theirs in zip(first.values(), as_diffusers(generation, ids), strict=True):
        assert (ours - theirs).abs().max() < 1e-3
        assert (ours - theirs).abs().mean() < 2e-5


def test_the_same_weights_are_known_in_every_form(files: Any, tmp_path: Path) -> None:
    for part in (VAE, AUDIO_VAE):
        found = {opened(files, form, "2.3").part(part).content for form in FORMS}
        assert len(found) == 1, part
    texts = [opened(files, form, "2.3").part(TEXT_ENCODER) for form in ("whole", "split")]
    assert len({text.encoding for text in texts}) == len({text.content for text in texts}) == 1
    gemma = load_file(files("gemma", "2.3"))
    gemma["model.layers.5.mlp.down_proj.weight"] *= 2
    write_safetensors(tmp_path / "other.safetensors", gemma, {})
    other = open_model(
        str(files("whole", "2.3")), text_encoder_source=str(tmp_path / "other.safetensors")
    ).part(TEXT_ENCODER)
    assert other.encoding != texts[0].encoding, "it encodes otherwise"
    assert other.content == texts[0].content, "as far as a data set of the canvas can tell"


def test_names_are_those_of_the_published_layout(files: Any) -> None:
    names = read_header(files("whole", "2.3")).tensors
    for name in (
        "vae.encoder.down_blocks.0.res_blocks.0.conv1.conv.weight",
        "vae.encoder.down_blocks.1.conv.conv.weight",
        "vae.encoder.down_blocks.8.res_blocks.0.conv2.conv.bias",
        "vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.weight",
        "vae.decoder.up_blocks.1.conv.conv.weight",
        "vae.decoder.up_blocks.6.res_blocks.1.conv1.conv.weight",
        "vae.per_channel_statistics.std-of-means",
        "audio_vae.encoder.down.0.block.0.conv1.conv.weight",
        "audio_vae.per_channel_statistics.mean-of-means",
        "vocoder.vocoder.conv_pre.weight",
        "vocoder.vocoder.ups.5.weight",
        "vocoder.bwe_generator.resblocks.0.acts1.0.downsample.lowpass.filter",
        "vocoder.bwe_generator.resblocks.0.acts1.0.upsample.filter",
        "vocoder.vocoder.act_post.act.beta",
        "vocoder.mel_stft.stft_fn.forward_basis",
        "text_embedding_projection.audio_aggregate_embed.bias",
    ):
        assert name in names, name
    assert "vocoder.ups.0.weight" in read_header(files("whole", "2.0")).tensors
    assert comfy_vocoder_name("act_out.downsample.filter") == "act_post.downsample.lowpass.filter"


def encoder_bytes(encoder: LTX2TextEncoder) -> int:
    layers = encoder.gemma.layers
    tensors = (*layers.parameters(), *layers.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def nearness(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Correlation of what is encoded of the video."""
    both = torch.stack([ours[VIDEO_TEXT].float().flatten(), theirs[VIDEO_TEXT].float().flatten()])
    return float(torch.corrcoef(both)[0, 1])


def test_gemma_is_held_in_fewer_bits(files: Any, tmp_path: Path) -> None:
    model, cpu = whole(files, "2.3"), torch.device("cpu")
    exact = model.load_text_encoder()
    (expected,) = exact.encode(SENTENCES[:1])
    full = encoder_bytes(exact)
    half = model.load_text_encoder(torch.bfloat16)
    assert encoder_bytes(half) == full // 2
    assert nearness(half.encode(SENTENCES[:1])[0], expected) > 0.999
    four = model.load_text_encoder(torch.bfloat16).in_four_bits().to(cpu)
    assert encoder_bytes(four) < 0.2 * full
    assert nearness(four.encode(SENTENCES[:1])[0], expected) > 0.9
    in_8_bit = in_scaled_fp8(files("gemma", "2.3"), tmp_path / "fp8.safetensors")
    source = open_model(str(files("whole", "2.3")), text_encoder_source=str(in_8_bit))
    source.require(TEXT_ENCODER)
    eight = source.load_text_encoder(torch.bfloat16)
    assert encoder_bytes(eight) < 0.3 * full
    assert nearness(eight.encode(SENTENCES[:1])[0], expected) > 0.99


def in_scaled_fp8(path: Path, target: Path) -> Path:
    """ComfyUI's scaled fp8 of a text encoder: its tokenizer stays bytes."""
    tensors = load_file(path)
    for name in [n for n in tensors if ".layers." in n and n.endswith("proj.weight")]:
        scale = tensors[name].abs().max() / torch.finfo(torch.float8_e4m3fn).max
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale
    write_safetensors(target, tensors, {"format": "pt"})
    return target


def required(model: Any, part: str = TEXT_ENCODER) -> str:
    with pytest.raises(ModelError) as caught:
        model.require(part)
    return str(caught.value)


def test_what_is_missing_is_named_with_where_to_get_it(files: Any, tmp_path: Path) -> None:
    transformer, gemma = files("transformer", "2.3"), files("gemma", "2.3")
    alone = open_model(str(transformer))
    assert "holds no text encoder: name Gemma 3 12B with the text projection of LTX-2.3 in" in (
        required(alone)
    )
    assert "in vae_source, or connect `vae`" in required(alone, VAE)
    assert "in audio_vae_source, or connect `audio_vae`" in required(alone, AUDIO_VAE)
    without = open_model(str(transformer), text_encoder_source=str(gemma))
    assert "name the file that does in text_projection_source" in required(without)
    of_25 = open_model(str(files("whole", "2.5")), text_encoder_source=str(gemma))
    assert "is Gemma 3, and the model is an LTX-2.5, which needs the Gemma 4 12B" in required(of_25)
    other = str(files("projection", "2.0"))
    mixed = open_model(
        str(transformer), text_encoder_source=str(gemma), text_projection_source=other
    )
    assert "is one of another generation: LTX-2.3 has 2 (video and audio)" in required(mixed)
    folder = shutil.copytree(files("folder", "2.3") / "text_encoder", tmp_path / "gemma")
    (folder / "tokenizer.json").unlink()
    model = open_model(str(files("whole", "2.3")), text_encoder_source=str(folder))
    assert "has no tokenizer: put tokenizer.json (or tokenizer.model)" in required(model)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors .* is missing"):
        open_model(str(files("whole", "2.3")), text_encoder_source=str(folder))


def test_another_kind_of_file_is_refused_at_its_option(files: Any, tmp_path: Path) -> None:
    model, vae = str(files("transformer", "2.3")), str(files("vae", "2.3"))
    found = local_problems(model, text_encoder_source=vae, vae_source=model)
    assert "expected Gemma 3 or Gemma 4, found" in found["text_encoder_source"]
    assert "holds no video VAE of LTX-2" in found["vae_source"]
    found = local_problems(model, audio_vae_source=vae, text_projection_source=vae)
    assert "holds no audio VAE with a vocoder" in found["audio_vae_source"]
    assert "holds no text projection" in found["text_projection_source"]
    gone = local_problems(model, audio_vae_source=str(tmp_path / "gone.safetensors"))
    assert "gone.safetensors" in gone["audio_vae_source"]
    first = local_problems("LTXV_MINIATURE", audio_vae_source=vae, text_projection_source=vae)
    assert "LTX-Video has no sound" in first["audio_vae_source"]
    assert "leave it empty" in first["text_projection_source"]
    tensors = load_file(files("gemma", "2.3"))
    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = torch.zeros(tensors[name].shape, dtype=torch.uint8)
    write_safetensors(tmp_path / "4bit.safetensors", tensors, {})
    found = local_problems(model, text_encoder_source=str(tmp_path / "4bit.safetensors"))
    assert "is quantized (4 bit), which is not read" in found["text_encoder_source"]


def test_a_description_that_is_missing_or_of_other_sound_is_told(
    files: Any, tmp_path: Path
) -> None:
    vae, audio = files("vae", "2.3"), files("audio", "2.3")
    bare = tmp_path / "bare.safetensors"
    write_safetensors(bare, load_file(vae), {})
    model = str(files("transformer", "2.3"))
    with pytest.raises(ModelError, match="no metadata `config` with a part `vae`"):
        open_model(model, vae_source=str(bare))
    described = read_header(audio).config
    described["audio_vae"]["model"]["params"]["sampling_rate"] = 22050
    write_safetensors(bare, load_file(audio), as_metadata(described))
    with pytest.raises(ModelError, match="its sample_rate is 22050, and only 16000 is read"):
        open_model(model, audio_vae_source=str(bare))
