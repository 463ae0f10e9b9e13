"""One step as LTX-Video-Trainer computes it, from its formulas, against ours with its switch."""

import math

import pytest
import torch

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.ltxv.denoiser import LTXVideoDenoiser
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.families.other_trainers import streams_as_in
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.strategies import STRATEGIES
from ltxv_train_core.training.trainer import train

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


def theirs(model, given, mode, first_frame, shape=(FRAMES, HEIGHT, WIDTH), fps=FPS):
    """Loss by the formulas that facts about LTX-Video-Trainer 31b1273 give, over diffusers alone."""
    x0, reference, noise, z, text, mask = given
    tokens, (frames, height, width) = x0.shape[1], shape
    sigma = torch.sigmoid(z + 0.95 + (tokens - 1024) * (2.05 - 0.95) / 3072)[:, None, None]
    clean = torch.zeros(2, tokens, dtype=torch.bool)
    clean[:, : height * width] = first_frame
    seen = torch.where(clean[..., None], x0, (1 - sigma) * x0 + sigma * noise)
    timesteps = torch.where(clean, 0, torch.round(1000 * sigma[..., 0]).long())
    coordinates = None
    if mode == "reference_video":
        seen = torch.cat([reference, seen], 1)
        timesteps = torch.cat([torch.zeros(2, tokens, dtype=torch.long), timesteps], 1)
        axes = [torch.arange(n).float() for n in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        grid = grid * torch.tensor([8 / fps, 32.0, 32.0])[:, None]
        coordinates = grid.repeat(1, 2).expand(2, -1, -1)
    prediction = model(
        hidden_states=seen,
        encoder_hidden_states=text,
        timestep=timesteps,
        encoder_attention_mask=mask,
        num_frames=frames,
        height=height,
        width=width,
        rope_interpolation_scale=[8 / fps, 32.0, 32.0],
        video_coords=coordinates,
        return_dict=False,
    )[0]
    keep = (~clean).float()[..., None]
    error = (prediction[:, -tokens:].float() - (noise - x0)).pow(2)
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


@pytest.mark.parametrize("mode", ["none", "reference_video"])
def test_so_are_all_losses_of_a_run(training_config, stripes_data, mirror_data, mode):
    """Twelve steps of `train`, and of a bare loop that sees the same draws, with torch's AdamW."""
    root = stripes_data if mode == "none" else mirror_data
    whole = training_config(
        root,
        conditioning={"mode": mode, "first_frame_conditioning_p": 0.5},
        optimization={"steps": 12, "learning_rate": 2e-4, "scheduler_type": "constant"},
        **SWITCH,
    )
    found = RunFolder(train(whole).run_folder).metrics()

    model = load_transformer(torch.float32)
    parameters = add_lora(model, whole.lora, whole.seed)
    optimizer = torch.optim.AdamW(parameters, lr=2e-4)
    strategy = STRATEGIES[mode](whole, LTXVideoDenoiser(model, causal_positions=True).streams)
    order = batches(open_dataset(whole), 2, whole.seed)
    given_ones = []
    for step in found:
        batch = next(order)
        given, shape, first_frame = drawn(strategy, batch, whole.seed)
        given_ones.append(first_frame)
        loss = theirs(model, given, mode, first_frame, shape, float(batch.fps[0]))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, whole.optimization.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        assert step.loss == pytest.approx(loss.item(), rel=1e-5)
        assert step.grad_norm == pytest.approx(norm.item(), rel=1e-4)
    assert len(found) == 12
    assert len(set(given_ones)) == 2, "some batches begin with a clean frame, and some don't"


def drawn(strategy, batch, seed):
    """What the formulas need of a batch of a run: tensors, the latents' shape, whether the first frame is given."""
    tensors = batch.streams["video"]
    x0, reference = (
        tensors[name].bfloat16().flatten(2).transpose(1, 2) if name in tensors else None
        for name in ("latents", "reference")
    )
    draws = SampleDraws(seed, batch.numbers)
    draws.uniform()  # of levels that are drawn uniformly
    z = draws.normal()
    noise = draws.normal(*x0.shape[1:]).bfloat16()
    (step,) = strategy.prepare(batch, SampleDraws(seed, batch.numbers)).streams.values()
    text = batch.text.tensors["prompt_embeds"]
    given = (x0, reference, noise, z, text, batch.text.mask)
    return given, tensors["latents"].shape[2:], not step.counted[0, 0]
