"""Runs from the canvas: again, in stages, in the background, cancelled, failed."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from ltxv_train_core.runs import RunFolder, RunLibrary, RunState, RunWriter
from tests.conftest import PACK
from tests.graph import Graph, Node, seen
from tests.host import Host, models_folder, run
from tests.nodes.test_routes import ask
from tests.nodes.test_training import _wait_for_step, progress_of
from tests.nodes.workflows import SIZE, configure, prepare


@pytest.fixture(scope="module")
def data(host: Host) -> str:
    """A preprocessed data set's folder."""
    graph = Graph()
    dataset, _ = prepare(graph, host)
    probe = graph.probe(dataset[0])
    return str(Path(seen(run(host, graph.prompt), probe)).parent)


def trains(host: Host, data: str, steps: int, name: str, **inputs: Any) -> tuple[Graph, Any, list]:
    """A graph with one training node and probes of its outputs."""
    graph = Graph()
    config = configure(graph, host, data, steps=steps, name=name)
    train = graph.add("LTXVTrainLoRA", config=config, **inputs)
    return graph, train, [graph.probe(train[output]) for output in range(5)]


def moves(host: Host, since: int) -> list[str]:
    return [data["status"] for data in progress_of(host, "RunMoved", since)]


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_a_finished_run_is_found_and_the_node_says_so(host: Host, data: str) -> None:
    graph, _, probes = trains(host, data, 2, "found")
    first = run(host, graph.prompt).succeeded()
    names = [seen(first, probe) for probe in (probes[0], probes[4])]
    other, train, again = trains(host, data, 2, "found", mode="wait")
    since = len(host.sent())
    second = run(host, other.prompt).succeeded()
    assert [seen(second, probe) for probe in (again[0], again[4])] == names
    assert "already finished, reused" in second.outputs[train.id]["text"][0]
    assert progress_of(host, "StepCompleted", since) == []


@pytest.mark.long
def test_train_again_makes_a_numbered_run_each_time(host: Host, data: str) -> None:
    graph, _, probes = trains(host, data, 1, "twice", train_again=True)
    runs = [seen(run(host, graph.prompt), probes[4]) for _ in range(2)]
    assert runs[1] == f"{runs[0]}-2"
    loras = models_folder(host, "loras") / "ltxv_train"
    assert len(list(loras.glob("twice-*.safetensors"))) == 2


@pytest.mark.long
def test_a_deleted_run_is_trained_again(host: Host, data: str) -> None:
    graph, _, probes = trains(host, data, 1, "deleted")
    name = seen(run(host, graph.prompt), probes[4])
    RunLibrary(host.base / "output" / "ltxv_train").delete(name)
    since = len(host.sent())
    assert seen(run(host, graph.prompt), probes[4]) == name
    assert [step["step"] for step in progress_of(host, "StepCompleted", since)] == [1]


def test_a_run_is_told_of_although_its_lora_can_not_be_copied(host: Host, data: str) -> None:
    loras, moved = (models_folder(host, "loras") / name for name in ("ltxv_train", "moved"))
    loras.mkdir(parents=True, exist_ok=True)
    loras.rename(moved)
    loras.write_text("a file in the place of the folder", encoding="utf-8")
    since = len(host.sent())
    try:
        graph, train, _ = trains(host, data, 1, "uncopied")
        assert run(host, graph.prompt).error_node == train.id
    finally:
        loras.unlink()
        moved.rename(loras)
    assert moves(host, since) == ["queued", "running", "finished"]


def test_two_stages_in_one_graph(host: Host, data: str) -> None:
    graph = Graph()
    config = configure(graph, host, data, steps=2, name="stages")
    first = graph.add("LTXVTrainLoRA", config=config)
    second = graph.add("LTXVTrainLoRA", config=config, continue_from=first[4])
    probes = [graph.probe(node[0]) for node in (first, second)]
    since = len(host.sent())
    outcome = run(host, graph.prompt)
    names = [seen(outcome, probe) for probe in probes]
    assert names[0].endswith("-000002.safetensors")
    assert names[1].endswith("-000004.safetensors")
    steps = [data["step"] for data in progress_of(host, "StepCompleted", since)]
    assert steps == [1, 2, 3, 4]


def test_a_detached_run_goes_on_and_is_joined_later(host: Host, data: str) -> None:
    graph, train, probes = trains(host, data, 15, "detached", mode="detached")
    since = len(host.sent())
    outcome = run(host, graph.prompt).succeeded()
    assert probes[0].id not in outcome.outputs, "what needs the LoRA does not run yet"
    name = seen(outcome, probes[4])
    assert "trains in the background" in outcome.outputs[train.id]["text"][0]
    assert "finished" not in moves(host, since)

    waiting = Graph()
    wait = waiting.add("LTXVTrainWait", run_name=name)
    lora = waiting.probe(wait[0])
    joined = run(host, waiting.prompt)
    assert seen(joined, lora).endswith("-000015.safetensors")
    assert (models_folder(host, "loras") / seen(joined, lora)).is_file()
    events = progress_of(host, "StepCompleted", since)
    assert [data["step"] for data in events] == list(range(1, 16))
    assert {data["run"] for data in events} == {name}
    assert moves(host, since) == ["queued", "running", "finished"]
    bars = [s.data for s in host.sent()[since:] if s.event == "progress"]
    assert not [bar for bar in bars if bar.get("node") == train.id and bar["max"] > 1]

    again = run(host, graph.prompt).succeeded()
    assert "already finished" in again.outputs[train.id]["text"][0]


def said_at(host: Host, node: Node, since: int) -> list[str]:
    """The lines of text that were shown at a node."""
    texts = [s.data for s in host.sent()[since:] if s.event == "progress_text"]
    return [each["text"] for each in texts if each["node"] == node.id]


def test_a_paused_run_says_that_it_holds_the_queue(host: Host, data: str) -> None:
    graph, train, _ = trains(host, data, 100_000, "held")
    since = len(host.sent())
    prompt = host.start(graph.prompt)
    _wait_for_step(host, 2, since)
    (folder,) = (host.base / "output" / "ltxv_train").glob("held-*")
    job_url = f"/ltxv_train/runs/{folder.name}/pause"
    ask(host, job_url, "POST", "{}", {"Content-Type": "application/json"})
    until(lambda: any("holds ComfyUI's queue" in line for line in said_at(host, train, since)))
    host.interrupt()
    assert host.wait(prompt, seconds=60).interrupted
    assert said_at(host, train, since)[-1].endswith("is kept, and Run resumes from it.")


def test_a_detached_run_leaves_no_text_that_grows_old(host: Host, data: str) -> None:
    graph, train, _ = trains(host, data, 2, "leaves", mode="detached")
    since = len(host.sent())
    run(host, graph.prompt).succeeded()
    until(lambda: moves(host, since)[-1] == "finished")
    assert not [line for line in said_at(host, train, since) if "step" in line]


def test_cancel_ends_the_waiting_and_not_the_run(host: Host, data: str) -> None:
    graph, _, probes = trains(host, data, 25, "unbothered", mode="detached")
    since = len(host.sent())
    name = seen(run(host, graph.prompt), probes[4])
    waiting = Graph()
    waiting.add("LTXVTrainWait", run_name=name)
    prompt = host.start(waiting.prompt)
    _wait_for_step(host, 2, since)
    host.interrupt()
    assert host.wait(prompt).interrupted
    until(lambda: moves(host, since)[-1] == "finished")


def test_the_prompt_queue_works_at_once_after_a_cancel(host: Host, data: str) -> None:
    graph, *_ = trains(host, data, 100_000, "long")
    since = len(host.sent())
    prompt = host.start(graph.prompt)
    _wait_for_step(host, 2, since)
    host.interrupt()
    assert host.wait(prompt, seconds=60).interrupted
    assert moves(host, since)[-1] == "stopped"
    small = Graph()
    probe = small.probe("after")
    assert seen(run(host, small.prompt, seconds=60), probe) == "after"
    last = progress_of(host, "StepCompleted", since)[-1]["step"]
    loras = models_folder(host, "loras") / "ltxv_train"
    assert len(list(loras.glob(f"long-*-{last:06d}.safetensors"))) == 1


@pytest.mark.long
def test_deleted_samples_do_not_stop_a_run(host: Host, data: str) -> None:
    graph = Graph()
    validation = {"prompts": "a circle", "video_dims": SIZE, "inference_steps": 1, "interval": 9999}
    config = configure(graph, host, data, steps=9999, name="unsampled", validation=validation)
    graph.add("LTXVTrainLoRA", config=config)
    since = len(host.sent())
    prompt = host.start(graph.prompt)
    _wait_for_step(host, 1, since)
    (folder,) = (host.base / "output" / "ltxv_train").glob("unsampled-*")
    shutil.rmtree(folder / "samples")
    pictures = [sent.event for sent in host.sent()].count("preview")
    until(lambda: [sent.event for sent in host.sent()].count("preview") > pictures + 1)
    host.interrupt()
    assert host.wait(prompt).interrupted


@pytest.mark.long
def test_one_queue_is_made_however_many_ask_first() -> None:
    script = """
import sys, threading
from pathlib import Path
from tests.standin.pack import load_nodes, standin_modules
with standin_modules():
    load_nodes(Path.cwd())
    (jobs,) = [module for name, module in sys.modules.items() if name.endswith(".nodes.server.jobs")]
    found = []
    threads = [threading.Thread(target=lambda: found.append(jobs.job_manager())) for _ in "1234"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(found) == 4 and len({id(manager) for manager in found}) == 1, found
"""
    subprocess.run([sys.executable, "-c", script], cwd=PACK, check=True)


def test_a_failed_run_is_an_error_of_the_node_and_comfyui_goes_on(host: Host, data: str) -> None:
    graph = Graph()
    poisoned = host.base / "input" / "poisoned"
    shutil.copytree(Path(data) / ".precomputed", poisoned)
    for path in (poisoned / "latents").rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            metadata, latents = file.metadata(), file.get_tensor("latents")
        save_file({"latents": latents * float("nan")}, path, metadata)
    config = configure(graph, host, str(poisoned), steps=2, name="failing")
    train = graph.add("LTXVTrainLoRA", config=config)
    since = len(host.sent())
    outcome = run(host, graph.prompt)
    assert outcome.error_node == train.id
    assert "every step was skipped" in (outcome.error or "")
    (failed,) = [d for d in progress_of(host, "RunMoved", since) if d["status"] == "failed"]
    assert failed["cause"] == "not_finite"
    good, _, probes = trains(host, data, 1, "after-failing")
    assert seen(run(host, good.prompt), probes[0]).startswith("ltxv_train")


def test_waiting_for_what_does_not_train_says_why(host: Host) -> None:
    stopped = RunFolder(host.base / "output" / "ltxv_train" / "stopped-0123456789ab")
    stopped.folder.mkdir(parents=True)
    stopped.write_state(RunState.new(9).moved("running").moved("stopped", step=4))
    for name, words in (("", "connect run, or write run_name"), ("nowhere", "no run is named")):
        graph = Graph()
        graph.add("LTXVTrainWait", run_name=name)
        assert words in (run(host, graph.prompt).error or "")
    graph = Graph()
    graph.add("LTXVTrainWait", run_name=stopped.name)
    assert "is stopped at step 4" in (run(host, graph.prompt).error or "")


def test_waiting_for_a_run_of_another_program_or_without_its_lora_says_why(
    host: Host, data: str
) -> None:
    graph, _, probes = trains(host, data, 1, "elsewhere")
    outcome = run(host, graph.prompt)
    folder = RunFolder(Path(seen(outcome, probes[3])))
    waiting = Graph()
    waiting.add("LTXVTrainWait", run_name=folder.name)
    with RunWriter(folder).acquire() as writer:
        writer.move("running", step=1)
        assert "is trained by another program" in (run(host, waiting.prompt).error or "")
        writer.move("finished")
    folder.lora_file(1).unlink()
    assert "its LoRA was deleted" in (run(host, waiting.prompt).error or "")


@pytest.mark.kills
def test_a_run_in_a_process_of_its_own(host: Host, data: str) -> None:
    graph, _, probes = trains(host, data, 4, "apart", processes=1)
    since = len(host.sent())
    outcome = run(host, graph.prompt)
    assert seen(outcome, probes[0]).endswith("-000004.safetensors")
    assert (Path(seen(outcome, probes[3])) / "worker.log").is_file()
    steps = [data["step"] for data in progress_of(host, "StepCompleted", since)]
    assert steps == [1, 2, 3, 4]
