"""From widgets to a configuration."""

from pathlib import Path
from typing import Any

import pytest

from tests.graph import Graph, Node, seen
from tests.host import Host, Prompt, PromptRefused, run
from tests.nodes.workflows import defaults


def configured(host: Host, node: str, **changes: Any) -> dict[str, Any]:
    graph = Graph()
    probe = graph.probe(graph.add(node, **defaults(host, node, **changes)))
    return seen(run(host, graph.prompt), probe)


def message_of(host: Host, prompt: Prompt) -> str:
    outcome = run(host, prompt)
    assert outcome.error is not None
    return outcome.error


def test_untouched_widgets_give_the_defaults(host: Host) -> None:
    assert configured(host, "LTXVTrainOptimizationConfig") == {
        "learning_rate": 1e-4,
        "steps": 3000,
        "batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_grad_norm": 1.0,
        "optimizer_type": "adamw",
        "scheduler_type": "linear",
        "scheduler_params": {},
        "enable_gradient_checkpointing": False,
        "warmup_steps": 0,
        "ema_decay": None,
        "max_non_finite_steps": 10,
        "early_stopping_patience": None,
        "checkpointing_budget": None,
        "trained_weights": "float32",
        "release_gradients": False,
        "ema_on_host": False,
        "preservation": "none",
        "preservation_weight": 1.0,
        "preservation_trigger": "",
        "preservation_class": "",
        "prior_weight": 1.0,
        "activations_on_host": False,
    }


def test_widgets_become_options(host: Host) -> None:
    folder = host.base / "input"
    for name in ("one.mp4", "two.mp4"):
        (folder / name).touch()
    values = configured(
        host,
        "LTXVTrainValidationConfig",
        prompts="a red circle\n\n a blue ring \n",
        video_dims="96x64x17",
        interval=0,
        reference_videos="one.mp4\ntwo.mp4",
    )
    assert values["prompts"] == ["a red circle", "a blue ring"]
    assert values["video_dims"] == [96, 64, 17]
    assert values["interval"] is None
    assert values["images"] is None
    assert values["reference_videos"] == [str(folder / "one.mp4"), str(folder / "two.mp4")]


def test_an_absolute_path_stays_as_it_is(host: Host) -> None:
    root = str(finished_data(host.base / "output" / "elsewhere"))
    assert configured(host, "LTXVTrainDataConfig", preprocessed_data_root=root) == {
        "preprocessed_data_root": root,
        "num_dataloader_workers": 2,
        "allow_other_encoders": False,
        "held_out_clips": 0,
        "prior_data_root": None,
        "more_data_sets": [],
        "repeats": 1.0,
        "weight": 1.0,
        "balanced": False,
        "stage_steps": [],
    }


def test_a_value_out_of_bounds_is_refused_before_anything_runs(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainLoRAConfig", **defaults(host, "LTXVTrainLoRAConfig", rank=0)))
    with pytest.raises(PromptRefused, match=r"rank: must be at least 1 \(given: 0"):
        host.start(graph.prompt)


def test_an_unknown_choice_and_a_wrong_number_are_said_together(host: Host) -> None:
    graph = Graph()
    wrong = {"scheduler_type": "circular", "steps": 0}
    values = defaults(host, "LTXVTrainOptimizationConfig", **wrong)
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    with pytest.raises(PromptRefused) as refused:
        host.start(graph.prompt)
    assert "steps: must be at least 1" in str(refused.value)
    assert "scheduler_type: must be 'constant', 'linear'" in str(refused.value)


def test_what_depends_on_a_linked_widget_waits_for_its_value(host: Host) -> None:
    """With the 100 steps of the link a warm-up of 200 is too long; the default has 3000."""
    graph = Graph()
    values = defaults(host, "LTXVTrainOptimizationConfig", warmup_steps=200)
    values["steps"] = graph.add("ProbeNumber", value=100)
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    assert "warmup_steps 200: must be smaller than steps (100)" in message_of(host, graph.prompt)
    values["batch_size"] = 0
    graph.add("LTXVTrainOptimizationConfig", **values)
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    with pytest.raises(PromptRefused, match="batch_size: must be at least 1"):
        host.start(graph.prompt)


def test_a_wire_of_another_section_does_not_fit(host: Host) -> None:
    graph = Graph()
    lora = graph.add("LTXVTrainLoRAConfig", **defaults(host, "LTXVTrainLoRAConfig"))
    data = _data(graph, host)
    graph.probe(graph.add("LTXVTrainConfig", model=lora, data=data, seed=1, name="wrong"))
    with pytest.raises(PromptRefused, match="LTXV_TRAIN_LORA"):
        host.start(graph.prompt)


def test_what_does_not_fit_together_is_said_by_name(host: Host) -> None:
    graph = Graph()
    values = defaults(host, "LTXVTrainOptimizationConfig", scheduler_params="eta_min: 0.1")
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    expected = "scheduler_params: eta_min: the linear schedule takes"
    with pytest.raises(PromptRefused, match=expected):
        host.start(graph.prompt)


def test_a_missing_data_section_names_the_node_to_connect(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainConfig", seed=1, name="no-data"))
    with pytest.raises(PromptRefused, match=r"data: not connected.*LTXVTrainDataConfig"):
        host.start(graph.prompt)


def test_unconnected_sections_have_their_defaults(host: Host) -> None:
    graph = Graph()
    config = graph.add("LTXVTrainConfig", data=_data(graph, host), seed=7, name=" mine ")
    probe = graph.probe(config)
    values = seen(run(host, graph.prompt), probe)
    assert set(values) == {"data", "seed", "name", "output_dir"}
    assert (values["seed"], values["name"]) == (7, "mine")
    assert values["output_dir"] == str(host.base / "output" / "ltxv_train")


@pytest.mark.parametrize(
    ("node", "changes", "message"),
    [
        ("LTXVTrainLoRA", {"mode": "reference_video"}, "mode: .*use the node.*LTXVTrainICLoRA"),
        ("LTXVTrainLoRA", {"prefix_frames": 0}, "prefix_frames: must be at least 1"),
    ],
)
def test_what_a_training_node_refuses_stands_at_the_section(
    host: Host, node: str, changes: dict[str, Any], message: str
) -> None:
    graph = Graph()
    mode = graph.add(
        "LTXVTrainConditioningConfig", **defaults(host, "LTXVTrainConditioningConfig", **changes)
    )
    model = defaults(host, "LTXVTrainModelConfig", model_source="LTXV_MINIATURE")
    config = graph.add(
        "LTXVTrainConfig",
        model=graph.add("LTXVTrainModelConfig", **model),
        data=_data(graph, host),
        conditioning=mode,
        seed=7,
        name="refused",
    )
    graph.add(node, config=config)
    with pytest.raises(PromptRefused, match=message) as refused:
        host.start(graph.prompt)
    assert list(refused.value.node_errors) == [mode.id]
    assert len(refused.value.node_errors[mode.id]["errors"]) == 1


def finished_data(folder: Path) -> Path:
    """A folder that is taken for a data set until it is read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").write_text("{}", encoding="utf-8")
    return folder


def _data(graph: Graph, host: Host) -> Node:
    finished_data(host.base / "input" / "some-data")
    values = defaults(host, "LTXVTrainDataConfig", preprocessed_data_root="some-data")
    return graph.add("LTXVTrainDataConfig", **values)
