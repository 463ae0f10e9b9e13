"""Somebody else's graph, queued as it is: it reads, writes and sends nothing that was not allowed.

One attack is made of nodes, one of YAML text. The Hub is an imitation on this machine.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunLibrary
from tests.conftest import KINDS, start_comfyui
from tests.graph import Graph, Node, seen
from tests.helpers.hub_server import TOKEN, HubServer
from tests.host import Host, Outcome, PromptRefused, failure, run
from tests.nodes.test_routes import ask
from tests.nodes.workflows import SIZE, add, configure, prepare

SECRET = "hf_the_owners_secret_token_0123456789_and_more_of_it_than_eighty_characters_would_be"
LOOT = {"push_to_hub": True, "hub_model_id": "mallory/loot", "private": False}
JSON_TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Victim:
    """A ComfyUI whose owner is logged in at the Hub, and things of the owner's beside it."""

    host: Host
    hub: HubServer
    home: Path

    def state(self) -> dict[str, bytes]:
        """Everything that lies beside ComfyUI."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return {path.relative_to(self.home).as_posix(): path.read_bytes() for path in files}

    def up_to(self, name: str) -> str:
        """A path that goes up from ComfyUI's input folder to something of the owner's."""
        return Path(os.path.relpath(self.home / name, self.host.base / "input")).as_posix()

    def refused(self, graph: Graph, what: str) -> Outcome:
        """Runs a graph that must end with an error, and nothing may have come of it."""
        before = self.state()
        outcome = run(self.host, graph.prompt)
        assert outcome.error is not None, what
        assert "not allowed" in outcome.error, (what, outcome.error)
        assert SECRET[:20] not in outcome.error
        assert self.state() == before, what
        assert self.hub.calls == [], what
        return outcome

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer; ComfyUI itself refuses some requests, without JSON."""
        answer = ask(self.host, path, "POST", json.dumps(body), {**JSON_TYPE, **headers})
        return answer.status, answer.json if answer.content.startswith(b"{") else None


@pytest.fixture(scope="module", params=KINDS)
def victim(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    root = tmp_path_factory.mktemp(f"victim-{request.param}").resolve()
    hub = HubServer()
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "WANDB_BASE_URL": hub.url,
        "WANDB_API_KEY": "0" * 40,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        is_real = request.param == "comfyui"
        host = (
            start_comfyui(root / "base", environment)
            if is_real
            else request.getfixturevalue("standin")
        )
        _furnish(root / "home")
        yield Victim(host, hub, root / "home")
        if is_real:
            host.close()
    hub.close()


def _furnish(home: Path) -> None:
    """Clips, a data set that is ready to train, a picture, a web site, a program, a secret."""
    metadata = generate("stripes", home / "clips", clips=4).metadata
    preprocess(PreprocessSettings(metadata, "LTXV_MINIATURE", SIZE, home / "ready"))
    Image.new("RGB", (96, 96), "red").save(home / "passport.png")
    (home / "site/latents").mkdir(parents=True)
    (home / "site/latents/keep.safetensors").write_bytes(b"kept")
    (home / "site/index.json").write_text('{"pages": []}')
    (home / "app").mkdir()
    (home / "app/package.json").write_text('{"name": "app"}')
    write_video(home / "app/a.mp4", np.zeros((17, 96, 96, 3), np.uint8), 24)
    (home / "app/a.txt").write_text("a clip")
    (home / "secret.txt").write_text(SECRET)
    (home / "secret.csv").write_text(f"caption,media_path\n{SECRET},x.mp4\n")


def training(graph: Graph, config: Node, **values: Any) -> Node:
    return graph.add("LTXVTrainLoRA", config=config, mode="wait", processes=0, **values)


# ------------------------------------------------------------------ the attack made of nodes


def test_nodes_train_on_no_folder_of_the_disk(victim: Victim) -> None:
    for root in (str(victim.home / "ready"), victim.up_to("ready")):
        graph = Graph()
        training(graph, configure(graph, victim.host, root, 2))
        victim.refused(graph, root)


def test_nodes_preprocess_no_folder_of_the_disk(victim: Victim) -> None:
    for source in ("clips/dataset.json", "clips", "secret.csv", "secret.txt", "not-there"):
        graph = Graph()
        add(
            graph,
            victim.host,
            "LTXVTrainDatasetPreprocess",
            dataset_path=str(victim.home / source),
            model_source="LTXV_MINIATURE",
            resolution_buckets=SIZE,
            output_dir="stolen",
        )
        victim.refused(graph, source)


def test_metadata_in_the_input_folder_leads_to_no_file_of_the_disk(victim: Victim) -> None:
    folder = victim.host.base / "input/bait"
    folder.mkdir(exist_ok=True)
    write_video(folder / "own.mp4", np.zeros((17, 96, 96, 3), np.uint8), 24)
    (folder / "linked.mp4").symlink_to(victim.home / "app/a.mp4")
    up = f"../{victim.up_to('app/a.mp4')}"
    media = [str(victim.home / "clips/videos/000.mp4"), "linked.mp4", up]
    rows = [{"caption": "a", "media_path": path} for path in ["own.mp4", *media]]
    (folder / "bait.json").write_text(json.dumps(rows))
    graph = Graph()
    node = add(
        graph,
        victim.host,
        "LTXVTrainDatasetPreprocess",
        dataset_path="bait/bait.json",
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    outcome = run(victim.host, graph.prompt).succeeded()
    text = outcome.outputs[node.id]["text"][0]
    assert "3 skipped" in text
    assert text.count("outside of ComfyUI's folders") == 3
    index = json.loads((folder / ".precomputed/index.json").read_text())
    assert [item["name"] for item in index["items"]] == ["own.mp4"]


def test_nodes_show_no_picture_of_the_disk(victim: Victim) -> None:
    for interval in (1, 0):
        graph = Graph()
        _, data = prepare(graph, victim.host)
        samples = {
            "prompts": "a red circle",
            "images": str(victim.home / "passport.png"),
            "video_dims": SIZE,
            "inference_steps": 1,
            "interval": interval,
        }
        training(graph, configure(graph, victim.host, data, 2, validation=samples))
        victim.refused(graph, "validation image")


def test_nodes_start_from_no_file_of_the_disk(victim: Victim) -> None:
    for section in (
        {"load_checkpoint": str(victim.home / "ready")},
        {"vae_source": str(victim.home / "x.safetensors")},
        {"text_encoder_source": "~/t5"},
        {"model_source": str(victim.home)},
    ):
        graph = Graph()
        model = {"model_source": "LTXV_MINIATURE", **section}
        graph.probe(configure(graph, victim.host, "input", 2, model=model))
        victim.refused(graph, str(section))


def test_nodes_download_from_no_repository_of_a_stranger(victim: Victim) -> None:
    graph = Graph()
    graph.probe(configure(graph, victim.host, "x", 2, model={"model_source": "mallory/model"}))
    outcome = victim.refused(graph, "download")
    assert "allow --download mallory/model" in (outcome.error or "")


def test_nodes_replace_and_delete_nothing_of_somebody_else(victim: Victim) -> None:
    """Not even where the owner has allowed the folder."""
    site = victim.host.base / "output/site"
    shutil.copytree(victim.home / "site", site)
    app = victim.host.base / "input/app"
    shutil.copytree(victim.home / "app", app)
    graph = Graph()
    _, preprocessed = prepare(graph, victim.host)
    graph.prompt[preprocessed.id]["inputs"] |= {"output_dir": str(site), "remove_orphans": True}
    outcome = run(victim.host, graph.prompt)
    assert "holds files that this program has not written" in (outcome.error or "")
    assert sorted(p.name for p in site.rglob("*") if p.is_file()) == [
        "index.json",
        "keep.safetensors",
    ]
    assert (site / "index.json").read_text() == '{"pages": []}'

    graph = Graph()
    add(
        graph,
        victim.host,
        "LTXVTrainDatasetReferences",
        dataset_path="app",
        kind="canny",
        output="app/package.json",
    )
    outcome = run(victim.host, graph.prompt)
    assert "package.json: is there, and this program has not written it" in (outcome.error or "")
    assert (app / "package.json").read_text() == '{"name": "app"}'

    for node, values in (
        ("LTXVTrainDatasetCaption", {"dataset_path": "app", "output": "app/package.json"}),
        ("LTXVTrainSplitScenes", {"videos_path": "app", "output": str(site)}),
    ):
        graph = Graph()
        add(graph, victim.host, node, **values)
        assert failure(victim.host, graph.prompt), node
    assert (app / "package.json").read_text() == '{"name": "app"}'
    assert (site / "index.json").read_text() == '{"pages": []}'


def test_nodes_write_nowhere_else(victim: Victim) -> None:
    def demo(graph: Graph) -> Node:
        folder = victim.up_to("new")
        return add(graph, victim.host, "LTXVTrainDemoDataset", folder=folder, clips=1)

    def frames(graph: Graph) -> Node:
        (_, _, images, _) = (demo_of(graph)[i] for i in range(4))
        return add(
            graph,
            victim.host,
            "LTXVTrainDatasetFromVideos",
            images=images,
            folder=str(victim.home / "new"),
        )

    def demo_of(graph: Graph) -> Node:
        return add(graph, victim.host, "LTXVTrainDemoDataset", clips=1)

    for make in (demo, frames):
        graph = Graph()
        graph.probe(make(graph))
        victim.refused(graph, make.__name__)
    assert not (victim.home / "new").exists()


def asks_to_send(victim: Victim, name: str, processes: int = 0) -> str:
    """Trains a run that asks to be uploaded and logged; nothing is sent. Gives its name."""
    graph = Graph()
    _, data = prepare(graph, victim.host)
    others = {"hub": LOOT, "trackers": {"wandb": True, "entity": "mallory"}}
    node = training(graph, configure(graph, victim.host, data, 2, name=name, **others))
    graph.prompt[node.id]["inputs"]["processes"] = processes
    run_name = graph.probe(node[4])
    outcome = run(victim.host, graph.prompt).succeeded()
    assert victim.hub.calls == []
    return seen(outcome, run_name)


@pytest.mark.long
def test_a_process_that_trains_for_nodes_sends_nothing_either(victim: Victim) -> None:
    name = asks_to_send(victim, "apart", processes=1)
    upload = ask(victim.host, f"/ltxv_train/runs/{name}/upload").json["upload"]
    assert upload["status"] == "waiting"
    assert victim.hub.calls == []


def test_nodes_send_nothing_before_the_owner_has_said_so(victim: Victim) -> None:
    names = [asks_to_send(victim, name) for name in ("first", "second")]

    path = f"/ltxv_train/runs/{names[0]}/upload"
    shown = ask(victim.host, path).json["upload"]
    assert victim.hub.calls == []
    assert shown["status"] == "waiting"
    assert (shown["repository"], shown["private"]) == ("mallory/loot", False)
    assert shown["account"] == "the token in HF_TOKEN"
    assert "training_config.yaml" in shown["files"]
    answer = {"answer": "once", "repository": "mallory/loot", "private": False}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        assert victim.post(path, answer, **headers)[0] == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(victim.host, path, "POST", json.dumps(answer), form).status == 415
    assert victim.post(path, {**answer, "private": True})[0] == 409
    assert victim.post(path, {**answer, "answer": "yes"})[0] == 409
    assert victim.hub.calls == []

    assert victim.post(path, {**answer, "answer": "no"})[0] == 200
    assert ask(victim.host, path).json["upload"]["status"] == "refused"
    status, value = victim.post(path.replace(names[0], names[1]), answer)
    assert (status, value["upload"]["status"]) == (200, "uploaded")
    assert list(victim.hub.repositories) == ["mallory/loot"]
    assert ask(victim.host, "/ltxv_train/permissions").json["uploads"] == []
    victim.hub.repositories.clear()
    victim.hub.calls.clear()


# ------------------------------------------------------------------ the attack through YAML text


@pytest.fixture(scope="module")
def root(victim: Victim) -> str:
    """A data set in ComfyUI's input folder."""
    graph = Graph()
    _, data = prepare(graph, victim.host)
    probe = graph.probe(data)
    return seen(run(victim.host, graph.prompt), probe)


def yaml_attack(victim: Victim, root: str, **sections: Any) -> Graph:
    whole = {
        "name": "yaml",
        "output_dir": str(victim.home / "runs"),
        "model": {"model_source": "LTXV_MINIATURE"},
        "optimization": {"steps": 2},
        "acceleration": {"compile_with_inductor": False, "mixed_precision_mode": "no"},
        "data": {"preprocessed_data_root": root, "num_dataloader_workers": 0},
    }
    graph = Graph()
    config = graph.add("LTXVTrainLoadConfig", file="", text=yaml.safe_dump(whole | sections))
    training(graph, config)
    return graph


def test_yaml_text_reads_nothing_of_the_disk(victim: Victim, root: str) -> None:
    miniature = {"model_source": "LTXV_MINIATURE"}
    passport = str(victim.home / "passport.png")
    samples = {"prompts": ["a"], "images": [passport], "video_dims": [96, 96, 17]}
    for sections in (
        {"data": {"preprocessed_data_root": str(victim.home / "ready")}},
        {"validation": samples},
        {"validation": {**samples, "interval": None}},
        {"model": {**miniature, "load_checkpoint": str(victim.home / "ready")}},
        {"model": {"model_source": str(victim.home / "model")}},
        {"model": {"model_source": "mallory/model"}},
    ):
        victim.refused(yaml_attack(victim, root, **sections), str(sections))


def test_yaml_files_of_the_disk_are_not_read(victim: Victim) -> None:
    graph = Graph()
    graph.probe(graph.add("LTXVTrainLoadConfig", file=str(victim.home / "secret.txt"), text=""))
    victim.refused(graph, "secret.txt")


def test_an_error_shows_little_of_a_file(victim: Victim) -> None:
    """A token in a file that graphs may read does not come back whole."""
    inside = victim.host.base / "input/secret.yaml"
    for text in (SECRET, f"seed: {SECRET}", f"lora: [{SECRET}", f"model: {{rank: '{SECRET}'}}"):
        inside.write_text(text)
        graph = Graph()
        graph.probe(graph.add("LTXVTrainLoadConfig", file="secret.yaml", text=""))
        assert SECRET not in failure(victim.host, graph.prompt), text


def test_yaml_text_sends_nothing_and_writes_only_where_runs_are(victim: Victim, root: str) -> None:
    before = victim.state()
    graph = yaml_attack(
        victim,
        root,
        hub={"push_to_hub": True, "hub_model_id": "mallory/loot", "private": False},
        wandb={"enabled": True, "entity": "mallory", "project": "loot"},
    )
    run(victim.host, graph.prompt).succeeded()
    assert victim.hub.calls == []
    assert victim.state() == before
    runs = RunLibrary(victim.host.base / "output/ltxv_train").runs()
    assert any(each.name.startswith("yaml-") for each in runs)


# ------------------------------------------------------------------ what the owner allows


def test_one_permission_lets_an_own_data_set_on_another_disk_be_used(victim: Victim) -> None:
    graph = Graph()
    node = add(
        graph,
        victim.host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=str(victim.home / "clips/dataset.json"),
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    victim.refused(graph, "before")
    asked = [
        sent.data
        for sent in victim.host.sent()
        if sent.event == "ltxv_train.progress" and sent.data["kind"] == "PermissionAsked"
    ]
    folder = str(victim.home / "clips")
    assert (asked[-1]["what"], asked[-1]["value"], asked[-1]["node"]) == (
        "folders",
        folder,
        node.id,
    )
    body = {"folders": [folder]}
    path = "/ltxv_train/permissions/allow"
    assert victim.post(path, body, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert victim.post(path, {"folders": ["/"]})[0] == 409
    status, allowed = victim.post(path, body)
    assert (status, allowed["folders"]) == (200, [folder])
    try:
        run(victim.host, graph.prompt).succeeded()
        assert (victim.home / "clips/.precomputed/index.json").is_file()
        training(graph, configure(graph, victim.host, node, 2, name="own"))
        run(victim.host, graph.prompt).succeeded()
    finally:
        assert victim.post("/ltxv_train/permissions/remove", body)[0] == 200
    victim.refused(graph, "after")


def test_a_workflow_can_not_allow_itself_anything(victim: Victim) -> None:
    """allowed.json lies where no node writes, and ComfyUI serves no file of it."""
    try:
        training(graph := Graph(), configure(graph, victim.host, "x", 2, hub=LOOT))
        run(victim.host, graph.prompt)
    except PromptRefused:
        pass
    permissions = ask(victim.host, "/ltxv_train/permissions").json
    kinds = ("folders", "downloads", "uploads", "entities")
    assert all(permissions[kind] == [] for kind in kinds)
    assert Path(permissions["file"]) == victim.host.base / "user/__ltxv_train/allowed.json"
