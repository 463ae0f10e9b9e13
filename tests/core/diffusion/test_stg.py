"""Spatio-temporal guidance: what it leads away from, and how far."""

import pytest
import torch
from diffusers import LTXVideoTransformer3DModel
from diffusers.guiders.ltx2_guidance import LTX2Guidance
from diffusers.models.transformers.transformer_ltx2 import LTX2PerturbedAttnProcessor
from torch._dynamo.backends.debugging import aot_eager

from ltxv_train_core.config import AccelerationConfig
from ltxv_train_core.diffusion.sampler import (
    SampleRequest,
    SamplerSettings,
    SpatioTemporalGuidance,
    sample,
)
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import ignore
from ltxv_train_core.families.ltx2 import block
from ltxv_train_core.families.ltx2.denoiser import SELF_ATTENTION, LTX2Denoiser
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.family import LTXV
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.families.self_attention import is_left_out
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.models import compile as compiling
from ltxv_train_core.models.compile import compile_blocks
from ltxv_train_core.models.memory.offload import offload
from tests.helpers.ltx2 import GENERATIONS, given, transformer_of

SHAPES = {VIDEO: LTXV.grid.latent(VideoSize(64, 64, 17))}
BOTH = frozenset({VIDEO, AUDIO})


@pytest.fixture(scope="module")
def miniature():
    source = open_model("LTXV_MINIATURE")
    prompt, empty = source.load_text_encoder().encode(["a red ring moves up", ""])
    denoiser = LTXVideoDenoiser(source.load_transformer(torch.float32), True)
    return denoiser, SampleRequest(prompt, empty, 7)


def sampled(miniature, scale, guidance=3.0, blocks=None, steps=1, rescale=0.0):
    denoiser, request = miniature
    stg = SpatioTemporalGuidance(scale, blocks, frozenset({VIDEO})) if scale else None
    settings = SamplerSettings(SHAPES, steps, guidance, guidance_rescale=rescale, stg=stg)
    return sample(denoiser, [request], settings)[VIDEO][0]


def test_it_leads_away_from_the_model_without_self_attention(miniature):
    """One step, so that samples are linear in the velocities."""
    denoiser, _ = miniature
    plain, unguided = sampled(miniature, 0), sampled(miniature, 0, guidance=1.0)
    with denoiser.without_self_attention([1], [VIDEO]):
        perturbed = sampled(miniature, 0, guidance=1.0)
    assert (perturbed - unguided).abs().max() > 0.05
    for scale in (1.0, 2.5):
        found = sampled(miniature, scale, blocks=(1,))
        assert torch.allclose(found, plain + scale * (unguided - perturbed), atol=1e-4)
        alone = sampled(miniature, scale, guidance=1.0, blocks=(1,))
        assert torch.allclose(alone, unguided + scale * (unguided - perturbed), atol=1e-4)


def test_it_takes_one_more_pass_of_the_prompt_in_each_step(miniature):
    denoiser, _ = miniature
    sizes: list[int] = []
    hook = denoiser.transformer.proj_in.register_forward_pre_hook(
        lambda module, args: sizes.append(len(args[0]))
    )
    sampled(miniature, 1.0, steps=3)
    assert sizes == [2, 1] * 3
    sizes.clear()
    sampled(miniature, 1.0, steps=3, guidance=1.0)
    assert sizes == [1, 1] * 3
    hook.remove()


def test_nothing_of_it_stays_in_the_model(miniature):
    before = sampled(miniature, 0, steps=2)
    sampled(miniature, 1.0, blocks=(0, 2))
    assert torch.equal(sampled(miniature, 0, steps=2), before)
    with pytest.raises(
        ConfigurationError, match="no block 99: the model has 4, numbered from 0 to"
    ):
        sampled(miniature, 1.0, blocks=(0, 99))
    assert torch.equal(sampled(miniature, 0, steps=2), before)


def test_its_samples_are_rescaled_too(miniature):
    plain = sampled(miniature, 3.0, guidance=1.0, blocks=(1,))
    rescaled = sampled(miniature, 3.0, guidance=1.0, blocks=(1,), rescale=1.0)
    assert (plain - rescaled).abs().max() > 0.05
    assert torch.equal(sampled(miniature, 0, guidance=1.0, rescale=1.0), sampled(miniature, 0, 1.0))


def test_blocks_of_diffusers_do_the_same(miniature):
    """Blocks that don't recompute, as they are before a run makes them."""
    own = sampled(miniature, 1.0, blocks=(1, 2))
    source = open_model("LTXV_MINIATURE")
    plain = LTXVideoDenoiser(source.load_transformer(torch.float32), True)
    assert torch.allclose(sampled((plain, miniature[1]), 1.0, blocks=(1, 2)), own, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", ["LTXV_MINIATURE", "LTX2_MINIATURE"])
def test_compiled_and_offloaded_blocks_do_the_same(monkeypatch, name):
    """A graph with self-attention is not taken where it is left out."""
    monkeypatch.setattr(compiling._Compiler, "_backend", lambda self, *graph: aot_eager(*graph))
    source = open_model(name)
    shapes = source.family.latent_shapes(VideoSize(64, 64, 9), 25.0)
    prompt, empty = source.load_text_encoder().encode(["a red ring moves up", ""])

    def sampled_by(denoiser, scale):
        stg = SpatioTemporalGuidance(scale, (1, 2), frozenset(shapes)) if scale else None
        settings = SamplerSettings(shapes, 2, 3.0, stg=stg)
        return sample(denoiser, [SampleRequest(prompt, empty, 7)], settings)

    def made(options):
        denoiser = source.transformer.denoiser(source.load_transformer(torch.float32))
        is_compiled = compile_blocks(denoiser.transformer, options, 1000, ignore)
        assert is_compiled == options.compile_with_inductor
        return denoiser

    plain = made(AccelerationConfig(compile_with_inductor=False))
    compiled = made(AccelerationConfig(compile_with_inductor=True, compilation_mode="default"))
    offloaded = made(AccelerationConfig(compile_with_inductor=False))
    offload(offloaded.transformer, torch.device("cpu"), [1, 3], ignore)
    for scale in (0, 1.0, 0, 2.0):
        expected = sampled_by(plain, scale)
        for denoiser in (compiled, offloaded):
            found = sampled_by(denoiser, scale)
            for stream, latents in expected.items():
                assert torch.allclose(found[stream], latents, atol=1e-4), (scale, stream)


def test_guidances_add_up_as_in_diffusers(miniature):
    """Of one step from pure noise the sample is the noise less the velocity."""
    denoiser, request = miniature
    shape = (128, *SHAPES[VIDEO])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    turned = (denoiser, SampleRequest(request.negative, request.prompt, 7))
    wanted, negative = (noise - sampled(each, 0, guidance=1.0) for each in (miniature, turned))
    with denoiser.without_self_attention([2], [VIDEO]):
        perturbed = noise - sampled(miniature, 0, guidance=1.0)
    guider = LTX2Guidance(guidance_scale=3.0, stg_scale=1.5, guidance_rescale=0.7)
    expected = guider.forward(*(each[None] for each in (wanted, negative, perturbed))).pred[0]
    found = noise - sampled(miniature, 1.5, blocks=(2,), rescale=0.7)
    assert torch.allclose(found, expected, atol=1e-4)
    assert (found - wanted).abs().max() > 0.1


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("stream", [VIDEO, AUDIO])
def test_an_attention_of_ltx2_passes_on_what_diffusers_does(generation, stream):
    """Its values, with gates where the generation has them. The rest of a forward pass is ComfyUI's."""
    denoiser = LTX2Denoiser(transformer_of(generation), connectors=dict)
    layer = getattr(denoiser.transformer.transformer_blocks[1], SELF_ATTENTION[stream])
    hidden = torch.randn(2, 5, layer.to_q.in_features)
    passes = LTX2PerturbedAttnProcessor()(layer, hidden, all_perturbed=True)
    plain = block._attend(layer, hidden, hidden)
    with denoiser.without_self_attention([1], [stream]):
        assert torch.allclose(block._attend(layer, hidden, hidden), passes, atol=1e-6)
        other = denoiser.transformer.transformer_blocks[0].attn1
        assert not is_left_out(other)
    assert torch.equal(block._attend(layer, hidden, hidden), plain)
    assert not torch.allclose(plain, passes, atol=1e-2)


def test_the_video_alone_can_be_guided():
    denoiser = LTX2Denoiser(transformer_of("2.3"), connectors=dict)
    seen, text = given()

    def predicted(streams):
        with torch.no_grad(), denoiser.without_self_attention([1], streams):
            return denoiser.denoise(seen, text)

    plain, video, both = (predicted(streams) for streams in ([], [VIDEO], BOTH))
    assert not torch.equal(plain[VIDEO], video[VIDEO])
    assert not torch.equal(video[AUDIO], both[AUDIO])


@pytest.mark.parametrize(
    ("layers", "generation", "expected"),
    [(4, "2.3", 2), (48, "2.0", 29), (48, "2.3", 28), (48, "2.5", 28)],
)
def test_the_blocks_of_published_models_are_known(layers, generation, expected):
    tiny = {"num_attention_heads": 1, "attention_head_dim": 8, "cross_attention_dim": 8}
    audio = {f"audio_{name}": value for name, value in tiny.items()}
    made = transformer_of(generation, num_layers=layers, caption_channels=8, **tiny, **audio)
    assert LTX2Denoiser(made, connectors=dict).stg_blocks == (expected,)


@pytest.mark.parametrize(("layers", "expected"), [(3, 2), (28, 19), (48, 28)])
def test_so_are_those_of_ltx_video(layers, expected):
    tiny = {"num_attention_heads": 1, "attention_head_dim": 8, "cross_attention_dim": 8}
    made = LTXVideoTransformer3DModel(num_layers=layers, caption_channels=8, **tiny)
    assert LTXVideoDenoiser(made, True).stg_blocks == (expected,)
