"""One step as LTX-Video-Trainer computes it, from its formulas, against ours with its switch."""

import math

import pytest
import torch

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.families.other_trainers import streams_as_in
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.strategies import STRATEGIES

FRAMES, HEIGHT, WIDTH = 3, 2, 3
TOKENS, FPS = FRAMES * HEIGHT * WIDTH, 25.0
SWITCH = {"flow_matching": {"compat": "ltx-video-trainer"}}


class Given(SampleDraws):
    """The numbers of the recorded step: z of the timesteps, then the noise."""

    def __init__(self, z, noise):
        self.numbers = [z, noise.float()]

    def normal(self, *shape):
        return self.numbers.pop(0)

    def uniform(self, *shape):
        return torch.zeros(2, *shape)

    def shared(self):
        return self


@pytest.fixture(scope="module")
def given():
    random = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=random)

    x0, reference, noise = (normal(2, TOKENS, 128).bfloat16() for _ in range(3))
    mask = torch.arange(8)[None] < torch.tensor([[8], [5]])
    return x0, reference, noise, normal(2), normal(2, 8, 128), mask


def theirs(model, given, mode, first_frame):
    """Loss by the formulas that facts about LTX-Video-Trainer 31b1273 give, over diffusers alone."""
    x0, reference, noise, z, text, mask = given
    sigma = torch.sigmoid(z + 0.95 + (TOKENS - 1024) * (2.05 - 0.95) / 3072)[:, None, None]
    clean = torch.zeros(2, TOKENS, dtype=torch.bool)
    clean[:, : HEIGHT * WIDTH] = first_frame
    seen = torch.where(clean[..., None], x0, (1 - sigma) * x0 + sigma * noise)
    timesteps = torch.where(clean, 0, torch.round(1000 * sigma[..., 0]).long())
    coordinates = None
    if mode == "reference_video":
        seen = torch.cat([reference, seen], 1)
        timesteps = torch.cat([torch.zeros(2, TOKENS, dtype=torch.long), timesteps], 1)
        axes = [torch.arange(n).float() for n in (FRAMES, HEIGHT, WIDTH)]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        grid = grid * torch.tensor([8 / FPS, 32.0, 32.0])[:, None]
        coordinates = grid.repeat(1, 2).expand(2, -1, -1)
    prediction = model(
        hidden_states=seen,
        encoder_hidden_states=text,
        timestep=timesteps,
        encoder_attention_mask=mask,
        num_frames=FRAMES,
        height=HEIGHT,
        width=WIDTH,
        rope_interpolation_scale=[8 / FPS, 32.0, 32.0],
        video_coords=coordinates,
        return_dict=False,
    )[0]
    keep = (~clean).float()[..., None]
    error = (prediction[:, -TOKENS:].float() - (noise - x0)).pow(2)
    return (error * keep / keep.mean()).mean()


def ours(model, given, mode, first_frame, sections):
    x0, reference, noise, z, text, mask = given
    latents, references = (
        each.transpose(1, 2).unflatten(2, (FRAMES, HEIGHT, WIDTH)) for each in (x0, reference)
    )
    whole = config.build(
        TrainingConfig,
        {
            "data": {"preprocessed_data_root": "x"},
            "conditioning": {"mode": mode, "first_frame_conditioning_p": float(first_frame)},
            **sections,
        },
    )
    denoiser = LTXVideoDenoiser(model, causal_positions=True)
    strategy = STRATEGIES[mode](whole, denoiser.streams)
    streams = {"video": {"latents": latents.float(), "reference": references.float()}}
    batch = Batch(streams, torch.tensor([FPS] * 2), Text({"prompt_embeds": text}, mask), ("a", "b"))
    inputs = strategy.prepare(batch, Given(z, noise))
    return inputs.loss(denoiser.denoise(inputs.seen, batch.text))


def loss_and_norms(compute):
    model = load_transformer(torch.float32)
    whole = config.build(TrainingConfig, {"data": {"preprocessed_data_root": "x"}})
    parameters = add_lora(model, whole.lora, seed=1)
    random = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.02)
    loss = compute(model)
    loss.backward()
    return loss.item(), torch.stack([p.grad.norm() for p in parameters])


@pytest.mark.parametrize("mode", ["none", "reference_video"])
@pytest.mark.parametrize("first_frame", [False, True])
def test_loss_and_gradients_are_those_of_ltx_video_trainer(given, mode, first_frame):
    loss, norms = loss_and_norms(lambda model: theirs(model, given, mode, first_frame))
    found = loss_and_norms(lambda model: ours(model, given, mode, first_frame, SWITCH))
    assert found[0] == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(found[1], norms, rtol=1e-4, atol=0)
    without = loss_and_norms(lambda model: ours(model, given, mode, first_frame, {}))
    assert without[0] != pytest.approx(loss, rel=1e-4)


def test_the_shift_of_many_tokens_has_no_limit():
    (stream,) = streams_as_in("ltx-video-trainer", {"video": VideoStream(True)}).values()
    assert (stream.shift_limit, stream.causal, stream.causal_references) == (math.inf, False, False)


def test_one_draw_decides_for_a_batch_and_each_sample_has_its_noise():
    draws = SampleDraws(0, range(4)).shared()
    assert draws.uniform(2).shape == (4, 2)
    first = SampleDraws(0, range(1))
    assert first.uniform(2).shape == (1, 2)
    assert torch.equal(draws.normal(3), first.normal(3).expand(4, 3))
    again = SampleDraws(0, range(4)).shared().uniform()
    assert (again == SampleDraws(0, [0]).uniform()).all()
