"""Models from the Hub, by the real client, from a Hub on this machine."""

import json
import threading

import pytest
import torch

from ltxv_train_core import config as configuration
from ltxv_train_core.errors import Cancelled, ModelError
from ltxv_train_core.events import Progress
from ltxv_train_core.families.ltxv.miniature import weights
from ltxv_train_core.families.ltxv.opening import open_text_encoder
from ltxv_train_core.families.ltxv.versions import MAIN_REPOSITORY, VERSIONS
from ltxv_train_core.families.open import locate_model, open_model
from ltxv_train_core.models.sources.hub_download import PHASE, download_file
from ltxv_train_core.training.preflight import check
from tests.helpers.hub_server import HubServer, Repository

REPOSITORY = "ada/ltx"
VERSION = "LTXV_2B_0.9.6_DEV"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()


@pytest.fixture(scope="module")
def folder_files(tmp_path_factory):
    """The miniature's files in the diffusers layout, and what nobody needs."""
    folder = tmp_path_factory.mktemp("model")
    weights.load_transformer(torch.bfloat16).save_pretrained(
        folder / "transformer", max_shard_size="4MB"
    )
    weights.load_vae(torch.float16).save_pretrained(folder / "vae")
    weights.load_text_encoder().save_pretrained(folder / "text_encoder")
    weights.load_tokenizer().save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text('{"_class_name": "LTXConditionPipeline"}')
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    return files | {"big.safetensors": b"x" * 1000, "vae/vae.bin": b"x", "README.md": b"x"}


def downloaded(hub):
    return {
        c.split("/resolve/main/")[1] for c in hub.calls if c.startswith("GET") and "resolve" in c
    }


def test_a_repository_gives_each_part_when_it_is_loaded(hub, folder_files, monkeypatch):
    hub.repositories[REPOSITORY] = Repository(False, dict(folder_files))
    told = []
    model = open_model(REPOSITORY, report=told.append)
    identity = model.identity
    model.require("transformer")
    assert hub.calls == []
    assert model.transformer.causal_positions
    transformer = model.load_transformer(torch.bfloat16)
    assert {name.split("/")[0] for name in downloaded(hub)} == {"model_index.json", "transformer"}
    shards = [name for name in downloaded(hub) if name.endswith(".safetensors")]
    assert len(shards) == 3
    assert all(
        torch.equal(p, q)
        for p, q in zip(
            transformer.parameters(),
            weights.load_transformer(torch.bfloat16).parameters(),
            strict=True,
        )
    )
    model.load_text_encoder()
    assert not [name for name in downloaded(hub) if name.startswith("vae")]
    model.load_vae()
    assert not {"big.safetensors", "vae/vae.bin", "README.md"} & downloaded(hub)
    steps = [event for event in told if isinstance(event, Progress) and event.phase == PHASE]
    assert steps[0].unit == "byte"
    assert len(steps) >= 3
    assert [s.done for s in steps if s.total == steps[0].total] == sorted(
        s.done for s in steps if s.total == steps[0].total
    )
    # Now all of it is here: no connection is needed, and none is made.
    calls = len(hub.calls)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    again = open_model(REPOSITORY)
    for part in ("transformer", "vae", "text_encoder"):
        again.require(part)
    again.load_transformer(torch.bfloat16)
    assert len(hub.calls) == calls
    assert again.identity == identity


def test_a_version_in_one_file_downloads_that_file(hub, checkpoint, folder_files):
    version = VERSIONS[VERSION]
    rest = {n: f for n, f in folder_files.items() if n.startswith(("text_encoder", "tokenizer"))}
    hub.repositories[MAIN_REPOSITORY] = Repository(
        False, {version.file: checkpoint.read_bytes(), "other.safetensors": b"x", **rest}
    )
    told = []
    model = open_model(VERSION, report=told.append)
    assert downloaded(hub) == {version.file}
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].done == told[-1].total == checkpoint.stat().st_size
    assert len(told) > 3
    assert model.transformer.causal_positions
    model.load_transformer(torch.float32)
    assert downloaded(hub) == {version.file}
    assert model.load_text_encoder().encode(["a red ring"])[0]["prompt_embeds"].shape[1] == 128
    assert downloaded(hub) == {version.file, *rest}


def test_an_interrupted_download_goes_on(hub, checkpoint):
    content = checkpoint.read_bytes()
    hub.repositories[REPOSITORY] = Repository(False, {"model.safetensors": content})
    stop = threading.Event()

    def press_stop(event):
        if event.done > 20:
            stop.set()

    with pytest.raises(Cancelled):
        download_file(REPOSITORY, "model.safetensors", press_stop, stop)
    assert hub.sent < len(content) + 1
    hub.cut = 5_000_000
    path = download_file(REPOSITORY, "model.safetensors")
    assert path.read_bytes() == content


def test_offline_is_respected(hub, monkeypatch, training_config, folder_files):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = "isn't in the Hugging Face cache, and HF_HUB_OFFLINE is set"
    for source in (REPOSITORY, VERSION, "LTXV_13B_097_DEV"):
        with pytest.raises(ModelError, match=message):
            open_model(source).load_transformer(torch.float32)
        problems, _ = check(training_config(model={"model_source": source}))
        assert [p for p in problems if message in p], source
    assert hub.calls == []


def test_what_the_hub_lacks_is_said(hub, folder_files):
    with pytest.raises(ModelError, match=r"ada/none: can't be downloaded.*Check the name"):
        open_model("ada/none").load_transformer(torch.float32)
    hub.repositories[REPOSITORY] = Repository(False, {"README.md": b"x"})
    with pytest.raises(ModelError, match="has no folder transformer"):
        open_model(REPOSITORY).load_transformer(torch.float32)
    hub.repositories[MAIN_REPOSITORY] = Repository(False, {"README.md": b"x"})
    with pytest.raises(ModelError, match=r"has no file ltxv-2b-0\.9\.6-dev-04-25\.safetensors"):
        open_model(VERSION)


@pytest.mark.parametrize("layout", ["whole model", "encoder alone"])
def test_a_text_encoder_from_the_hub(hub, folder_files, layout, monkeypatch):
    files = {n: f for n, f in folder_files.items() if n.startswith(("text_encoder", "tokenizer"))}
    if layout == "encoder alone":
        files = {n.split("/")[1]: f for n, f in files.items()} | {"model.ckpt": b"x"}
    hub.repositories[REPOSITORY] = Repository(False, files | {"transformer/x.safetensors": b"x"})
    encoder = open_text_encoder(REPOSITORY)
    encoder.require()
    expected = (
        open_text_encoder("LTXV_MINIATURE")
        .load(torch.float32)
        .encode(["a ring"])[0]["prompt_embeds"]
    )
    assert torch.equal(encoder.load(torch.float32).encode(["a ring"])[0]["prompt_embeds"], expected)
    assert not {"transformer/x.safetensors", "model.ckpt"} & downloaded(hub)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    again = open_text_encoder(REPOSITORY)
    again.require()
    assert torch.equal(again.load(torch.float32).encode(["a ring"])[0]["prompt_embeds"], expected)


def test_version_names(training_config):
    """Every version is accepted, and none is looked for before it is needed."""
    assert len(VERSIONS) == 10
    for name in VERSIONS:
        assert locate_model(name) == VERSIONS[name]
        assert configuration.ModelConfig(model_source=name).model_source == name
        assert json.dumps(VERSIONS[name].transformer)
