import json
import shutil
import subprocess
import sys

import pytest
import torch

from ltxv_train_core.diffusion.sampler import SampleRequest, SamplerSettings, sample
from ltxv_train_core.errors import ModelError
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.opening import open_text_encoder
from ltxv_train_core.families.ltxv.versions import VERSIONS
from ltxv_train_core.families.open import open_model


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory):
    """The miniature in the layout of a published model."""
    folder = tmp_path_factory.mktemp("model")
    weights.load_transformer().save_pretrained(folder / "transformer")
    weights.load_vae().save_pretrained(folder / "vae")
    weights.load_text_encoder().save_pretrained(folder / "text_encoder")
    weights.load_tokenizer().save_pretrained(folder / "tokenizer")
    write_index(folder, "LTXConditionPipeline")
    return folder


def write_index(folder, pipeline):
    text = f'{{"_class_name": "{pipeline}"}}'
    (folder / "model_index.json").write_text(text, encoding="utf-8")


def test_a_diffusers_folder_is_the_same_model(diffusers_folder):
    ours, theirs = open_model("LTXV_MINIATURE"), open_model(str(diffusers_folder))
    assert ours.identity != theirs.identity
    assert theirs.transformer.causal_positions
    frames = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = [source.load_vae().encode(frames) for source in (ours, theirs)]
    assert latents[0].shape == (1, 128, 2, 2, 2)
    assert (latents[0] - latents[1]).abs().max() < 1e-5
    texts = [
        source.load_text_encoder().encode(["a red ring"])[0]["prompt_embeds"]
        for source in (ours, theirs)
    ]
    assert torch.equal(*texts)


def test_a_folder_is_known_by_its_weights_wherever_it_lies(diffusers_folder, tmp_path):
    whole = open_model(str(diffusers_folder)).identity
    copy = tmp_path / "whole"
    shutil.copytree(diffusers_folder, copy)
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("main")
    (copy / "vae" / ".DS_Store").write_bytes(b"mac")
    assert open_model(str(copy)).identity == whole
    tuned = weights.load_transformer()
    with torch.no_grad():
        tuned.proj_out.weight.mul_(2)
    tuned.save_pretrained(copy / "transformer")
    assert open_model(str(copy)).identity != whole

    def encoder(name, beside):
        folder = tmp_path / name
        shutil.copytree(diffusers_folder / "text_encoder", folder)
        shutil.copytree(diffusers_folder / "tokenizer", folder / beside)
        return folder

    for beside in ("tokenizer", ".cache"):
        one, other = encoder(f"one{beside}", beside), encoder(f"other{beside}", beside)
        assert open_text_encoder(str(one)).identity == open_text_encoder(str(other)).identity
        changed = weights.load_text_encoder()
        with torch.no_grad():
            changed.shared.weight.mul_(2)
        changed.save_pretrained(other)
        assert open_text_encoder(str(one)).identity != open_text_encoder(str(other)).identity


def test_positions_follow_the_pipeline_of_a_folder(diffusers_folder, tmp_path):
    for pipeline, causal in (
        ("LTXPipeline", False),
        ("LTXImageToVideoPipeline", False),
        ("LTXConditionPipeline", True),
    ):
        write_index(tmp_path, pipeline)
        assert open_model(str(tmp_path)).transformer.causal_positions is causal


def test_later_versions_are_causal_whatever_their_pipeline(tmp_path):
    write_index(tmp_path, "LTXPipeline")
    (tmp_path / "vae").mkdir()
    config = tmp_path / "vae" / "config.json"
    for name, causal in (("0.9.1", False), ("0.9.5", True), ("13B_097_DEV", True)):
        version = next(v for n, v in VERSIONS.items() if n.endswith(name))
        config.write_text(json.dumps(version.vae), encoding="utf-8")
        assert open_model(str(tmp_path)).transformer.causal_positions is causal
        assert open_model(version.repository).transformer.causal_positions is causal


def test_prompts_are_encoded_with_their_mask():
    encoder = open_model("LTXV_MINIATURE").load_text_encoder()
    together = encoder.encode(["a red ring", "a blue circle moves left on a grey background", ""])
    together = [embedding["prompt_embeds"] for embedding in together]
    assert [len(e) for e in together] == [4, 10, 1]
    for prompt, embedding in zip(["a red ring", ""], together[::2], strict=True):
        assert (encoder.encode([prompt])[0]["prompt_embeds"] - embedding).abs().max() < 1e-5


@pytest.mark.parametrize("source", ["nowhere", "LTXV_2B_0.9.7"])
def test_an_unknown_model_is_refused_with_what_is_allowed(source):
    with pytest.raises(ModelError, match="expected LTXV_MINIATURE"):
        open_model(source)


@pytest.mark.parametrize("source", ["C:\\models\\x", "a/b/c"])
def test_a_path_that_leads_to_nothing_is_no_such_file(source):
    with pytest.raises(ModelError, match="no such file or folder") as refused:
        open_model(source)
    assert str(refused.value).startswith(f"model_source {source}: ")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"model_index\.json"):
        open_model(str(tmp_path))
    write_index(tmp_path, "FluxPipeline")
    with pytest.raises(ModelError, match="found FluxPipeline"):
        open_model(str(tmp_path))
    write_index(tmp_path, "LTXPipeline")
    with pytest.raises(ModelError, match=r"config\.json: can't be read"):
        open_model(str(tmp_path)).load_transformer(torch.float32)


def test_a_video_does_not_depend_on_its_batch():
    source = open_model("LTXV_MINIATURE")
    transformer = source.load_transformer(torch.float32)
    short, long, negative = source.load_text_encoder().encode(["a ring", "a red ring moves up", ""])
    reference = torch.randn(128, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    references = {"video": reference}
    requests = [
        SampleRequest(text, negative, seed, references) for seed, text in enumerate((short, long))
    ]

    def run(requests, batch_size=1, guidance=3.0):
        settings = SamplerSettings({"video": (2, 2, 2)}, 3, guidance, batch_size=batch_size)
        return sample(source.transformer.denoiser(transformer), requests, settings)["video"]

    together = run(requests, batch_size=2)
    assert together.shape == (2, 128, 2, 2, 2)
    assert (run(requests) - together).abs().max() < 1e-4
    assert (run(requests[1:])[0] - together[1]).abs().max() < 1e-4
    assert (run(requests, guidance=1.0) - together).abs().max() > 0.01


@pytest.mark.long
def test_a_model_is_found_without_importing_its_code(diffusers_folder):
    code = (
        "import sys; from ltxv_train_core.families.open import open_model; "
        "[open_model(name).identity for name in sys.argv[1:]]; "
        "assert not {'diffusers', 'transformers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "LTXV_MINIATURE", str(diffusers_folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
