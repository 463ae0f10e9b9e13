"""How well held-out losses find the best step: runs of the miniature, some of them made to overfit.

    python benchmarks/best_step.py [--runs 10] [--folder DIR]

Each run trains stripes with six clips held out and eight checkpoints. Of each checkpoint's LoRA, 32 prompts that no
clip shows are sampled; its score is effect x fidelity: contrast of the bars times the mean share of right
backgrounds, colours and motions. A run passes if the marked step's score is at least nine tenths of the best one, or lies
within the best one's own interval (bootstrap over the prompts, 90 %).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ltxv_train_core.config import PreprocessSettings  # noqa: E402
from ltxv_train_core.demo import recipe  # noqa: E402
from ltxv_train_core.demo.evaluation import Evaluation  # noqa: E402
from ltxv_train_core.events import NeverStop, ignore  # noqa: E402
from ltxv_train_core.families.ltxv.miniature.clips import FPS  # noqa: E402
from ltxv_train_core.families.ltxv.miniature.datasets import (  # noqa: E402
    evaluation_items,
    generate,
)
from ltxv_train_core.families.ltxv.miniature.scores import score  # noqa: E402
from ltxv_train_core.families.names import VIDEO  # noqa: E402
from ltxv_train_core.families.open import MINIATURE, open_model  # noqa: E402
from ltxv_train_core.preprocessing.preprocess import preprocess  # noqa: E402
from ltxv_train_core.runs import RunFolder  # noqa: E402
from ltxv_train_core.runs.best_step import best_step  # noqa: E402
from ltxv_train_core.training.decoding import decode_videos  # noqa: E402
from ltxv_train_core.training.trainer import train  # noqa: E402

HELD_OUT = 6
CHECKPOINTS = 8
PROMPTS = 32
RESAMPLES = 200
# rank, learning rate, clips to train on, steps, seed
RUNS = [
    (16, 2e-3, 24, 160, 0),
    (4, 2e-3, 24, 160, 1),
    (32, 1e-3, 24, 160, 2),
    (16, 5e-3, 24, 320, 3),
    (16, 2e-3, 3, 320, 4),
    (32, 5e-3, 3, 320, 5),
    (8, 3e-3, 6, 320, 6),
    (16, 5e-4, 12, 160, 7),
    (32, 8e-3, 4, 160, 8),
    (16, 2e-3, 48, 160, 9),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=len(RUNS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.mkdtemp()))
    args = parser.parse_args()
    print(
        "| rank | rate | clips | steps | marked | between | its score | best step | best score | passes |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    passed = 0
    for number, options in enumerate(RUNS[: args.runs]):
        row, passes = measure(args.folder / str(number), *options)
        passed += passes
        print(row, flush=True)
    print(f"{passed} of {args.runs} pass")


def measure(
    folder: Path, rank: int, rate: float, clips: int, steps: int, seed: int
) -> tuple[str, bool]:
    """A row of the table, and whether the run passes."""
    data = generate("stripes", folder / "clips", clips=clips + HELD_OUT, seed=seed)
    prepared = preprocess(
        PreprocessSettings(data.metadata, MINIATURE, "96x64x17", id_token=recipe.TRIGGER)
    )
    config = recipe.training_config("stripes", prepared.root, folder, seed, MINIATURE)
    sections = {
        "lora": config.lora.model_copy(update={"rank": rank, "alpha": rank}),
        "optimization": config.optimization.model_copy(
            update={"learning_rate": rate, "steps": steps, "scheduler_type": "constant"}
        ),
        "checkpoints": config.checkpoints.model_copy(update={"interval": steps // CHECKPOINTS}),
        "data": config.data.model_copy(update={"held_out_clips": HELD_OUT}),
    }
    trained = train(config.model_copy(update=sections))
    run = RunFolder(Path(trained.run_folder))
    best = best_step(run.held_out())
    assert best is not None
    scores = {lora.step: scored(lora.path, seed) for lora in run.loras()}
    means = {step: value(each) for step, each in scores.items()}
    winner = max(means, key=means.__getitem__)
    least = min(0.9 * means[winner], np.quantile(resampled(scores[winner]), 0.05))
    marked = means.get(best.step, 0.0)
    passes = marked >= least
    (folder / "scores.json").write_text(json.dumps({"means": means, "best": vars(best)}))
    cells = (rank, rate, clips, steps, best.step, f"{best.first}-{best.last}", f"{marked:.3f}")
    cells += (winner, f"{means[winner]:.3f}", "yes" if passes else "no")
    return "| " + " | ".join(map(str, cells)) + " |", passes


def scored(lora_file: Path, seed: int) -> list[tuple[float, float]]:
    """Of each prompt contrast and fidelity."""
    source = open_model(MINIATURE)
    items = [item for n in range(100) for item in evaluation_items("stripes", n)][:PROMPTS]
    prompts = [item.prompt for item in items]
    evaluation = Evaluation(source, prompts, FPS, seed, ignore, NeverStop())
    latents = evaluation.sample(lora_file)[VIDEO]
    videos = decode_videos(latents, source, torch.device("cpu"), ignore)
    found = [score("stripes", [video], [item]) for video, item in zip(videos, items, strict=True)]
    return [(each.value, float(np.mean(list(each.fidelity.values())))) for each in found]


def value(each: list[tuple[float, float]]) -> float:
    """Effect x fidelity."""
    effect, fidelity = np.mean(each, axis=0)
    return float(effect * fidelity)


def resampled(each: list[tuple[float, float]]) -> list[float]:
    """The value in draws of the prompts."""
    random = np.random.default_rng(0)
    return [
        value([each[n] for n in random.integers(len(each), size=len(each))])
        for _ in range(RESAMPLES)
    ]


if __name__ == "__main__":
    main()
