"""Numbers that are NaN or infinite are named, and never handed out as a result."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltxv_train_core.cli import main
from ltxv_train_core.config.yaml_file import save
from ltxv_train_core.errors import ConfigurationError, ModelError, NotFiniteError
from ltxv_train_core.events import Notice, Progress, StepCompleted
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature_model import MiniatureTransformer
from ltxv_train_core.lora.convert import convert_lora
from ltxv_train_core.lora.merge import merge_lora
from ltxv_train_core.lora.resize import resize_lora
from ltxv_train_core.optim.loss_watch import LossWatch
from ltxv_train_core.optim.stepper import OptimizerStepper
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.strategies.base import StepInputs
from ltxv_train_core.training import preflight
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train


def poison(path: Path, name: str | None = None, value: float = math.nan) -> None:
    """Puts a NaN into a tensor of a file, whose metadata stay."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors[name or min(tensors)].view(-1)[0] = value
    save_file(tensors, path, metadata)


@pytest.fixture(scope="module")
def trained(stripes_data, tmp_path_factory):
    """The LoRA file of a short run."""
    from ltxv_train_core.config import TrainingConfig, build

    values = {
        "output_dir": str(tmp_path_factory.mktemp("trained")),
        "model": {"model_source": "LTXV_MINIATURE"},
        "lora": {"rank": 4, "alpha": 4},
        "optimization": {"steps": 1, "batch_size": 2},
        "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
        "data": {"preprocessed_data_root": str(stripes_data), "num_dataloader_workers": 0},
    }
    return train(build(TrainingConfig, values)).lora_file


@pytest.fixture
def broken(trained, tmp_path):
    """A copy of it with one NaN."""
    path = Path(shutil.copy(trained, tmp_path / "broken.safetensors"))
    poison(path)
    return path


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_file_is_written_with_such_numbers(tmp_path, value, dtype):
    tensors = {"a": torch.zeros(3), "b": torch.tensor([1.0, value]).to(dtype)}
    with pytest.raises(NotFiniteError, match=r"x\.safetensors is not written: 'b' holds NaN or"):
        write_safetensors(tmp_path / "x.safetensors", tensors, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_to_start_from_is_named_before_anything_is_loaded(training_config, broken):
    config = training_config(model={"load_checkpoint": str(broken)})
    problems, _ = preflight.check(config)
    assert len(problems) == 1
    assert "holds NaN or infinite numbers in 1 of 32 layers" in problems[0]
    with pytest.raises(ConfigurationError, match=r"model\.load_checkpoint .* holds NaN"):
        train(config)
    assert not Path(config.output_dir).exists()


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_transformer_to_start_from_is_read_to_its_end(
    training_config, tmp_path, capsys, monkeypatch, value
):
    """By `check` and by the run, before the model is loaded, and both tell how far they are."""
    path = export(tmp_path / "start.safetensors")
    start = {"training_mode": "full", "load_checkpoint": str(path)}
    config = training_config(model=start)
    events: list = []
    assert preflight.check(config, report=events.append)[0] == []
    read = [e for e in events if isinstance(e, Progress)]
    assert {e.phase for e in read} == {"check start file"}
    tensors = load_file(path).items()
    transformer = [t.nbytes for name, t in tensors if name.startswith("model.diffusion_model.")]
    assert read[-1].done == read[-1].total == sum(transformer)
    last = "model.diffusion_model.transformer_blocks.3.ff.net.2.weight"
    poison(path, last, value)
    (problem,) = preflight.check(config)[0]
    assert problem == (
        f"model.load_checkpoint {str(path)!r}: {last} holds NaN or infinite numbers; take another file"
    )
    monkeypatch.setattr(MiniatureTransformer, "load", None)  # nothing is loaded
    with pytest.raises(ConfigurationError, match="holds NaN or infinite numbers"):
        train(config)
    file = tmp_path / "config.yaml"
    save(config, file)
    assert main(["check", str(file)]) == 2
    assert "holds NaN or infinite numbers; take another file" in capsys.readouterr().out


def test_tools_hand_no_such_numbers_on(broken, trained, tmp_path):
    output, base = tmp_path / "output.safetensors", export(tmp_path / "base.safetensors")
    with pytest.raises(ModelError, match="holds NaN"):
        convert_lora(broken, "kohya", output)
    with pytest.raises(ModelError, match="holds NaN"):
        resize_lora(broken, output, rank=2)
    with pytest.raises(ModelError, match="holds NaN"):
        merge_lora(base, broken, output)
    for strength in (math.nan, math.inf):
        with pytest.raises(ModelError, match=f"strength {strength}: give a number"):
            merge_lora(base, trained, output, strength)
    poison(base, value=math.inf)
    with pytest.raises(NotFiniteError, match="is not written"):
        merge_lora(base, trained, output)
    assert {path.name for path in tmp_path.iterdir()} == {base.name, broken.name}


def test_a_poisoned_clip_is_named_and_costs_its_steps_alone(
    training_config, stripes_data, tmp_path
):
    root = Path(shutil.copytree(stripes_data, tmp_path / "data"))
    clip = sorted((root / "latents").rglob("*.safetensors"))[0]
    poison(clip)
    events: list = []
    config = training_config(root, optimization={"steps": 4, "batch_size": 1})
    result = train(config, events.append)
    assert result.finished
    told = [e.message for e in events if isinstance(e, Notice) and " skipped: " in e.message]
    assert len(told) == RunFolder(result.run_folder).written_state().skipped_steps == 1
    assert (
        f"NaN or infinite numbers are in the latents of videos/{clip.stem.rpartition('.')[0]}: delete"
        in told[0]
    )


def test_a_step_that_fails_on_sound_clips_names_them(training_config, monkeypatch):
    loss = StepInputs.loss
    monkeypatch.setattr(StepInputs, "loss", lambda self, p: loss(self, p) * math.inf)
    events: list = []
    with pytest.raises(NotFiniteError):
        train(training_config(optimization={"steps": 1, "batch_size": 4}), events.append)
    (told,) = [e.message for e in events if isinstance(e, Notice) and " skipped: " in e.message]
    assert "its clips: " in told
    assert told.count(",") == 3


def test_a_run_without_a_finite_step_has_failed(training_config, monkeypatch):
    config = training_config(optimization={"steps": 3})
    loss = StepInputs.loss
    events: list = []
    with monkeypatch.context() as patch:
        patch.setattr(StepInputs, "loss", lambda self, p: loss(self, p) * math.nan)
        with pytest.raises(
            NotFiniteError, match="every step was skipped, so the weights did not change"
        ):
            train(config, events.append)
    told = [e.message for e in events if isinstance(e, Notice) and " skipped: " in e.message]
    assert [text.partition(" skipped")[0] for text in told] == ["step 1", "step 2", "step 3"]
    run = plan_run(config).run
    assert (run.written_state().status, run.written_state().cause.kind) == ("failed", "not_finite")
    assert run.loras() == []
    for line in run.metrics_file.read_text(encoding="utf-8").splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["loss"] is None
    assert [math.isnan(each.loss) for each in run.metrics()] == [True] * 3
    assert train(config).finished


def test_weights_that_are_not_finite_are_not_handed_out(training_config, monkeypatch):
    """The loss was finite to the last step; what came before it stays."""
    step = OptimizerStepper.step

    def overflowing(self, number, *facts):
        norm = step(self, number, *facts)
        if number == 4:
            self.parameters[0].data.view(-1)[0] = math.nan
        return norm

    config = training_config(checkpoints={"interval": 2}, optimization={"ema_decay": 0.9})
    with monkeypatch.context() as patch:
        patch.setattr(OptimizerStepper, "step", overflowing)
        with pytest.raises(NotFiniteError, match="is not written"):
            train(config)
    run = plan_run(config).run
    state = run.written_state()
    assert (state.status, state.step, state.cause.kind) == ("failed", 2, "not_finite")
    assert {lora.step for lora in run.loras()} == {2}
    assert [path.name for path in run.checkpoints.iterdir()] == ["000002"]


@pytest.mark.parametrize("part", ["weights", "optimizer", "average"])
def test_a_checkpoint_that_is_not_finite_is_not_gone_on_from(training_config, part):
    config = training_config(checkpoints={"interval": 2}, optimization={"ema_decay": 0.9})
    run = RunFolder(train(config).run_folder)
    for lora in run.loras():
        lora.path.unlink()
    newest = run.checkpoints / "000004"
    if part == "weights":
        poison(newest / "weights.safetensors")
    else:
        state = torch.load(newest / "state.pt", weights_only=True)
        mover = state["mover"]
        tensors = mover["average"]["average"]
        if part == "optimizer":
            tensors = [mover["optimizer"]["state"][0]["exp_avg"]]
        tensors[0].view(-1)[0] = math.nan
        torch.save(state, newest / "state.pt")
    events: list = []
    train(config, events.append)
    told = [e.message for e in events if isinstance(e, Notice)]
    assert any("checkpoints/000004 can't be read" in m and "NaN or infinite" in m for m in told)
    assert "resuming from step 2 (checkpoint)" in told


def test_a_loss_that_explodes_is_told_once(training_config, monkeypatch):
    loss, calls = StepInputs.loss, []

    def exploding(self, prediction):
        calls.append(1)
        return loss(self, prediction) * (1e9 if len(calls) > 5 else 1)

    monkeypatch.setattr(StepInputs, "loss", exploding)
    events: list = []
    train(training_config(optimization={"steps": 8}), events.append)
    (told,) = [e for e in events if isinstance(e, Notice) and "training diverges" in e.message]
    assert told.message.startswith("step 6: the loss is ")
    assert told.lasting
    assert len([e for e in events if isinstance(e, StepCompleted)]) == 8


@pytest.mark.parametrize(
    ("losses", "told_at"),
    [
        ([4.7, 3.2, 5.1, 4.0, 7.8e11], 5),
        ([1.0, 0.02, 0.02, 0.9, 1.1, 0.02], None),
        ([1.0, math.nan, 1.0, math.inf, 1.0, 1.0], None),
        ([500.0, 400.0, 300.0, 3.0, 2.0, 1.0, 1.0], None),
    ],
)
def test_noise_is_no_explosion(losses, told_at):
    watch = LossWatch()
    told = [step for step, loss in enumerate(losses, 1) if watch.warning(step, loss)]
    assert told == ([told_at] if told_at else [])
