"""Which run a configuration means."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ltxv_train_core.events import Notice, StepCompleted
from ltxv_train_core.jobs import JobManager
from ltxv_train_core.runs import RunFolder, RunLibrary, RunWriter, family, fingerprint
from ltxv_train_core.training.run_plan import open_source, plan_again, plan_run
from ltxv_train_core.training.trainer import begin, train

CONSTANT = {"batch_size": 1, "scheduler_type": "constant"}


def tensors(result):
    return {k: v.numpy().tobytes() for k, v in load_file(result.lora_file).items()}


def steps_of(config, **options):
    """Trains, and returns the result and the steps that were made."""
    made: list[int] = []
    result = train(
        config, lambda e: made.append(e.step) if isinstance(e, StepCompleted) else None, **options
    )
    return result, made


def test_only_what_changes_the_result_changes_the_name(training_config, tmp_path):
    def name(**sections):
        return fingerprint(training_config(**sections), "data", "model")

    plain = name()
    same = [
        {"output_dir": str(tmp_path), "name": "other"},
        {"data": {"preprocessed_data_root": str(tmp_path), "num_dataloader_workers": 7}},
        {
            "checkpoints": {"interval": 3},
            "validation": {"prompts": ["a"], "video_dims": [64, 64, 9]},
        },
        {"trackers": {"tensorboard": True}, "optimization": {"max_non_finite_steps": 3}},
        {"lora": {"dropout": 0.0}, "flow_matching": {"timestep_sampling_params": {}}},
    ]
    assert {name(**sections) for sections in same} == {plain}
    other = [
        {"seed": 1},
        {"lora": {"alpha": 8}},
        {"optimization": {"steps": 5}},
        {"conditioning": {"first_frame_conditioning_p": 0.2}},
        {"acceleration": {"mixed_precision_mode": "bf16"}},
        {"flow_matching": {"timestep_sampling_params": {"shift": 1.0}}},
    ]
    names = {name(**sections) for sections in other}
    config = training_config()
    names |= {
        fingerprint(config, "data 2", "model"),
        fingerprint(config, "data", "model 2"),
        fingerprint(config, "data", "model", processes=2),
        fingerprint(config, "data", "model", start="a run step 3"),
    }
    assert len(names | {plain}) == len(other) + 5


def test_a_new_option_with_its_default_leaves_names_alone():
    """The name of the plainest run, written down: it changes only together with RECIPE."""
    from ltxv_train_core.config import TrainingConfig, build

    config = build(TrainingConfig, {"data": {"preprocessed_data_root": "anywhere"}})
    assert fingerprint(config, "data", "model") == "272bba47a1f9"


def test_train_again_leaves_the_finished_run_as_it_is(training_config):
    config = training_config(optimization=CONSTANT | {"steps": 2})
    first, _ = steps_of(config)
    before = first.lora_file.stat().st_mtime_ns
    assert steps_of(config) == (first, [])
    stop = threading.Event()
    second = train(config, lambda event: stop.set(), stop=None, again=True)
    assert second.run_folder.name == f"{first.run_folder.name}-2"
    assert tensors(second) == tensors(first)
    assert first.lora_file.stat().st_mtime_ns == before
    third, made = steps_of(config, again=True)
    assert (third.run_folder.name, made) == (f"{first.run_folder.name}-3", [1, 2])
    assert steps_of(config) == (third, []), "the newest is found"


def test_train_again_goes_on_with_an_interrupted_one(training_config):
    config = training_config(optimization=CONSTANT | {"steps": 3})
    first, _ = steps_of(config)
    stop = threading.Event()
    half = train(
        config, lambda e: stop.set() if isinstance(e, StepCompleted) else 0, stop, again=True
    )
    assert (half.run_folder.name, half.step) == (f"{first.run_folder.name}-2", 1)
    second, made = steps_of(config, again=True)
    assert (second.run_folder, made) == (half.run_folder, [2, 3])


def test_raised_steps_train_on_from_the_finished_run(training_config):
    short = training_config(optimization=CONSTANT | {"steps": 3})
    long = training_config(optimization=CONSTANT | {"steps": 6})
    whole, _ = steps_of(long)
    RunLibrary(whole.run_folder.parent).delete(whole.run_folder.name)
    first, _ = steps_of(short)
    told: list = []
    result = train(long, told.append)
    assert [e.step for e in told if isinstance(e, StepCompleted)] == [4, 5, 6]
    assert f"continuing {first.run_folder.name} from step 3" in [
        e.message for e in told if isinstance(e, Notice)
    ]
    assert tensors(result) == tensors(whole), "a constant rate: as if it had been one run"
    run = RunFolder(result.run_folder)
    assert [m.step for m in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert run.written_state().continues == first.run_folder.name
    assert steps_of(short) == (first, []), "the shorter one is still there"


def test_raised_steps_follow_the_longer_schedule(training_config):
    linear = {"batch_size": 1, "scheduler_type": "linear", "learning_rate": 1e-3}
    train(training_config(optimization=linear | {"steps": 2}))
    result = train(training_config(optimization=linear | {"steps": 4}))
    rates = [m.learning_rate for m in RunFolder(result.run_folder).metrics()]
    assert rates == pytest.approx([1e-3, 0.55e-3, 0.55e-3, 0.325e-3])


def test_an_interrupted_longer_run_goes_on_by_itself(training_config):
    train(training_config(optimization=CONSTANT | {"steps": 2}))
    long = training_config(optimization=CONSTANT | {"steps": 6})
    stop = threading.Event()
    half = train(long, lambda e: stop.set() if getattr(e, "step", 0) == 4 else None, stop)
    assert half.step == 4
    assert steps_of(long)[1] == [5, 6]


def test_a_stage_carries_on_a_finished_run(training_config):
    config = training_config(optimization={"batch_size": 1, "scheduler_type": "cosine", "steps": 3})
    first, _ = steps_of(config)
    before = tensors(first)
    second, made = steps_of(config, continue_from=RunFolder(first.run_folder))
    assert (second.step, second.steps, made) == (6, 6, [4, 5, 6])
    assert second.run_folder != first.run_folder
    assert tensors(first) == before
    rates = [m.learning_rate for m in RunFolder(second.run_folder).metrics()]
    assert rates[3:] == rates[:3], "a stage has a schedule of its own"
    third, made = steps_of(config, continue_from=RunFolder(second.run_folder))
    assert made == [7, 8, 9]
    assert steps_of(config, continue_from=RunFolder(first.run_folder)) == (second, [])
    plan = plan_again(RunFolder(third.run_folder))
    assert (plan.start.name, plan.is_finished) == (second.run_folder.name, True)


def test_a_stage_finds_the_run_before_it_in_another_folder(training_config, tmp_path):
    config = training_config(optimization=CONSTANT | {"steps": 2})
    elsewhere = config.model_copy(update={"output_dir": str(tmp_path / "elsewhere")})
    before = RunFolder(train(elsewhere).run_folder)
    plan = plan_run(config, continue_from=before)
    with RunWriter(plan.run) as writer:
        begin(plan, writer)
    again = plan_again(plan.run)
    assert (again.start, again.steps) == (before, 4)
    with pytest.raises(LTXVTrainError, match="from a run in another folder"):
        JobManager().submit(again)
    RunLibrary(elsewhere.output_path).delete(before.name)
    with pytest.raises(ConfigurationError, match="which it continues, is gone"):
        plan_again(plan.run)


@pytest.mark.parametrize("place", ["../{0}", "./{0}", "x/../{0}", "..", ".", "", "\0", "a" * 5000])
def test_a_run_trains_on_from_none_that_is_no_name(training_config, place):
    first, _ = steps_of(training_config(optimization=CONSTANT | {"steps": 1}))
    plan = plan_run(training_config(optimization=CONSTANT | {"steps": 2}))
    assert plan.start == RunFolder(first.run_folder)
    with RunWriter(plan.run) as writer:
        begin(plan, writer)
        state = plan.run.written_state()
        plan.run.write_state(replace(state, continues=place.format(first.run_folder.name)))
    assert plan_again(plan.run).start is None


@pytest.mark.parametrize("kinds", [("adamw", "adafactor"), ("adafactor", "adamw")])
def test_a_stage_may_change_the_optimizer_and_not_the_layers(training_config, kinds):
    base, other = ({"batch_size": 1, "steps": 2, "optimizer_type": kind} for kind in kinds)
    first, _ = steps_of(training_config(optimization=base))
    before = RunFolder(first.run_folder)
    told: list = []
    train(training_config(optimization=other), told.append, continue_from=before)
    assert "optimizer_type changed: optimizer state is reset" in [
        e.message for e in told if isinstance(e, Notice)
    ]
    with pytest.raises(Exception, match="other trained layers than this run"):
        train(training_config(optimization=base, lora={"rank": 8}), continue_from=before)


def test_two_processes_are_refused_what_they_can_not_do(training_config):
    config = training_config(optimization={"release_gradients": True, "max_grad_norm": 0})
    assert plan_run(config).run.name == plan_run(config, processes=1).run.name
    with pytest.raises(ConfigurationError, match=r"optimization\.release_gradients: "):
        plan_run(config, processes=2)


def test_the_average_of_a_stage_with_another_optimizer_begins_with_its_weights(training_config):
    first, _ = steps_of(training_config(optimization={"batch_size": 1, "steps": 2}))
    still = {"batch_size": 1, "steps": 1, "learning_rate": 1e-12, "ema_decay": 0.9}
    stage = training_config(optimization=still | {"optimizer_type": "adafactor"})
    second, _ = steps_of(stage, continue_from=RunFolder(first.run_folder))
    trained, average = load_file(second.lora_file), load_file(second.ema_file)
    assert all(torch.allclose(average[key], trained[key], atol=1e-7) for key in trained)


def test_a_stage_needs_a_finished_run(training_config, tmp_path):
    config = training_config(optimization=CONSTANT | {"steps": 4})
    stop = threading.Event()
    half = train(config, lambda e: stop.set() if isinstance(e, StepCompleted) else None, stop)
    with pytest.raises(
        ConfigurationError, match=r"expected a finished run.* found stopped at step 1"
    ):
        train(config, continue_from=RunFolder(half.run_folder))
    with pytest.raises(ConfigurationError, match="found no run"):
        train(config, continue_from=RunFolder(tmp_path / "nothing"))


def test_a_run_whose_data_changed_is_not_gone_on_with_from_its_folder(training_config, mirror_data):
    config = training_config(optimization=CONSTANT | {"steps": 1})
    run = plan_run(config).run
    train(config)
    assert plan_again(run).is_finished
    text = run.config_file.read_text(encoding="utf-8")
    root = config.data.preprocessed_data_root
    run.config_file.write_text(text.replace(root, str(mirror_data)), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has changed since it began"):
        plan_again(run)


def test_a_finished_run_without_its_lora_writes_it_again(training_config):
    config = training_config(optimization=CONSTANT | {"steps": 2})
    first, _ = steps_of(config)
    before = tensors(first)
    (state,) = first.run_folder.glob("checkpoints/*/state.pt")
    written = state.stat().st_mtime_ns
    first.lora_file.unlink()
    again, made = steps_of(config)
    assert (again, made) == (first, [])
    assert state.stat().st_mtime_ns == written, "the only checkpoint is left alone"
    assert tensors(again) == before
    assert torch.isfinite(next(iter(load_file(again.lora_file).values()))).all()


def as_of_an_earlier_version(config, run) -> RunFolder:
    """Gives a run the name and the files that versions before draws by sample gave it."""
    plan = plan_run(config)
    parts = (config, plan.dataset.fingerprint(), open_source(config).identity)
    old = RunFolder(run.folder.with_name(f"{config.name}-{fingerprint(*parts, recipe=1)}"))
    for file in run.weights.iterdir():
        file.rename(file.with_name(file.name.replace(run.name, old.name)))
    state = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    del state["recipe"]
    state |= {"fingerprint": fingerprint(*parts, recipe=1), "family": family(*parts, recipe=1)}
    (run.folder / "run.json").write_text(json.dumps(state), encoding="utf-8")
    run.folder.rename(old.folder)
    return old


def test_runs_of_earlier_versions_are_found_by_their_names(training_config):
    """A finished one is taken; one that was stopped resumes, and says that its draws are others."""
    finished = training_config(optimization={"steps": 2})
    old = as_of_an_earlier_version(finished, RunFolder(train(finished).run_folder))
    assert plan_run(finished).run == old
    assert train(finished).run_folder == old.folder
    told: list = []
    train(training_config(optimization={"steps": 3}), told.append)
    assert any(f"continuing {old.name} from step 2" in str(e) for e in told), "of one family"
    assert any(f"began run {old.name} and drew its noise by step" in str(e) for e in told)
    told.clear()

    config, stop = training_config(seed=3), threading.Event()
    half = train(config, lambda e: stop.set() if getattr(e, "step", 0) == 2 else None, stop)
    stopped = as_of_an_earlier_version(config, RunFolder(half.run_folder))
    assert plan_again(stopped).steps == 4
    result = train(config, told.append)
    assert (result.run_folder, result.finished) == (stopped.folder, True)
    (notice,) = [e for e in told if "drew its noise by step" in str(e)]
    assert "From step 2 on noise is drawn by sample" in notice.message
    assert notice.lasting
    assert told.index(notice) < min(n for n, e in enumerate(told) if isinstance(e, StepCompleted))
    told.clear()
    again = train(config, told.append, again=True)
    assert again.run_folder.name == plan_run(config, again=True).run.name.removesuffix("-2")
    assert again.run_folder != stopped.folder
