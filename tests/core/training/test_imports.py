"""What is spared until a run needs it: seconds at each start of a graph and each check, and memory of ComfyUI."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ltxv_train_core.config import yaml_file
from ltxv_train_core.families.ltxv.miniature.comfy_file import export
from ltxv_train_core.families.ltxv.miniature.weights import load_transformer
from tests.helpers.ltx2 import write_checkpoint

HEAVY = (
    "{'torch', 'torch._dynamo', 'torch._inductor', 'sympy', 'torchvision', 'bitsandbytes', 'diffusers', "
    "'transformers', 'peft'}"
)


def imported(code: str) -> list[str]:
    """Which of the slow libraries a piece of code imports."""
    code = f"import sys, json; {code}; print(json.dumps(sorted({HEAVY} & sys.modules.keys())))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_trainer_waits_with_compilers_and_model_libraries():
    assert imported("import ltxv_train_core.training.trainer") == ["torch"]


@pytest.mark.parametrize("of", ["miniature", "name", "file", "folder", "LTX-2", "LTX-2 file"])
def test_a_check_imports_no_torch(of: str, training_config, stripes_data: Path, tmp_path: Path):
    """Its import takes longer than all the rest of a check, and no weights are read."""
    data = {"preprocessed_data_root": str(stripes_data)}
    if of.startswith("LTX-2"):
        data = {"preprocessed_data_root": str(tmp_path / "none")}
    source = {
        "miniature": lambda: "LTXV_MINIATURE",
        "name": lambda: "LTXV_13B_097_DEV",
        "file": lambda: export(tmp_path / "x.safetensors"),
        "folder": lambda: _folder(tmp_path / "folder"),
        "LTX-2": lambda: "LTX2_MINIATURE",
        "LTX-2 file": lambda: write_checkpoint(tmp_path / "x.safetensors", "2.3"),
    }[of]()
    config = training_config(model={"model_source": str(source)}, data=data)
    file = tmp_path / "config.yaml"
    file.write_text(yaml_file.dump(config), encoding="utf-8")
    code = f"from ltxv_train_core.cli import main; assert main(['check', {str(file)!r}]) == 0"
    assert imported(code) == []


def test_a_check_asks_the_device_of_what_depends_on_it(training_config, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text(
        yaml_file.dump(training_config(acceleration={"quantization": "int8"})), encoding="utf-8"
    )
    code = f"from ltxv_train_core.cli import main; assert main(['check', {str(file)!r}]) == 0"
    assert "torch" in imported(code)


def _folder(folder: Path) -> Path:
    """The miniature's transformer in the diffusers layout."""
    load_transformer().save_pretrained(folder / "transformer")
    (folder / "model_index.json").write_text('{"_class_name": "LTXConditionPipeline"}')
    return folder


SCRIPT = """
import json, sys, traceback

HEAVY = {"torch._dynamo", "torch._inductor", "bitsandbytes", "torchvision"}
importers = {}


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            files = [frame.filename.replace("\\\\", "/") for frame in traceback.extract_stack()]
            libraries = [
                file.rpartition("/site-packages/")[2].partition("/")[0]
                if "/site-packages/" in file
                else "ours"
                for file in files
                if "/site-packages/" in file or "/ltxv_train_core/" in file
            ]
            who = [each for each in libraries if each != name.partition(".")[0]]
            importers.setdefault(name, []).append(who[-1])


sys.meta_path.insert(0, Watch())
from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.training.trainer import train

train(build(TrainingConfig, json.loads(sys.argv[1])))
print(json.dumps(importers))
"""


@pytest.mark.long
def test_a_lora_run_imports_no_compiler_by_itself(training_config):
    """Not with adamw and without compilation. diffusers, peft and transformers bring them along; see docs/performance.md."""
    config = training_config(optimization={"steps": 1})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, config.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    importers = json.loads(done.stdout.splitlines()[-1])
    assert "diffusers" in importers["torch._dynamo"], "the watch sees imports"
    assert {who for each in importers.values() for who in each} <= {
        "diffusers",
        "transformers",
        "peft",
        "torch",
    }
