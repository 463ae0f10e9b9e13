"""A graph and its data set, made on one machine, run on another: other folders, the other kind of slash."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from tests.conftest import start_comfyui
from tests.graph import Graph, seen
from tests.host import Host, run
from tests.nodes.workflows import SIZE, add, configure
from tests.standin.host import StandInHost

CLIPS = 3


@pytest.fixture
def folder(host: Host, tmp_path: Path) -> Path:
    """A data set in the input folder, with paths as Windows writes them."""
    folder = host.base / "input" / f"windows-{tmp_path.name}"
    metadata = generate("stripes", folder, clips=CLIPS, seed=4).metadata.with_suffix(".csv")
    with metadata.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["media_path"] = row["media_path"].replace("/", "\\")
    with metadata.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert "videos\\000.mp4" in metadata.read_text(encoding="utf-8")
    return folder


@pytest.fixture
def base_of_another(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimpleNamespace]:
    """Another machine: `base` is its folder, `arrive()` gives it as a host.

    The stand-in, of which a process has one, moves to another base; of ComfyUI a second one is started.
    """
    base = tmp_path.resolve() / "elsewhere" / "Comfy UI"
    started: list[Host] = []

    def arrive() -> Host:
        if isinstance(host, StandInHost):
            import folder_paths

            monkeypatch.setattr(folder_paths, "base_path", str(base))
            monkeypatch.setattr(folder_paths, "models_dir", str(base / "models"))
            host._cache.clear()
            return host
        started.append(start_comfyui(base))
        return started[-1]

    if isinstance(host, StandInHost):
        for name in ("input", "output", "models/loras", "models/checkpoints"):
            (base / name).mkdir(parents=True)
    yield SimpleNamespace(base=base, arrive=arrive)
    for each in started:
        each.close()


def train(host: Host, dataset_path: str) -> tuple[str, str]:
    """What preprocessing says, and the name of the LoRA."""
    graph = Graph()
    prepared = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset_path,
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    config = configure(graph, host, prepared, steps=2)
    trained = add(graph, host, "LTXVTrainLoRA", config=config)
    summary, name = graph.probe(prepared[1]), graph.probe(trained)
    outcome = run(host, graph.prompt)
    return seen(outcome, summary), seen(outcome, name)


@pytest.mark.long
def test_a_shared_graph_and_data_set_come_to_the_same_lora(
    host: Host, folder: Path, base_of_another: SimpleNamespace
) -> None:
    first_base = host.base
    summary, name = train(host, f"{folder.name}\\dataset.csv")
    assert f"{2 * CLIPS} encoded" in summary or f"{2 * CLIPS} files encoded" in summary, summary
    one = first_base / "models" / "loras" / name
    with safe_open(one, "pt") as file:
        shared = json.dumps(file.metadata())
    assert str(first_base) not in shared

    other = base_of_another.arrive()
    input_folder = base_of_another.base / "input"
    input_folder.mkdir(exist_ok=True)
    shutil.move(folder, input_folder / folder.name)
    summary, again = train(other, f"{folder.name}\\dataset.csv")
    assert "0 encoded" in summary or "0 files encoded" in summary, summary
    assert again == name
    two = base_of_another.base / "models" / "loras" / name
    left, right = load_file(one), load_file(two)
    assert left.keys() == right.keys()
    assert all((left[key] == right[key]).all() for key in left)

    # The slashes of this system name the same data set and the same run.
    _, forward = train(other, f"{folder.name}/dataset.csv")
    assert forward == name
