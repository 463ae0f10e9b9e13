"""The same training and the same preprocessing give files of the same bytes, in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.storage.atomic import sha256_file
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.training.trainer import train

folder = Path(sys.argv[1])
source = generate("mirror", folder / "clips", clips=2).metadata
root = preprocess(PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9", id_token="zorp")).root
values = {
    "output_dir": str(folder / "runs"),
    "model": {"model_source": "LTXV_MINIATURE"},
    "conditioning": {"mode": "reference_video"},
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
    "optimization": {"steps": 2, "batch_size": 1, "ema_decay": 0.9},
    "checkpoints": {"write_kohya": True, "write_diffusers": True},
    "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
    "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 2},
}
result = train(build(TrainingConfig, values), graph={"prompt": "{}", "workflow": "{}"})
files = [*root.rglob("*.safetensors"), root / "index.json", *result.run_folder.rglob("*.safetensors")]
print(json.dumps({p.relative_to(folder).as_posix(): sha256_file(p) for p in files}))
"""


@pytest.fixture(scope="module")
def hashes(tmp_path_factory):
    """Of the files of two processes, which go through dictionaries and sets in different orders."""

    def begin(seed: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("bytes"))],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    return [json.loads(each.communicate()[0].splitlines()[-1]) for each in [begin("1"), begin("2")]]


def test_two_processes_write_the_same_bytes(hashes):
    first, second = hashes
    assert first == second
    kinds = [Path(name).parts[0] for name in first]
    assert kinds.count("clips") > 6
    assert kinds.count("runs") == 7  # LoRA and average in three forms each, and the checkpoint
