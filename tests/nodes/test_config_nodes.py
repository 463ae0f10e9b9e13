"""From widgets to a configuration."""

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
    }


def test_widgets_become_options(host: Host) -> None:
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
    folder = host.base / "input"
    assert values["reference_videos"] == [str(folder / "one.mp4"), str(folder / "two.mp4")]


def test_an_absolute_path_stays_as_it_is(host: Host) -> None:
    root = str(host.base / "output" / "elsewhere")
    assert configured(host, "LTXVTrainDataConfig", preprocessed_data_root=root) == {
        "preprocessed_data_root": root,
        "num_dataloader_workers": 2,
        "allow_other_encoders": False,
    }


def test_a_value_out_of_bounds_is_refused_before_anything_runs(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainLoRAConfig", **defaults(host, "LTXVTrainLoRAConfig", rank=0)))
    with pytest.raises(
        PromptRefused, match=r"lora\.rank: .* greater than or equal to 1 \(given: 0"
    ):
        host.start(graph.prompt)


def test_an_unknown_choice_and_a_wrong_number_are_said_together(host: Host) -> None:
    graph = Graph()
    wrong = {"scheduler_type": "circular", "steps": 0}
    values = defaults(host, "LTXVTrainOptimizationConfig", **wrong)
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    with pytest.raises(PromptRefused) as refused:
        host.start(graph.prompt)
    assert "optimization.steps: " in str(refused.value)
    assert "optimization.scheduler_type: Input should be 'constant', 'linear'" in str(refused.value)


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
    with pytest.raises(PromptRefused, match=r"optimization\.batch_size"):
        host.start(graph.prompt)


def test_a_wire_of_another_section_does_not_fit(host: Host) -> None:
    graph = Graph()
    lora = graph.add("LTXVTrainLoRAConfig", **defaults(host, "LTXVTrainLoRAConfig"))
    graph.probe(graph.add("LTXVTrainConfig", model=lora, seed=1, name="wrong"))
    with pytest.raises(PromptRefused, match="LTXV_TRAIN_LORA"):
        host.start(graph.prompt)


def test_what_does_not_fit_together_is_said_by_name(host: Host) -> None:
    graph = Graph()
    values = defaults(host, "LTXVTrainOptimizationConfig", scheduler_params="eta_min: 0.1")
    graph.probe(graph.add("LTXVTrainOptimizationConfig", **values))
    expected = "optimization: scheduler_params eta_min: the linear schedule takes"
    with pytest.raises(PromptRefused, match=expected):
        host.start(graph.prompt)


def test_a_missing_data_section_names_the_node_to_connect(host: Host) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainConfig", seed=1, name="no-data"))
    assert "LTXVTrainDataConfig" in message_of(host, graph.prompt)


def test_unconnected_sections_have_their_defaults(host: Host) -> None:
    graph = Graph()
    config = graph.add("LTXVTrainConfig", data=_data(graph, host), seed=7, name=" mine ")
    probe = graph.probe(config)
    values = seen(run(host, graph.prompt), probe)
    assert set(values) == {"data", "seed", "name", "output_dir"}
    assert (values["seed"], values["name"]) == (7, "mine")
    assert values["output_dir"] == str(host.base / "output" / "ltxv_train")


@pytest.mark.parametrize(
    ("node", "conditioning", "message"),
    [
        ("LTXVTrainLoRA", "reference_video", "LTXVTrainICLoRA"),
        ("LTXVTrainLoRA", "none", "no-such-folder"),
        ("LTXVTrainICLoRA", "none", "no-such-folder"),
    ],
)
def test_what_a_training_node_refuses(
    host: Host, node: str, conditioning: str, message: str
) -> None:
    """No data set lies at the given place; the LoRA node finds the wrong mode first."""
    graph = Graph()
    mode = defaults(host, "LTXVTrainConditioningConfig", mode=conditioning)
    model = defaults(host, "LTXVTrainModelConfig", model_source="LTXV_MINIATURE")
    config = graph.add(
        "LTXVTrainConfig",
        model=graph.add("LTXVTrainModelConfig", **model),
        data=_data(graph, host),
        conditioning=graph.add("LTXVTrainConditioningConfig", **mode),
        seed=7,
        name="refused",
    )
    graph.add(node, config=config)
    assert message in message_of(host, graph.prompt)


def _data(graph: Graph, host: Host) -> Node:
    values = defaults(host, "LTXVTrainDataConfig", preprocessed_data_root="no-such-folder")
    return graph.add("LTXVTrainDataConfig", **values)
