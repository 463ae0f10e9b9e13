import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ltxv_train_core
from ltxv_train_core.cli import main
from ltxv_train_core.config import yaml_file
from ltxv_train_core.families.ltxv.versions import VERSIONS
from ltxv_train_core.media.sound import read_sound_file
from ltxv_train_core.storage.tensors import write_safetensors


@pytest.fixture(autouse=True)
def logged_out(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent/token")


@pytest.fixture
def config_file(training_config, tmp_path):
    path = tmp_path / "config.yaml"
    yaml_file.save(training_config(), path)
    return path


def last_line(capsys):
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_generate_preprocess_train(tmp_path, capsys):
    assert main(["generate", "plain", "--output", str(tmp_path / "data"), "--clips", "3"]) == 0
    metadata = Path(last_line(capsys))
    assert {p.name for p in metadata.parent.glob("dataset.*")} == {
        "dataset.json",
        "dataset.jsonl",
        "dataset.csv",
    }

    encode = ["preprocess", str(metadata), "--model-source", "LTXV_MINIATURE"]
    encode += ["--resolution-buckets", "96x96x17", "--id-token", "zorp"]
    assert main(encode) == 0
    assert json.loads(last_line(capsys)) | {"seconds": 0} == {
        "written": 6,
        "reused": 0,
        "skipped": 0,
        "seconds": 0,
    }
    encode[1] = f'"{metadata}"'
    assert main(encode) == 0
    assert json.loads(last_line(capsys))["reused"] == 6
    assert (metadata.parent / ".precomputed" / "index.json").is_file()


def test_generate_clips_with_sound(tmp_path, capsys):
    words = ["stripes_and_beep", "--output", str(tmp_path), "--clips", "2"]
    assert main(["generate", *words]) == 0
    metadata = Path(last_line(capsys))
    assert metadata.parent == tmp_path
    sound = read_sound_file(tmp_path / "videos" / "000.mp4", 16_000, 0.2)
    assert abs(sound.samples).max() > 0.05


def test_train_prints_the_lora_file_and_finds_it_again(config_file, capsys):
    options = ["--set", "optimization.steps=2", "--set", "name=named"]
    assert main(["train", str(config_file), *options]) == 0
    lora_file = Path(last_line(capsys))
    assert lora_file.is_file()
    assert lora_file.name.startswith("named-")
    modified = lora_file.stat().st_mtime_ns
    assert main(["train", str(config_file), *options]) == 0
    assert Path(last_line(capsys)) == lora_file
    assert lora_file.stat().st_mtime_ns == modified


def test_check_lists_every_problem(config_file, capsys):
    assert main(["check", str(config_file)]) == 0
    assert capsys.readouterr().out == f"{config_file}: ready to train\n"
    wrong = ["--set", f"data.preprocessed_data_root={config_file.parent}"]
    wrong += ["--set", "model.model_source=nowhere"]
    assert main(["check", str(config_file), *wrong]) == 2
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2
    assert "'nowhere'" in lines[0]
    assert str(config_file.parent) in lines[1]
    assert main(["check", str(config_file), "--set", "lora.rank=0"]) == 2
    assert "lora.rank" in capsys.readouterr().out
    assert main(["check", str(config_file.with_name("missing.yaml"))]) == 2


@pytest.mark.parametrize("source", ["LTXV_MINIATURE", *VERSIONS, "owner/unknown", "no.gguf"])
def test_check_finds_targets_that_match_no_layer_before_a_model_is_downloaded(
    config_file, capsys, monkeypatch, source
):
    monkeypatch.setattr("ltxv_train_core.families.open.is_downloaded", lambda *_, **__: False)
    words = ["--set", f"model.model_source={source}", "--set"]
    targets = "lora.target_modules=[to_q, audio_attn1.to_k, norm_k]"
    assert main(["check", str(config_file), *words, targets]) == 2
    lines = capsys.readouterr().out
    assert "lora.target_modules 'audio_attn1.to_k' matches no layer" in lines
    assert "lora.target_modules 'norm_k' names no linear layer" in lines
    main(["check", str(config_file), *words, "lora.target_modules=[to_q, ff.net.*, proj_in]"])
    assert "target_modules" not in capsys.readouterr().out


def test_presets_are_listed_with_what_they_take(capsys):
    assert main(["presets", "LTX2_MINIATURE", "--rank", "16"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "video: 262,144 parameters, 4.5 MiB to train, 1 MiB as a file"
    assert [line.split(":")[0] for line in others] == ["audio", "cross-modal", "all"]
    assert main(["presets", "LTX2_MINIATURE", "--rank", "0"]) == 2


MISSING = [
    ("data.preprocessed_data_root", "no_such_data"),
    ("model.load_checkpoint", "no_such_lora.safetensors"),
    ("model.model_source", "./no_such_model"),
    ("validation.images", "no_such_image.png"),
]


def test_a_missing_path_is_a_warning_unless_check_is_strict(config_file, capsys):
    missing = ["--set", "validation.prompts=[a]"]
    for option, path in MISSING:
        value = f"[{path}]" if option == "validation.images" else path
        missing += ["--set", f"{option}={value}"]
    assert main(["check", str(config_file), *missing]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    expected = {
        f"{option}: {path.removeprefix('./')}: no such file or folder" for option, path in MISSING
    }
    assert set(lines) == {f"warning: {line}" for line in expected}
    assert last == f"{config_file}: ready to train, but for the warnings"
    assert main(["check", "--strict", str(config_file), *missing]) == 2
    assert set(capsys.readouterr().out.splitlines()) == expected
    assert main(["train", str(config_file), *missing]) == 2
    assert set(capsys.readouterr().err.splitlines()) == expected


def test_check_says_what_would_be_ignored(config_file, capsys):
    words = ["--set", "acceleration.compilation_mode=default"]
    assert main(["check", "--strict", str(config_file), *words]) == 0
    assert "warning: acceleration.compilation_mode: is not used" in capsys.readouterr().out


def test_an_upload_without_a_login_is_found_before_training(config_file, capsys):
    words = ["--set", "hub.push_to_hub=true", "--set", "hub.hub_model_id=ada/rings"]
    assert main(["check", str(config_file), *words]) == 0
    assert "warning: hub.push_to_hub: uploads to ada/rings (private)" in capsys.readouterr().out
    assert main(["train", str(config_file), *words, "--push"]) == 2
    assert "hub.push_to_hub: no token" in capsys.readouterr().err


def test_errors_go_to_standard_error_with_an_exit_code(config_file, tmp_path, capsys):
    assert main(["train", str(config_file), "--set", "lora.rank=0"]) == 2
    assert "lora.rank" in capsys.readouterr().err
    assert main(["train", str(config_file), "--set", "lora.target_modules=[nothing]"]) == 2
    assert "'nothing' matches no layer" in capsys.readouterr().err
    encode = ["preprocess", str(tmp_path / "none.csv"), "--model-source", "LTXV_MINIATURE"]
    assert main([*encode, "--resolution-buckets", "96x96x17"]) == 1
    assert "none.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["generate", "unknown", "--output", str(tmp_path)])
    assert caught.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["train", str(config_file), "--processes", "-1"])
    assert caught.value.code == 2
    assert "argument --processes: must be 0 or more, not -1" in capsys.readouterr().err


def test_the_miniature_is_exported(tmp_path, capsys):
    target = tmp_path / "miniature.safetensors"
    assert main(["miniature", "export", "--output", str(target)]) == 0
    assert Path(last_line(capsys)) == target
    assert target.stat().st_size > 10_000_000


def test_a_folder_that_takes_no_run_is_named(config_file, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", str(config_file), "--set", f"output_dir={tmp_path / 'file'}"]) == 1
    assert "change output_dir or name, or who may write" in capsys.readouterr().err


LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no"]


@pytest.mark.skipif(sys.platform == "win32", reason="a test can't press Ctrl-C there")
@pytest.mark.parametrize(
    ("launch", "code"),
    [([], 130), pytest.param(LAUNCH, 1, marks=pytest.mark.kills)],
    ids=["one process", "two"],
)
def test_ctrl_c_keeps_the_checkpoint(config_file, launch, code):
    command = [sys.executable, *launch, "-m", "ltxv_train_core", "train", str(config_file)]
    process = subprocess.Popen(
        [*command, "--set", "optimization.steps=100000"],
        cwd=Path(ltxv_train_core.__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell's background jobs, and all that they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    runs = config_file.parent / "runs"
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in runs.glob("*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    try:
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert Path(output.strip().splitlines()[-1]).is_file()
    assert len(list(runs.glob("*/checkpoints/*/state.pt"))) == 1


def test_runs_are_listed_gone_on_with_and_deleted(config_file, training_config, capsys):
    def lines():
        return capsys.readouterr().out.strip().splitlines()

    folder = config_file.parent / "runs"
    assert main(["runs", "list", "--in", str(folder)]) == 0
    assert lines() == []
    assert main(["train", str(config_file), "--set", "optimization.steps=2"]) == 0
    first = Path(lines()[-1]).parent.parent
    assert main(["train", str(config_file), "--set", "optimization.steps=2", "--again"]) == 0
    assert Path(lines()[-1]).parent.parent.name == f"{first.name}-2"
    more = ["--continue-from", str(first), "--set", "optimization.steps=1"]
    assert main(["train", str(config_file), *more]) == 0
    third = Path(lines()[-1]).parent.parent
    assert main(["runs", "list", "--json", "--in", str(folder)]) == 0
    listed = {run["name"]: run for run in map(json.loads, lines())}
    assert {run["status"] for run in listed.values()} == {"finished"}
    assert (listed[third.name]["step"], listed[third.name]["continues"]) == (3, first.name)
    assert main(["runs", "delete", f"{first.name}-2", "--in", str(folder)]) == 0
    assert main(["runs", "list", "--in", str(folder)]) == 0
    assert [line for line in lines() if "-2  finished" in line] == []
    assert main(["runs", "resume", first.name, "--in", str(folder)]) == 0
    assert Path(lines()[-1]).parent.parent == first
    assert main(["runs", "resume", "nothing", "--in", str(folder)]) == 1
    assert "no run is named 'nothing'" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """As `head -1`: the pipe is closed before anything is written."""
    file = tmp_path / "a file with  spaces.safetensors"
    write_safetensors(file, {f"layer.{i}": torch.zeros(1) for i in range(4)}, {"a": "b"})
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ltxv_train_core", "inspect", str(file)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_inspect_takes_a_name_with_spaces_with_and_without_quotes(tmp_path, capsys):
    file = tmp_path / "my lora file.safetensors"
    write_safetensors(file, {"layer": torch.zeros(1)}, {})
    for words in ([str(file)], str(file).split(" ")):
        assert main(["inspect", *words]) == 0
        assert capsys.readouterr().out.startswith("file: my lora file.safetensors\n")
