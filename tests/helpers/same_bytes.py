"""Preprocesses and trains in a folder, and prints the hashes of what comes of it as JSON.

python same_bytes.py FOLDER
"""

import json
import sys
from pathlib import Path

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.storage.atomic import sha256_file
from ltxv_train_core.training.trainer import train


def hashes(folder: Path) -> dict[str, str]:
    source = generate("mirror", folder / "clips", clips=2).metadata
    settings = PreprocessSettings(source, "LTXV_MINIATURE", "64x64x9", id_token="zorp")
    root = preprocess(settings).root
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
    files = [*root.rglob("*.safetensors"), *result.run_folder.rglob("*.safetensors")]
    files.append(root / "index.json")
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


if __name__ == "__main__":
    print(json.dumps(hashes(Path(sys.argv[1]))))
