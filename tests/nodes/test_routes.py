"""The runs over HTTP: what browsers see, what they may change, and what nobody may read."""

import http.client
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import torch
from PIL import Image

from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder, RunLibrary, RunState, RunWriter
from ltxv_train_core.storage.tensors import write_safetensors
from ltxv_train_core.voice.file import Voice, write_voice
from tests.conftest import PACK
from tests.graph import Graph
from tests.host import Host, models_folder
from tests.nodes.test_training import progress_of
from tests.nodes.workflows import configure, prepare

STEPS = 40
RUN = "a <b>bold näme-0123"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content, parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def ask(
    host: Host,
    path: str,
    method: str = "GET",
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Sends a path as it is written, which an ordinary client would tidy up first."""
    where = urlsplit(host.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return Answer(reply.status, dict(reply.getheaders()), reply.read())
    finally:
        connection.close()


def post(host: Host, path: str, body: str = "{}", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(host, path, "POST", body, {"Content-Type": "application/json", **named})


@pytest.fixture
def run(host: Host) -> Iterator[RunFolder]:
    """A finished run of 40 steps with samples and a LoRA, and a secret beside the runs."""
    runs = host.base / "output" / "ltxv_train"
    folder = RunFolder(runs / RUN)
    with RunWriter(folder) as writer:
        writer.begin(RunState.new(steps=STEPS))
        writer.move("running")
        for step in range(1, STEPS + 1):
            loss = math.nan if step == 7 else 1 / step
            folder.append_metrics(StepCompleted(step, STEPS, loss, 1e-3, 0.5, 0.1, 1.0))
        writer.move("finished", step=STEPS)
    yaml_file.save(TrainingConfig(data={"preprocessed_data_root": "x"}), folder.config_file)
    folder.samples(20).mkdir(parents=True)
    for name in ("0.mp4", "sheet.png"):
        (folder.samples(20) / name).write_bytes(name.encode("ascii"))
    write_safetensors(folder.lora_file(STEPS), {"a.lora_A.weight": torch.ones(2, 4)}, {})
    (runs.parent / "secret.txt").write_text("secret", encoding="utf-8")
    yield folder
    if folder.folder.exists():
        RunLibrary(runs).delete(folder.name)


@pytest.fixture
def url(run: RunFolder) -> str:
    return "/ltxv_train/runs/" + quote(run.name)


def test_runs_are_listed(host: Host, run: RunFolder, url: str) -> None:
    (listed,) = [each for each in ask(host, "/ltxv_train/runs").json if each["name"] == run.name]
    assert (listed["status"], listed["step"], listed["steps"]) == ("finished", STEPS, STEPS)
    assert (listed["cause"], listed["position"], listed["here"]) == (None, None, False)
    found = ask(host, url).json
    assert listed.items() <= found.items()
    assert found["samples"] == [
        {"step": 20, "sheet": "000020/sheet.png", "videos": ["000020/0.mp4"]}
    ]
    file = run.lora_file(STEPS)
    assert found["loras"] == ask(host, f"{url}/loras").json
    assert found["loras"] == [
        {"file": file.name, "step": STEPS, "is_average": False, "bytes": file.stat().st_size}
    ]


def test_every_field_is_documented(host: Host, url: str) -> None:
    text = (PACK / "docs" / "rest.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"(\w+): ", text))
    answer = ask(host, f"{url}/metrics").json
    fields = {*ask(host, url).json, *answer, *answer["columns"], *answer["last"]}
    assert fields - documented == set()


def test_metrics_since_a_step_and_thinned(host: Host, url: str) -> None:
    answer = ask(host, f"{url}/metrics").json
    columns = answer["columns"]
    assert columns["step"] == list(range(1, STEPS + 1))
    assert columns["loss"][6] is None
    assert columns["loss"][7] == 1 / 8
    assert columns["smooth_loss"][0] == 1.0
    assert columns["smooth_loss"][6] is None
    assert answer["last"]["eta_seconds"] == 1.0
    since = ask(host, f"{url}/metrics?since=38").json["columns"]
    assert since["step"] == [39, 40]
    thin = ask(host, f"{url}/metrics?points=8").json["columns"]
    assert thin["step"] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert thin["loss_high"][0] == 1.0
    nothing = ask(host, f"{url}/metrics?since=40").json
    assert (nothing["columns"]["step"], nothing["last"]) == ([], None)


@pytest.mark.parametrize("query", ["since=-1", "since=x", "points=0", "points=1e9", "since=²"])
def test_numbers_that_are_none_are_named(host: Host, url: str, query: str) -> None:
    answer = ask(host, f"{url}/metrics?{query.replace('²', '%C2%B2')}")
    assert answer.status == 400
    assert "no whole number" in answer.json["error"]


def test_the_configuration_as_text_and_as_options(host: Host, run: RunFolder, url: str) -> None:
    answer = ask(host, f"{url}/config").json
    assert answer["yaml"] == run.config_file.read_text(encoding="utf-8")
    assert answer["options"]["data.preprocessed_data_root"] == "x"
    assert answer["options"]["seed"] == TrainingConfig.model_fields["seed"].default
    run.config_file.write_text("no: configuration", encoding="utf-8")
    assert ask(host, f"{url}/config").status == 409


def test_the_page_of_a_run_is_no_part_of_this_server(host: Host, run: RunFolder, url: str) -> None:
    answer = ask(host, f"{url}/report")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    disposition = f"attachment; filename*=UTF-8''{quote(run.name)}.html"
    assert answer.headers["Content-Disposition"] == disposition
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page = answer.content.decode("utf-8")
    assert "<h1>a &lt;b&gt;bold näme-0123</h1>" in page
    assert "finished, step 40 of 40" in page
    run.config_file.write_text("no: configuration", encoding="utf-8")
    assert ask(host, f"{url}/report").status == 409


def test_samples_and_loras_are_files(host: Host, run: RunFolder, url: str) -> None:
    video = ask(host, f"{url}/samples/000020/0.mp4", headers={"Range": "bytes=2-4"})
    assert (video.status, video.content) == (206, b"mp4")
    assert video.headers["Content-Type"] == "video/mp4"
    assert ask(host, f"{url}/samples/000020/sheet.png").content == b"sheet.png"
    listed = ask(host, f"{url}/loras").json[0]["file"]
    assert ask(host, f"{url}/loras/{quote(listed)}").content == run.lora_file(STEPS).read_bytes()


def test_what_was_heard_of_a_run(host: Host, run: RunFolder, url: str) -> None:
    assert ask(host, f"{url}/voice").json == {"voice": None}
    assert ask(host, f"{url}/voice/picture").status == 404
    refused = post(host, f"{url}/voice")
    assert refused.status == 409
    assert (
        "was not allowed" in refused.json["error"]
    )  # its data set lies outside of ComfyUI's folders
    assert post(host, f"{url}/voice", Origin="http://evil.example").status == 403
    voice = Voice("learned", "The sound was learned.", 40, 0, 8, 1.5, 3.5, 1.0, 0.8, 3, ())
    write_voice(run, voice, Image.new("RGB", (4, 4)))
    told = ask(host, f"{url}/voice").json["voice"]
    assert told == json.loads(json.dumps(asdict(voice)))
    documented = set(re.findall(r"(\w+): ", (PACK / "docs" / "rest.md").read_text("utf-8")))
    assert told.keys() <= documented
    answer = ask(host, f"{url}/voice/picture?of=40")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == (run.folder / "voice.png").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        *("/samples/../run.json", "/samples/..%2Frun.json", "/samples/%2e%2e/run.json"),
        *("/samples/000020", "/samples/000020/", "/samples/000020/../../run.json"),
        *("/samples/000020%2F..%2F..%2Frun.json", "/samples//etc/passwd", "/samples/%00"),
        *("/samples/000020/..%5C..%5Crun.json", "/samples/run.json"),
        *("/loras/run.json", "/loras/..%2Frun.json", "/loras/%2e%2e%2Ftraining_config.yaml"),
        *("/run.json", "/checkpoints", "/..", "/../../secret.txt", "/%2e%2e/secret.txt"),
    ],
)
def test_nothing_else_of_a_run_can_be_read(host: Host, url: str, path: str) -> None:
    assert ask(host, url + path).status in (400, 403, 404)


@pytest.mark.parametrize(
    "name",
    [
        *("unknown", "..", "%2e%2e", "..%2F", "%2e%2e%2f%2e%2e", ".locks", ".", "%00", "*"),
        *("..%2Fltxv_train", "%2Fetc", "secret.txt", "..%2Fsecret.txt", "..%5Csecret.txt"),
    ],
)
@pytest.mark.parametrize("tail", ["", "/metrics", "/config", "/loras"])
def test_a_name_that_is_no_run_leads_nowhere(
    host: Host, run: RunFolder, name: str, tail: str
) -> None:
    answer = ask(host, f"/ltxv_train/runs/{name}{tail}")
    assert answer.status in (400, 403, 404) or answer.json == []
    assert b"secret" not in answer.content.replace(b"secret.txt", b"")


ACTIONS = ["pause", "resume", "stop", "sample", "checkpoint", "delete", "publish", "name"]


@pytest.mark.parametrize("action", ACTIONS)
def test_only_own_pages_and_programs_change_something(
    host: Host, run: RunFolder, url: str, action: str
) -> None:
    path = f"{url}/{action}"
    assert ask(host, path).status in (404, 405)
    for method in ("PUT", "DELETE", "PATCH"):
        assert ask(host, path, method, "{}", {"Content-Type": "application/json"}).status == 405
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert ask(host, path, "POST", "{}", {"Content-Type": kind}).status == 415
    foreign = [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": host.url.replace("127.0.0.1", "localhost")},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": host.url},
    ]
    for headers in foreign:
        assert post(host, path, **headers).status == 403, headers
    for body in ("", "[]", "null", "{", '"x"', "[" * 100_000):
        assert post(host, path, body).status == 400, body[:5]
    unknown = {"Content-Type": "application/json; charset=unknown"}
    assert ask(host, path, "POST", "{}", unknown).status == 400
    assert post(host, f"/ltxv_train/runs/unknown/{action}").status == 404
    assert run.folder.is_dir()


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec_Fetch_Site": "same-origin"}, {"Origin": "OWN"}],
    ids=["program", "browser", "browser over http"],
)
def test_a_run_is_deleted(host: Host, run: RunFolder, url: str, headers: dict) -> None:
    own = {name: host.url if value == "OWN" else value for name, value in headers.items()}
    since = len(host.sent())
    assert post(host, f"{url}/delete", **own).status == 200
    until(lambda: progress_of(host, "RunDeleted", since), host)
    assert [told["run"] for told in progress_of(host, "RunDeleted", since)] == [run.name]
    assert not run.folder.exists()
    assert ask(host, url).status == 404


@pytest.mark.parametrize("action", ["pause", "stop", "sample", "checkpoint"])
def test_a_run_that_rests_can_not_be_moved(host: Host, url: str, action: str) -> None:
    answer = post(host, f"{url}/{action}")
    assert answer.status == 409
    assert "has no job in this process" in answer.json["error"]


def test_a_run_gets_a_name_and_a_note(host: Host, run: RunFolder, url: str) -> None:
    """Its folder keeps its name, and the list its order."""
    other = RunFolder(run.folder.parent / "newer-0123")
    with RunWriter(other) as writer:
        writer.begin(RunState.new(steps=1))
    order = [each["name"] for each in ask(host, "/ltxv_train/runs").json]
    since = len(host.sent())
    words = {"title": " Kätze, blau ", "note": "rank 8:\nbest so far"}
    answer = post(host, f"{url}/name", json.dumps(words))
    assert answer.json == {"title": "Kätze, blau", "note": "rank 8:\nbest so far"}
    assert json.loads((run.folder / "label.json").read_text(encoding="utf-8")) == answer.json
    listed = ask(host, "/ltxv_train/runs").json
    assert [each["name"] for each in listed] == order
    (named,) = [each for each in listed if each["name"] == run.name]
    assert (named["title"], named["note"]) == ("Kätze, blau", "rank 8:\nbest so far")
    assert named["data_set"] == "x"
    assert ask(host, url).json["title"] == "Kätze, blau"
    until(lambda: progress_of(host, "RunMoved", since), host)
    assert post(host, f"{url}/name").json == {"title": "", "note": ""}
    assert ask(host, url).json["title"] == ""
    RunLibrary(run.folder.parent).delete(other.name)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"title": "x" * 121}, "at most 120"),
        ({"title": "two\nlines"}, "one line"),
        ({"title": 3}, "title 3"),
        ({"note": "x" * 1001}, "at most 1000"),
        ({"note": "bell \x07"}, "note"),
        ({"note": ["x"]}, "note"),
    ],
)
def test_a_name_is_text_that_can_be_shown(
    host: Host, run: RunFolder, url: str, words: dict, named: str
) -> None:
    answer = post(host, f"{url}/name", json.dumps(words))
    assert answer.status == 409
    assert named in answer.json["error"]
    assert not (run.folder / "label.json").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"title": 1, "note": ""}', '{"title": "x"}', "{" * 9]
)
def test_a_damaged_name_is_none(host: Host, run: RunFolder, url: str, content: str) -> None:
    (run.folder / "label.json").write_text(content, encoding="utf-8")
    assert ask(host, url).json["title"] == ""


def test_a_lora_goes_where_loaders_list_it(host: Host, run: RunFolder, url: str) -> None:
    file = run.lora_file(STEPS).name
    answer = post(host, f"{url}/publish", json.dumps({"file": file})).json
    name = answer["name"]
    published = models_folder(host, answer["folder"]) / name
    assert published.read_bytes() == run.lora_file(STEPS).read_bytes()
    info = host.object_info()["LTXVTrainLoadLoRA"]
    assert name in info["input"]["required"]["lora_name"][1]["options"]
    published.unlink()
    for other in ("../run.json", "", None, 3, ["x"]):
        answer = post(host, f"{url}/publish", json.dumps({"file": other}))
        assert answer.status == 404, other


def test_what_the_disk_refuses_is_said(host: Host, run: RunFolder, url: str) -> None:
    path = run.lora_file(STEPS)
    in_the_way = models_folder(host, "loras") / "ltxv_train" / path.name
    in_the_way.mkdir(parents=True)
    answer = post(host, f"{url}/publish", json.dumps({"file": path.name}))
    in_the_way.rmdir()
    assert answer.status == 500
    assert path.name in answer.json["error"]


def test_a_run_that_trains_is_followed_and_moved(host: Host) -> None:
    """Pause, go on, ask for samples and a checkpoint, stop: as the buttons of the panel do."""
    graph = Graph()
    _, preprocessed = prepare(graph, host)
    validation = {
        "prompts": "a red circle",
        "video_dims": "64x64x9",
        "inference_steps": 1,
        "interval": 1_000_000,
    }
    config = configure(graph, host, preprocessed, steps=100_000, name="live", validation=validation)
    graph.add("LTXVTrainLoRA", config=config)
    prompt_id = host.start(graph.prompt)

    def live() -> dict[str, Any]:
        return next((e for e in ask(host, "/ltxv_train/runs").json if e["name"][:5] == "live-"), {})

    until(lambda: live().get("step", 0) >= 3, host)
    found = live()
    url = f"/ltxv_train/runs/{found['name']}"
    assert (found["status"], found["position"], found["here"]) == ("running", 0, True)
    assert ask(host, f"{url}/metrics?since=1").json["columns"]["step"][:2] == [2, 3]
    assert post(host, f"{url}/delete").status == 409

    before = len(ask(host, url).json["loras"])
    assert post(host, f"{url}/checkpoint").status == 200
    until(lambda: len(ask(host, url).json["loras"]) > before, host)
    before = len(ask(host, url).json["samples"])
    assert post(host, f"{url}/sample").status == 200
    until(lambda: len(ask(host, url).json["samples"]) > before, host)
    sheet = ask(host, url).json["samples"][-1]["sheet"]
    assert ask(host, f"{url}/samples/{sheet}").content[1:4] == b"PNG"

    assert post(host, f"{url}/pause").status == 200
    until(lambda: live()["status"] == "paused", host)
    step = live()["step"]
    assert post(host, f"{url}/resume").status == 200
    until(lambda: live()["step"] > step and live()["status"] == "running", host)
    assert post(host, f"{url}/stop").status == 200
    until(lambda: live()["status"] == "stopped", host)
    host.wait(prompt_id)
    assert ask(host, f"{url}/metrics").json["columns"]["step"] == [*range(1, live()["step"] + 1)]
    assert post(host, f"{url}/delete").status == 200
    assert live() == {}


def until(condition: Any, host: Host, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, host.log()
        time.sleep(0.05)
