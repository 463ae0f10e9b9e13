"""From a demo data set to a LoRA that ComfyUI lists."""

import json
import re
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from tests.graph import Graph, seen
from tests.host import Host, failure, models_folder, run
from tests.nodes.workflows import SIZE, add, configure, prepare


def progress_of(host: Host, kind: str, since: int = 0) -> list[dict]:
    sent = [s.data for s in host.sent()[since:] if s.event == "ltxv_train.progress"]
    return [data for data in sent if data["kind"] == kind]


@pytest.fixture(scope="module")
def trained(host: Host) -> dict:
    """One short run with validation, from the data set on, and all that it showed."""
    graph, since = Graph(), len(host.sent())
    dataset, preprocessed = prepare(graph, host)
    validation = {
        "prompts": "a red circle moves right on a teal background",
        "video_dims": "64x64x9",
        "inference_steps": 1,
        "interval": 3,
    }
    config = configure(graph, host, preprocessed, steps=6, validation=validation)
    train = graph.add("LTXVTrainLoRA", config=config)
    probes = [graph.probe(train[output]) for output in range(4)]
    data_probes = [graph.probe(dataset[output]) for output in range(3)]
    losses = graph.probe(train[5])
    outcome = run(host, graph.prompt).succeeded()
    name, curve, samples, folder = (seen(outcome, probe) for probe in probes)
    return {
        "prompt": graph.prompt,
        "outcome": outcome,
        "since": since,
        "train": train,
        "name": name,
        "curve": curve,
        "samples": samples,
        "losses": seen(outcome, losses),
        "folder": Path(folder),
        "dataset": [seen(outcome, probe) for probe in data_probes],
    }


def test_the_demo_data_set_lies_in_the_input_folder(host: Host, trained: dict) -> None:
    path, prompt, clip = trained["dataset"]
    assert Path(path).is_file()
    assert Path(path).is_relative_to(host.base / "input")
    assert prompt.startswith("a ")
    assert clip["shape"] == [17, 96, 96, 3]


def test_the_lora_lies_where_loaders_list_it(host: Host, trained: dict) -> None:
    path = models_folder(host, "loras") / trained["name"]
    assert path.is_file()
    assert path.parent.name == "ltxv_train"
    assert path.stem == f"{trained['folder'].name}-000006"
    assert trained["folder"].parent == host.base / "output" / "ltxv_train"
    info = host.object_info()["LTXVTrainLoadLoRA"]
    assert trained["name"] in info["input"]["required"]["lora_name"][1]["options"]


def test_pictures_of_loss_and_samples_come_out(trained: dict) -> None:
    assert trained["curve"]["shape"][0] == 1
    assert trained["curve"]["shape"][3] == 3
    sheet = trained["folder"] / "samples" / "000006" / "sheet.png"
    with Image.open(sheet) as picture:
        assert trained["samples"]["shape"] == [1, picture.height, picture.width, 3]


def test_the_losses_come_out_as_comfyuis_own_training_gives_them(host: Host, trained: dict) -> None:
    steps = progress_of(host, "StepCompleted", trained["since"])
    assert trained["losses"] == {"loss": [step["loss"] for step in steps]}
    if "LossGraphNode" in host.object_info():
        graph = Graph(dict(trained["prompt"]))
        plot = graph.add("LossGraphNode", loss=trained["train"][5], filename_prefix="loss")
        assert run(host, graph.prompt).succeeded().outputs[plot.id]["images"]


def test_every_step_is_told(host: Host, trained: dict) -> None:
    steps = progress_of(host, "StepCompleted", trained["since"])
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert all(step["node"] == trained["train"].id for step in steps)
    assert all(0 < step["loss"] < 10 and step["eta_seconds"] >= 0 for step in steps)
    samples = progress_of(host, "SamplesWritten", trained["since"])
    assert [sample["step"] for sample in samples] == [0, 3, 6]
    sheet = samples[-1]["sheet"]
    assert (host.base / "output" / sheet["subfolder"] / sheet["filename"]).is_file()


def test_bar_text_and_picture_show_at_the_node(host: Host, trained: dict) -> None:
    sent = host.sent()[trained["since"] :]
    node = trained["train"].id
    texts = [s.data["text"] for s in sent if s.event == "progress_text" and s.data["node"] == node]
    # The last one may come together with the run's end, which is said then.
    assert any(re.search(r"step [1-6] of 6, loss \d", text) for text in texts)
    assert [s for s in sent if s.event == "preview"]
    bars = [s.data for s in sent if s.event == "progress" and s.data["node"] == node]
    assert (6, 6) in [(bar["value"], bar["max"]) for bar in bars]


def test_the_same_prompt_again_trains_nothing(host: Host, trained: dict) -> None:
    since = len(host.sent())
    outcome = run(host, trained["prompt"]).succeeded()
    assert trained["train"].id in outcome.cached
    assert not progress_of(host, "StepCompleted", since)


def test_the_same_configuration_in_another_graph_finds_the_finished_run(
    host: Host, trained: dict
) -> None:
    graph, since = Graph(), len(host.sent())
    data = str(Path(trained["dataset"][0]).parent)
    config = configure(graph, host, data, steps=6)
    train = graph.add("LTXVTrainLoRA", config=config)
    probe = graph.probe(train)
    assert seen(run(host, graph.prompt), probe) == trained["name"]
    (found,) = progress_of(host, "RunMoved", since)
    assert (found["status"], found["node"], found["graph"]) == ("finished", train.id, None)
    assert found["run"] == trained["folder"].name
    assert not progress_of(host, "StepCompleted", since)


def test_nodes_behind_missing_samples_do_not_run(host: Host, trained: dict) -> None:
    graph = Graph()
    data = str(Path(trained["dataset"][0]).parent)
    config = configure(graph, host, data, steps=1)
    probe = graph.probe(graph.add("LTXVTrainLoRA", config=config)[2])
    assert probe.id not in run(host, graph.prompt).succeeded().outputs


def test_cancel_keeps_the_checkpoint_and_the_next_prompt_goes_on(host: Host, trained: dict) -> None:
    graph, since = Graph(), len(host.sent())
    data = str(Path(trained["dataset"][0]).parent)
    config = configure(graph, host, data, steps=40, name="cancelled")
    graph.add("LTXVTrainLoRA", config=config)
    prompt_id = host.start(graph.prompt)
    _wait_for_step(host, 3, since)
    host.interrupt()
    outcome = host.wait(prompt_id)
    assert outcome.interrupted
    last = progress_of(host, "StepCompleted", since)[-1]["step"]
    assert 3 <= last < 40
    said = [s.data["text"] for s in host.sent()[since:] if s.event == "progress_text"]
    assert said[-2:] == [
        "Cancelling: a checkpoint is written after this step.",
        f"Cancelled: the checkpoint of step {last} is kept, and Run resumes from it.",
    ]

    (folder,) = (host.base / "output" / "ltxv_train").glob("cancelled-*")
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"{last:06d}"]
    published = models_folder(host, "loras") / "ltxv_train"
    assert (published / f"{folder.name}-{last:06d}.safetensors").is_file()

    since = len(host.sent())
    run(host, graph.prompt).succeeded()
    steps = [step["step"] for step in progress_of(host, "StepCompleted", since)]
    assert steps == list(range(last + 1, 41))


def test_an_ic_lora_trains_on_pairs(host: Host) -> None:
    graph = Graph()
    dataset, preprocessed = prepare(graph, host, task="mirror")
    config = configure(graph, host, preprocessed, steps=2, name="ic")
    name = graph.probe(graph.add("LTXVTrainICLoRA", config=config))
    reference = graph.probe(dataset[2])
    outcome = run(host, graph.prompt)
    assert (models_folder(host, "loras") / seen(outcome, name)).is_file()
    silhouette = seen(outcome, reference)
    assert silhouette["shape"] == [17, 96, 96, 3]
    assert silhouette["mean"] < 0.3


def test_an_ic_lora_needs_references(host: Host, trained: dict) -> None:
    graph = Graph()
    data = str(Path(trained["dataset"][0]).parent)
    config = configure(graph, host, data, steps=2)
    graph.add("LTXVTrainICLoRA", config=config)
    error = failure(host, graph.prompt)
    assert "reference" in error


def test_a_data_set_that_is_not_there_is_named(host: Host) -> None:
    graph = Graph()
    add(graph, host, "LTXVTrainDatasetPreprocess", dataset_path="nowhere/dataset.json")
    error = failure(host, graph.prompt)
    assert "dataset.json" in error


def test_an_empty_path_is_no_data_set(host: Host) -> None:
    graph = Graph()
    add(graph, host, "LTXVTrainDatasetPreprocess", dataset_path=" ")
    assert "path is empty" in failure(host, graph.prompt)


def test_changed_captions_are_preprocessed_again(host: Host, trained: dict) -> None:
    metadata = Path(trained["dataset"][0])
    graph = Graph()
    preprocess = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=str(metadata.relative_to(host.base / "input")),
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
        output_dir="again",
    )
    first = run(host, graph.prompt).succeeded()
    assert first.outputs[preprocess.id]["text"][0].startswith(
        "6 clips ready, 0 skipped; 12 files encoded, 0 reused"
    )
    assert preprocess.id in run(host, graph.prompt).succeeded().cached
    text = metadata.read_text(encoding="utf-8")
    metadata.write_text(text.replace("circle", "square").replace("ring", "square"), "utf-8")
    try:
        changed = run(host, graph.prompt).succeeded()
    finally:
        metadata.write_text(text, "utf-8")
    assert preprocess.id not in changed.cached
    assert not changed.outputs[preprocess.id]["text"][0].startswith("0 encoded")


def _wait_for_step(host: Host, step: int, since: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(data["step"] >= step for data in progress_of(host, "StepCompleted", since)):
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} did not come\n{host.log()}")


def test_the_lora_carries_the_graph_without_this_machines_folders(
    host: Host, trained: dict
) -> None:
    with safe_open(models_folder(host, "loras") / trained["name"], "pt") as file:
        metadata = file.metadata()
    prompt = json.loads(metadata["prompt"])
    assert {node["class_type"] for node in prompt.values()} >= {"LTXVTrainLoRA", "ProbeValue"}
    assert set(prompt) == set(trained["prompt"])
    assert str(host.base) not in json.dumps(metadata)
