import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.config import OptimizationConfig
from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.families.registry import comfy_name
from ltxv_train_core.lora.file import PREFIX, lora_tensors
from ltxv_train_core.optim.stepper import OptimizerStepper
from ltxv_train_core.strategies import StepInputs
from ltxv_train_core.training import validation
from ltxv_train_core.training.trainer import train

OPTIMIZERS = {
    "adamw": {},
    "adamw8bit": {},
    "prodigy": {"learning_rate": 1.0},
    "adafactor": {},
    "adamw_schedulefree": {},
    "lion": {},
    "came": {},
    "muon": {},
    "prodigy_schedulefree": {"learning_rate": 1.0},
}
# Large enough for bitsandbytes to keep their moments in 8 bits.
LORA = {"rank": 16, "alpha": 16, "target_modules": ["0.attn1.to_q"]}


@pytest.fixture
def run(training_config, tmp_path):
    """Trains, optionally until a step, and returns the result and the recorded steps."""

    def train_until(stop_after=None, folder="runs", **sections):
        import threading

        stop, steps = threading.Event(), []

        def watch(event):
            if isinstance(event, StepCompleted):
                steps.append(event)
                if event.step == stop_after:
                    stop.set()

        config = training_config(output_dir=str(tmp_path / folder), **sections)
        return train(config, watch, stop), steps

    return train_until


def options(kind):
    return {
        "optimizer_type": kind,
        "scheduler_type": "constant",
        "learning_rate": 3e-3,
        **OPTIMIZERS[kind],
    }


def state_of(result):
    folder = result.run_folder / "checkpoints" / f"{result.step:06d}"
    return torch.load(folder / "state.pt", weights_only=True)["mover"]


def is_of(kind, state):
    """Whether the state of a parameter [16, 256] is that of an optimizer."""
    eight_bits = state.get("__bnb_optimizer_quant_state__", {})
    return {
        "adamw": {"exp_avg", "exp_avg_sq", "step"} == set(state),
        "adamw8bit": bool(eight_bits) and eight_bits["state1"].dtype == torch.uint8,
        "prodigy": "p0" in state and "z" not in state,
        "adafactor": "exp_avg" not in state
        and "exp_avg_sq_row" in state
        and state["exp_avg_sq_row"].shape == (16,),
        "adamw_schedulefree": {"z", "exp_avg_sq"} == set(state),
        "lion": {"exp_avg"} == set(state),
        "came": {"exp_avg", "exp_avg_res_row"} <= set(state),
        "muon": {"momentum_buffer"} == set(state),
        "prodigy_schedulefree": {"z", "p0"} <= set(state),
    }[kind]


def same(ours, theirs):
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_each_optimizer_goes_on_as_if_it_had_not_been_stopped(run, kind):
    sections = {"optimization": options(kind) | {"steps": 3, "batch_size": 1}, "lora": LORA}
    whole, steps = run(**sections)
    half, first = run(stop_after=2, folder="two", **sections)
    assert not half.finished
    full, second = run(folder="two", **sections)
    assert [s.loss for s in first + second] == [s.loss for s in steps]
    assert same(load_file(full.lora_file), load_file(whole.lora_file))
    state = state_of(whole)["optimizer"]["state"][0]
    assert is_of(kind, state)
    assert not any(is_of(other, state) for other in OPTIMIZERS if other != kind)


def test_an_optimizer_that_cannot_run_here_is_refused_before_anything_is_loaded(run, monkeypatch):
    from bitsandbytes.optim import AdamW8bit

    def fail(self):
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(AdamW8bit, "step", fail)
    with pytest.raises(
        ConfigurationError, match=r"adamw8bit can't be used on .*no kernel.*choose adafactor"
    ):
        run(optimization=options("adamw8bit"))


def test_schedule_free_hands_out_its_average_and_trains_on_undisturbed(run):
    quiet, _ = run(optimization=options("adamw_schedulefree"), lora=LORA)
    watched, _ = run(
        folder="two",
        optimization=options("adamw_schedulefree"),
        lora=LORA,
        checkpoints={"interval": 1},
    )
    assert same(load_file(quiet.lora_file), load_file(watched.lora_file))
    trained = load_file(quiet.run_folder / "checkpoints" / "000004" / "weights.safetensors")
    handed_out = load_file(quiet.lora_file)
    layer = "transformer_blocks.0.attn1.to_q.lora_B"
    point, average = trained[f"{layer}.default.weight"], handed_out[f"{PREFIX}{layer}.weight"]
    z = state_of(quiet)["optimizer"]["state"][1]["z"]
    assert torch.allclose(point, 0.1 * z + 0.9 * average, atol=1e-7)
    assert not torch.equal(point, average)


def test_warmup_raises_the_rate_before_the_schedule(run):
    _, steps = run(optimization={"warmup_steps": 3, "scheduler_type": "constant"})
    assert [s.learning_rate for s in steps] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"warmup_steps": 10, "steps": 10}, "warmup_steps 10: must be smaller than steps"),
        ({"optimizer_type": "prodigy"}, "learning_rate 0.0001: prodigy .* set it to 1"),
        ({"optimizer_type": "adamw_schedulefree"}, "scheduler_type linear: .* constant"),
        (
            {
                "optimizer_type": "adamw_schedulefree",
                "scheduler_type": "constant",
                "ema_decay": 0.99,
            },
            "ema_decay 0.99: .* averages the weights already",
        ),
        ({"ema_decay": 1.0}, "ema_decay"),
    ],
)
def test_what_does_not_go_together_is_refused(values, named):
    with pytest.raises(ValueError, match=named):
        OptimizationConfig(**values)


def test_accumulated_gradients_equal_those_of_the_large_batch(run, monkeypatch):
    gradients, given = [], []
    step, loss = OptimizerStepper.step, StepInputs.loss

    def keep_gradients(self, *arguments):
        gradients.append([p.grad.clone() for p in self.parameters])
        return step(self, *arguments)

    def keep_counts(self, prediction):
        given.extend((~self.streams["video"].counted).sum(1).tolist())
        return loss(self, prediction)

    monkeypatch.setattr(OptimizerStepper, "step", keep_gradients)
    monkeypatch.setattr(StepInputs, "loss", keep_counts)
    losses = []
    for size, parts in ((4, 1), (1, 4), (2, 2)):
        _, steps = run(
            folder=f"{size} x {parts}",
            conditioning={"first_frame_conditioning_p": 0.5},
            optimization={
                "steps": 1,
                "batch_size": size,
                "gradient_accumulation_steps": parts,
                "max_grad_norm": 0,
            },
        )
        losses.append(steps[0].loss)
    assert len(set(given)) == 2, "some clips keep their first frame, some don't"
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    whole, *accumulated = gradients
    assert max(g.abs().max() for g in whole) > 1e-3
    for parts in accumulated:
        assert max((a - b).abs().max() for a, b in zip(whole, parts, strict=True)) < 1e-6


def test_the_average_has_its_own_file_and_goes_on(run):
    sections = {
        "optimization": {"ema_decay": 0.5, "scheduler_type": "constant", "batch_size": 1},
        "checkpoints": {"interval": 1},
    }
    whole, _ = run(**sections)
    assert whole.ema_file.name == f"{whole.run_folder.name}-000004-ema.safetensors"
    files = [whole.run_folder / "weights" / f"{whole.run_folder.name}-{i:06d}" for i in range(1, 5)]
    weights = [load_file(f"{file}.safetensors") for file in files]
    key = f"{PREFIX}transformer_blocks.0.attn1.to_q.lora_B.weight"
    average = torch.zeros_like(weights[0][key])
    for update, step in enumerate(weights, start=1):
        decay = min(0.5, (1 + update) / (10 + update))
        average = decay * average + (1 - decay) * step[key]
    found = load_file(whole.ema_file)[key]
    assert torch.allclose(found, average, atol=1e-7)
    assert not torch.allclose(found, weights[-1][key], atol=1e-5)
    with safe_open(whole.ema_file, "pt") as file:
        assert file.metadata()["ema_decay"] == "0.5"

    half, _ = run(stop_after=2, folder="two", **sections)
    assert half.ema_file.is_file()
    full, _ = run(folder="two", **sections)
    assert same(load_file(full.ema_file), load_file(whole.ema_file))
    assert same(load_file(full.lora_file), load_file(whole.lora_file))


def test_without_an_average_there_is_no_file_of_it(run):
    result, _ = run()
    assert result.ema_file is None
    assert list((result.run_folder / "weights").glob("*-ema*")) == []


def test_samples_show_the_average(run, monkeypatch):
    seen = []

    def look(denoiser, *args, **kwargs):
        seen.append(lora_tensors(denoiser.transformer))
        raise RuntimeError("seen enough")

    monkeypatch.setattr(validation, "sample_each", look)
    result, _ = run(
        optimization={"ema_decay": 0.9},
        validation={"prompts": ["a ring"], "video_dims": [64, 64, 9], "interval": 100},
    )
    sampled = {PREFIX + comfy_name(name): value for name, value in seen[-1].items()}
    assert same(load_file(result.ema_file), sampled)
    with safe_open(result.lora_file, "pt") as file:
        assert json.loads(file.metadata()["training_config"])["optimization"]["ema_decay"] == 0.9
    assert not same(load_file(result.lora_file), sampled)
