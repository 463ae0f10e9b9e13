"""Uploads, by the real client, to a Hub on this machine."""

import errno
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load

from ltxv_train_core import config
from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.events import Notice, PermissionAsked
from ltxv_train_core.lora.file import write_lora_file
from ltxv_train_core.media.write import write_video
from ltxv_train_core.permissions import CommandLine, GrantFile, Grants, Upload, use
from ltxv_train_core.publish import hub
from ltxv_train_core.publish.model_card import model_card
from ltxv_train_core.runs import RunFolder, RunState, RunWriter
from ltxv_train_core.training.trainer import train
from tests.helpers.hub_server import TOKEN, HubServer

PROMPT = "a red circle | a blue ring"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub that the client is pointed at; nobody is logged in but by HF_TOKEN."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    server = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()


@pytest.fixture
def grants(tmp_path) -> Iterator[GrantFile]:
    """Nothing is allowed but what a test allows."""
    file = GrantFile(tmp_path / "home" / "allowed.json")
    use(CommandLine(file))
    yield file
    use(None)


@pytest.fixture
def allowed(grants) -> GrantFile:
    grants.add(Grants(uploads=(Upload("ada"),)))
    return grants


@pytest.fixture
def settings(tmp_path) -> TrainingConfig:
    return config.build(
        TrainingConfig,
        {
            "name": "rings",
            "output_dir": str(tmp_path),
            "model": {"model_source": str(tmp_path / "secret" / "my-model")},
            "data": {"preprocessed_data_root": str(tmp_path / "secret" / "clips")},
            "optimization": {"steps": 3},
            "validation": {"prompts": [PROMPT, "a bear"]},
            "hub": {"push_to_hub": True, "hub_model_id": "ada/rings"},
        },
    )


@pytest.fixture
def finished(settings) -> RunFolder:
    """The folder of a finished run."""
    run = RunFolder(settings.output_path / "rings-0123456789ab")
    yaml_file.save(settings, run.config_file)
    layer = "transformer_blocks.0.attn1.to_q"
    weights = {
        f"{layer}.lora_A.weight": torch.ones(4, 8),
        f"{layer}.lora_B.weight": torch.ones(8, 4),
    }
    write_lora_file(run.lora_file(3), weights, 4, 4, {})
    video = np.random.default_rng(0).integers(0, 255, (9, 64, 96, 3), np.uint8)
    for step in (1, 3):
        for number in (0, 1):
            write_video(run.samples(step) / f"{number:03d}.mp4", video, 25)
        Image.new("RGB", (8, 8)).save(run.samples(step) / "sheet.png")
    with RunWriter(run) as writer:
        writer.begin(RunState.new(steps=3))
        writer.move("running")
        writer.move("finished", step=3)
    return run


def test_push_uploads_lora_configuration_and_card(server, finished, capsys):
    assert main(["push", str(finished.folder)]) == 0
    assert capsys.readouterr().out.startswith(f"{server.url}/ada/rings/commit/")
    repository = server.repositories["ada/rings"]
    assert repository.private
    assert repository.commits == ["rings-0123456789ab, step 3"]
    lora = finished.lora_file(3)
    assert set(repository.files) == {
        lora.name,
        "training_config.yaml",
        "README.md",
        "samples/000.webp",
        "samples/001.webp",
    }
    assert repository.files[lora.name] == lora.read_bytes()
    assert load(repository.files[lora.name])
    card = repository.files["README.md"].decode("utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["widget"][0] == {"text": PROMPT, "output": {"url": "samples/000.webp"}}
    assert "a red circle \\| a blue ring | ![](samples/000.webp)" in card
    with Image.open(io.BytesIO(repository.files["samples/001.webp"])) as picture:
        assert (picture.n_frames, picture.size) == (9, (96, 64))
    assert json.loads((finished.folder / "hub.json").read_text())["repository"] == "ada/rings"


def test_the_card_names_the_family_of_the_file(server, finished, settings):
    yaml_file.save(settings, finished.config_file)
    layer = "transformer_blocks.0.audio_attn1.to_q"
    weights = {f"{layer}.lora_{end}.weight": torch.ones(4, 4) for end in "AB"}
    metadata = {"modelspec.architecture": "ltx-2/lora"}
    write_lora_file(finished.lora_file(3), weights, 4, 4, metadata)
    hub.push(finished)
    card = server.repositories["ada/rings"].files["README.md"].decode()
    assert "A LoRA for LTX-2, trained on" in card
    assert yaml.safe_load(card.split("---")[1])["tags"][0] == "ltx-2"


def test_what_is_uploaded_tells_nothing_of_the_machine(server, finished, tmp_path):
    assert main(["push", str(finished.folder), "--to", "ada/other", "--public"]) == 0
    repository = server.repositories["ada/other"]
    assert not repository.private
    uploaded = b"".join(repository.files.values())
    assert b"secret" not in uploaded
    assert tmp_path.name.encode() not in uploaded
    assert TOKEN.encode() not in uploaded
    (tmp_path / "again.yaml").write_bytes(repository.files["training_config.yaml"])
    again = yaml_file.load(tmp_path / "again.yaml")
    assert again.data.preprocessed_data_root == "clips"
    assert again.hub == config.HubConfig()


@pytest.mark.parametrize(("token", "message"), [("", "hf auth login"), ("hf_wrong", "401")])
def test_an_upload_without_rights_says_what_to_do(
    server, finished, token, message, monkeypatch, capsys
):
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", str(finished.folder)]) == 1
    assert message in capsys.readouterr().err
    assert finished.lora_file(3).is_file()
    assert not (finished.folder / "hub.json").exists()


def test_a_folder_that_is_no_run_is_refused(server, tmp_path, capsys):
    assert main(["push", str(tmp_path)]) == 1
    assert "training_config.yaml" in capsys.readouterr().err
    assert server.calls == []


def test_a_finished_run_is_uploaded_once(server, allowed, finished, settings):
    for _ in range(2):
        hub.push_when_finished(settings, finished)
    assert len(server.repositories["ada/rings"].commits) == 1


def test_another_repository_gets_its_own_upload(server, allowed, finished, settings):
    hub.push_when_finished(settings, finished)
    other = settings.hub.model_copy(update={"hub_model_id": "ada/moved"})
    hub.push_when_finished(settings.model_copy(update={"hub": other}), finished)
    assert [len(each.commits) for each in server.repositories.values()] == [1, 1]


def test_a_disk_that_is_full_after_the_upload_costs_no_run(
    server, allowed, finished, settings, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub, "write_json", full)
    told = []
    hub.push_when_finished(settings, finished, told.append)
    assert "No space left" in told[-1].message


def test_the_card_of_another_adapter_names_it_and_who_reads_it(settings):
    rules = ("attn2: rank 2",)
    plain = model_card(settings, "rings.safetensors", 3, [])
    assert "- rank" in plain
    assert "pipeline.load_lora_weights" in plain
    lora = settings.lora.model_copy(update={"adapter": "loha", "layer_rules": rules})
    card = model_card(settings.model_copy(update={"lora": lora}), "rings.safetensors", 3, [])
    assert "- loha, rank" in card
    assert "; attn2: rank 2" in card
    assert "diffusers doesn't" in card
    assert "pipeline" not in card.split("---")[2]


def test_the_card_of_a_whole_transformer_speaks_of_no_lora(settings):
    model = settings.model.model_copy(
        update={"training_mode": "full", "model_source": "LTXV_13B_097_DEV"}
    )
    card = model_card(settings.model_copy(update={"model": model}), "rings.safetensors", 3, [])
    assert "(put it into `models/diffusion_models`)" in card
    assert "LoRA" not in card
    front = yaml.safe_load(card.split("---")[1])
    assert (front["base_model_relation"], front["tags"]) == (
        "finetune",
        ["ltx-video", "ltxv-train"],
    )


def test_the_card_counts_the_samples_of_all_processes(server, finished, settings):
    options = settings.optimization.model_copy(
        update={"batch_size": 3, "gradient_accumulation_steps": 2}
    )
    yaml_file.save(settings.model_copy(update={"optimization": options}), finished.config_file)
    for processes, samples in ((0, 6), (1, 6), (4, 24)):
        with RunWriter(finished) as writer:
            for status in ("running", "finished"):
                writer.move(status, processes=processes)
        hub.push(finished)
        card = server.repositories["ada/rings"].files["README.md"].decode("utf-8")
        assert f"- 3 steps of {samples} samples, " in card


def test_a_failed_upload_costs_nothing_and_can_be_made_later(server, allowed, finished, settings):
    server.refuse = "/commit/main"
    told = []
    hub.push_when_finished(settings, finished, told.append)
    (notice,) = [event.message for event in told if isinstance(event, Notice)]
    assert f'push "{finished.folder}"' in notice
    assert "no write rights" in notice
    assert finished.lora_file(3).is_file()
    server.refuse = None
    hub.push_when_finished(settings, finished)
    assert len(server.repositories["ada/rings"].commits) == 1


def test_a_missing_token_is_found_before_training(server, allowed, settings, monkeypatch):
    assert hub.upload_problems(settings.hub) == []
    monkeypatch.delenv("HF_TOKEN")
    (problem,) = hub.upload_problems(settings.hub)
    assert problem.startswith("hub.push_to_hub: no token")


def test_training_ends_with_the_upload_and_a_run_found_again_makes_it_up(
    server, allowed, training_config
):
    wanted = training_config(hub={"push_to_hub": True, "hub_model_id": "ada/stripes"})
    server.refuse = "/commit/main"
    result = train(wanted)
    assert result.finished
    server.refuse = None
    again = train(wanted)
    assert again.lora_file == result.lora_file
    repository = server.repositories["ada/stripes"]
    assert repository.files[result.lora_file.name] == result.lora_file.read_bytes()
    train(wanted)
    assert len(repository.commits) == 1


def test_what_was_not_allowed_waits_and_nothing_is_sent(server, grants, training_config):
    wanted = training_config(hub={"push_to_hub": True, "hub_model_id": "ada/stripes"})
    told = []
    result = train(wanted, told.append)
    assert result.finished
    assert server.calls == []
    assert PermissionAsked("uploads", "ada/stripes") in told
    lines = [event.message for event in told if isinstance(event, Notice)]
    assert any("uploads to ada/stripes (private) were not allowed" in line for line in lines)
    assert any(f'push "{result.run_folder}"' in line for line in lines)

    upload = hub.upload_of(RunFolder(result.run_folder))
    assert (upload.repository, upload.private, upload.status) == ("ada/stripes", True, "waiting")
    assert upload.files == (result.lora_file.name, "training_config.yaml", "README.md")
    assert upload.account == "the token in HF_TOKEN"
    grants.add(Grants(uploads=(Upload("ada/stripes"),)))
    train(wanted)
    assert hub.upload_of(RunFolder(result.run_folder)).status == "uploaded"
    assert server.repositories["ada/stripes"].private


def test_a_permission_for_private_uploads_is_none_for_public_ones(server, allowed, settings):
    public = settings.hub.model_copy(update={"private": False})
    assert hub.upload_remarks(settings.hub) == []
    (line,) = hub.upload_remarks(public)
    assert "ada/rings (public)" in line
    allowed.add(Grants(uploads=(Upload("ada/rings", "public"),)))
    assert hub.upload_remarks(public) == []


def test_a_refused_upload_is_not_asked_for_again(server, grants, finished, settings):
    hub.refuse(finished)
    told = []
    hub.push_when_finished(settings, finished, told.append)
    assert told == []
    assert hub.upload_of(finished).status == "refused"


def test_on_the_command_line_a_configuration_sends_nothing_without_push(
    server, grants, tmp_path, training_config, capsys
):
    wanted = training_config(hub={"push_to_hub": True, "hub_model_id": "ada/stripes"})
    yaml_file.save(wanted, tmp_path / "run.yaml")
    assert main(["train", str(tmp_path / "run.yaml")]) == 0
    assert server.calls == []
    assert main(["train", str(tmp_path / "run.yaml"), "--push"]) == 0
    assert len(server.repositories["ada/stripes"].commits) == 1
