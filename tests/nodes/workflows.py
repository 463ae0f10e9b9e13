"""Parts of prompts that several tests are made of."""

from typing import Any

from tests.graph import Graph, Node
from tests.host import Host

SIZE = "96x96x17"


def defaults(host: Host, node: str, **changes: Any) -> dict[str, Any]:
    """A node's widget values as the interface fills them in."""
    required = host.object_info()[node]["input"]["required"]
    values = {n: s["default"] for n, (_, s) in required.items() if "default" in s}
    return {**values, **changes}


def add(graph: Graph, host: Host, node: str, **changes: object) -> Node:
    """A node with its default values and these."""
    return graph.add(node, **{**defaults(host, node), **changes})


def prepare(graph: Graph, host: Host, task: str = "stripes") -> tuple[Node, Node]:
    """Demo data set and preprocessing."""
    dataset = add(graph, host, "LTXVTrainDemoDataset", task=task, clips=6, seed=3)
    preprocessed = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    return dataset, preprocessed


def configure(graph: Graph, host: Host, data: Node | str, steps: int, **others: object) -> Node:
    sections = {
        "model": {"model_source": "LTXV_MINIATURE"},
        "lora": {"rank": 4, "alpha": 4},
        "optimization": {"steps": steps, "learning_rate": 2e-3},
        "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
        "data": {"preprocessed_data_root": data, "num_dataloader_workers": 0},
        **{name: values for name, values in others.items() if isinstance(values, dict)},
    }
    names = {"model": "Model", "lora": "LoRA"}
    built = {
        section: add(
            graph, host, f"LTXVTrain{names.get(section, section.capitalize())}Config", **values
        )
        for section, values in sections.items()
    }
    return graph.add("LTXVTrainConfig", **built, seed=1, name=others.get("name", "test"))
