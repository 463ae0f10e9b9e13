"""Folders of runs from strangers over HTTP: an answer, never another's file, never a traceback."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.runs import RunFolder
from tests.corpus.hostile_runs import (
    CONTENTS,
    FILES,
    GOOD,
    KINDS,
    links,
    make_run,
    make_special,
    states,
)
from tests.corpus.judge import SECRET
from tests.host import Host
from tests.nodes.test_routes import Answer, ask, post

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no pipes among files")

TAILS = ("", "/metrics", "/metrics?since=3&points=2", "/config", "/loras")


@pytest.fixture
def runs(host: Host) -> Iterator[Path]:
    """The folder of runs, with a good one in it."""
    folder = host.base / "output" / "ltxv_train"
    before = set(folder.iterdir()) if folder.is_dir() else set()
    make_run(folder, GOOD)
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if not path.is_symlink() else path.unlink()


def url(name: str) -> str:
    return f"/ltxv_train/runs/{quote(name, safe='')}"


def checked(answer: Answer) -> Answer:
    """An answer in JSON that holds nothing from outside."""
    assert answer.status in (200, 404, 409), answer
    assert SECRET.encode("ascii") not in answer.content
    assert isinstance(answer.json, dict | list)
    return answer


def look(host: Host, name: str) -> None:
    """Asks for all of a run, and that the good one is listed still."""
    for tail in TAILS:
        checked(ask(host, url(name) + tail))
    listed = checked(ask(host, "/ltxv_train/runs")).json
    assert GOOD in {each["name"] for each in listed}


@pytest.mark.long
def test_contents_of_every_kind(host: Host, runs: Path) -> None:
    for file in FILES:
        for name, content in CONTENTS.items():
            if file == "training_config.yaml" and name.startswith("deep"):
                continue
            run = make_run(runs, f"{file} {name}")
            (run.folder / file).write_bytes(content)
            look(host, run.name)
            shutil.rmtree(run.folder)


def test_states_with_a_wrong_field(host: Host, runs: Path) -> None:
    run = make_run(runs, "stranger")
    for _, content in [*states()][::7]:
        (run.folder / "run.json").write_bytes(content)
        look(host, run.name)


def test_what_is_no_file(host: Host, runs: Path, tmp_path: Path) -> None:
    for file in FILES:
        for kind in KINDS:
            run = make_run(runs, f"{file} {kind}")
            make_special(run.folder / file, kind, tmp_path)
            look(host, run.name)
            shutil.rmtree(run.folder)


def test_links_lead_nowhere(host: Host, runs: Path, tmp_path: Path) -> None:
    for number, (name, change) in enumerate(links().items()):
        run = make_run(runs, f"linked {number}")
        change(run, tmp_path / str(number))
        look(host, run.name)
        weights = quote(run.lora_file(8).name)
        for file in ("samples/000004/0.mp4", "samples/000004/sheet.png", f"loras/{weights}"):
            answer = ask(host, f"{url(run.name)}/{file}")
            assert answer.content == b"file" or answer.status == 404, (name, file)
        wanted = json.dumps({"file": run.lora_file(8).name})
        assert post(host, f"{url(run.name)}/publish", wanted).status in (404, 409)


def test_a_linked_run_is_none(host: Host, runs: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path, "elsewhere")
    (runs / "linked").symlink_to(other.folder, target_is_directory=True)
    assert ask(host, url("linked")).status == 404
    assert post(host, f"{url('linked')}/delete").status == 404
    assert "linked" not in {each["name"] for each in ask(host, "/ltxv_train/runs").json}
    assert other.written_state() is not None


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)<script>", "a\nb", "a\\..\\b", "%2e%2e", "run?x#y", "²", " ", "ä" * 100],
)
def test_names(host: Host, runs: Path, name: str) -> None:
    make_run(runs, name)
    look(host, name)
    shown = name in {each["name"] for each in ask(host, "/ltxv_train/runs").json}
    assert shown == ("\n" not in name)
    assert ask(host, url(name)).status == (200 if shown else 404)


def test_numbers_in_a_configuration(host: Host, runs: Path) -> None:
    """JSON knows no infinity, YAML does."""
    run = make_run(runs, "numbers")
    for section, options in TrainingConfig.model_json_schema()["$defs"].items():
        name = section.removesuffix("Config").lower()
        for option in options.get("properties", {}):
            for value in (".inf", ".nan", "{a: .inf}", "[.nan]", "9" * 400):
                run.config_file.write_text(
                    f"data: {{preprocessed_data_root: x}}\n{name}: {{{option}: {value}}}\n",
                    encoding="utf-8",
                )
                checked(ask(host, f"{url(run.name)}/config"))


def test_a_strange_run_is_neither_resumed_nor_published(host: Host, runs: Path) -> None:
    run = make_run(runs, "stranger")
    assert post(host, f"{url(run.name)}/resume").status == 409
    answer = post(host, f"{url(run.name)}/publish", json.dumps({"file": run.lora_file(8).name}))
    assert (answer.status, "safetensors" in answer.json["error"]) == (409, True)
    assert post(host, f"{url(run.name)}/delete").status == 200
    assert not RunFolder(runs / run.name).folder.exists()
