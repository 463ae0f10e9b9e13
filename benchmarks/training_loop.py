"""What a training step costs beside a bare loop: forward, backward, clip, AdamW on one batch.

    python benchmarks/training_loop.py [--steps 60] [--reference]

Both run on the miniature in one process, a step of each in turn; the ratio is the median of the
paired ratios of processor time. At most 1.05 is wanted.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.demo.recipe import training_config
from ltxv_train_core.events import Control, ignore
from ltxv_train_core.families.ltxv.miniature.clips import SIZE
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.families.open import MINIATURE, open_model
from ltxv_train_core.lora.inject import add_lora
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunWriter
from ltxv_train_core.training.loop import TrainingLoop
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.step import StepRunner

WARM_UP_STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--reference", action="store_true", help="an IC-LoRA's step")
    args = parser.parse_args()
    task = "mirror" if args.reference else "stripes"
    with tempfile.TemporaryDirectory() as folder:
        config = prepare(task, Path(folder))
        runner = make_runner(config)
        bare = make_bare_step(config)
        ratios, seconds = compare(runner.run, bare, args.steps)
        runner.close()
    print(f"{task}: {args.steps} paired steps on {runner.device}")
    ours_ms, bare_ms = (1000 * value for value in seconds)
    print(f"training step {ours_ms:.1f} ms of processor time, bare step {bare_ms:.1f} ms")
    print(f"ratio {statistics.median(ratios):.3f} (quartiles {quartiles(ratios)})")


def prepare(task: str, folder: Path) -> TrainingConfig:
    dataset = generate(task, folder / "data", clips=16)
    prepared = preprocess(PreprocessSettings(dataset.metadata, MINIATURE, str(SIZE)))
    return training_config(task, prepared.root, folder / "runs", 0, MINIATURE)


def make_runner(config: TrainingConfig) -> StepRunner:
    plan = plan_run(config)
    return TrainingLoop(plan, RunWriter(plan.run), ignore, Control()).runner


def make_bare_step(config: TrainingConfig) -> Callable[[], None]:
    """The least that a step can do: one fixed batch, nothing drawn, nothing recorded."""
    runner = make_runner(config)
    batch = next(runner.batches)
    runner.close()
    inputs = runner.strategy.prepare(batch, torch.Generator().manual_seed(0)).to(runner.device)
    model = open_model(config.model.model_source)
    transformer = model.load_transformer(runner.denoiser.dtype).train()
    denoiser = model.transformer.denoiser(transformer)
    parameters = add_lora(transformer, config.lora, config.seed)
    optimizer = torch.optim.AdamW(parameters, lr=config.optimization.learning_rate)
    text = batch.text.to(runner.device, denoiser.dtype)

    def step() -> None:
        with torch.autocast(runner.device.type, torch.bfloat16):
            predictions = denoiser.denoise(inputs.seen, text)
        inputs.loss(predictions).backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.optimization.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def compare(
    ours: Callable[[], object], bare: Callable[[], None], steps: int
) -> tuple[list[float], tuple[float, float]]:
    """Paired ratios, and the median seconds of each. Which goes first alternates."""
    pairs = []
    for number in range(WARM_UP_STEPS + steps):
        order = (ours, bare) if number % 2 else (bare, ours)
        seconds = {step: timed(step) for step in order}
        pairs.append((seconds[ours], seconds[bare]))
    pairs = pairs[WARM_UP_STEPS:]
    medians = tuple(statistics.median(column) for column in zip(*pairs, strict=True))
    return [a / b for a, b in pairs], medians  # type: ignore[return-value]


def timed(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def quartiles(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main()
