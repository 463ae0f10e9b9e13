"""How many small changes of a room's code its nearest tests notice.

    python tools/mutation_score.py optim --count 40 --seed 0

cosmic-ray makes the mutants. Each changes a copy of the working tree, and what survives is shown as a
diff: write a test that fails on it, or say why no test can.
"""

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parent.parent
CORE, TESTS = "ltxv_train_core", "tests/core"
TRAINING, LORA = f"{TESTS}/training/test_", f"{TESTS}/lora/test_"
VALUES = f"{TESTS}/test_values.py"
RUNS = (
    *("run_states", "run_numbers", "run_plan", "recovery", "kill", "optimization"),
    *("not_finite", "held_out", "background_write"),
)
SAVES = tuple(f"{TRAINING}{name}.py" for name in RUNS)
STAGES = (f"{TRAINING}several_data_sets.py",)
ROOMS: dict[str, dict[str, tuple[str, ...]]] = {
    "diffusion": {"diffusion": (VALUES, f"{TESTS}/diffusion")},
    "optim": {"optim": (f"{TESTS}/optim",)},
    "training": {
        "training/run_plan.py": tuple(
            f"{TRAINING}{name}.py" for name in ("distributed", "run_numbers", "run_plan")
        ),
        "training/loop.py": (*SAVES, *STAGES, f"{TRAINING}validation.py"),
        "training/step.py": (
            *(
                f"{TRAINING}{name}.py"
                for name in ("step", "run_numbers", "not_finite", "preservation")
            ),
            *STAGES,
        ),
        "training/saves.py": (*SAVES, *STAGES, f"{TRAINING}joint_run.py"),
        "training/resume.py": (f"{TRAINING}step.py", f"{TRAINING}run_plan.py"),
        "training/background_write.py": (f"{TRAINING}background_write.py",),
        "training/checkpoint.py": (f"{TRAINING}checkpoint.py", VALUES),
        "training/recovery.py": (f"{TRAINING}checkpoint.py", f"{TRAINING}recovery.py"),
        "training/trainer.py": (VALUES, f"{TRAINING}run_states.py", f"{TRAINING}failures.py"),
        "training/validation.py": tuple(
            f"{TRAINING}{name}.py" for name in ("validation", "modalities", "joint_run")
        ),
        "training/sampling.py": (f"{TRAINING}run_states.py", f"{TRAINING}trainer.py"),
        "training/lora_metadata.py": (f"{TRAINING}lora_metadata.py",),
        "training/trainable.py": (f"{TRAINING}trainable.py", f"{TRAINING}full_model.py"),
        "training/trainable_lora.py": (f"{TRAINING}trainable.py", f"{TRAINING}lora_outputs.py"),
        "training/trainable_model.py": (f"{TRAINING}trainable.py", f"{TRAINING}full_model.py"),
        "training/distributed.py": (f"{TRAINING}distributed.py", VALUES),
    },
    "memory": {
        "training/memory_fit.py": tuple(
            f"{TRAINING}{name}.py"
            for name in ("memory_estimate", "memory_fit", "checkpointing_budget")
        ),
        "training/memory_estimate.py": tuple(
            f"{TRAINING}{name}.py"
            for name in ("memory_estimate", "checkpointing_budget", "memory_peaks", "adapters")
        ),
        "models/memory/activations.py": (f"{TRAINING}memory_estimate.py", VALUES),
        "models/memory/frozen_linear.py": tuple(
            f"{TESTS}/models/test_{name}.py" for name in ("frozen_linear", "quantize")
        ),
        "models/memory/eight_bit_product.py": (f"{TESTS}/models/test_eight_bit_product.py",),
        "models/memory/offload.py": (f"{TESTS}/models/test_offload.py",),
        "models/memory/quantize.py": (
            f"{TESTS}/models/test_quantize.py",
            f"{TRAINING}acceleration.py",
        ),
    },
    "buckets": {
        "preprocessing/buckets.py": tuple(
            f"{TESTS}/preprocessing/test_{name}.py" for name in ("buckets", "bucket_rules")
        )
    },
    "fingerprint": {
        "runs/fingerprint.py": (f"{TESTS}/runs/test_fingerprint.py", f"{TRAINING}run_plan.py")
    },
    "recipes": {"recipes": (f"{TESTS}/recipes",)},
    "lora": {
        "lora/dropout.py": (f"{LORA}dropout.py", VALUES),
        "lora/declared_alpha.py": (f"{LORA}declared_alpha.py", f"{LORA}convert.py"),
        "lora/inject.py": (f"{LORA}inject.py", f"{LORA}dropout.py"),
        "lora/model_sizes.py": (f"{LORA}model_sizes.py", VALUES),
        "lora/initialize.py": (f"{LORA}initialize.py", f"{LORA}model_sizes.py"),
        **dict.fromkeys(
            ("lora/adapter_modules.py", "lora/adapter_parts.py", "lora/adapter_shapes.py"),
            (f"{LORA}adapters.py", f"{TRAINING}adapters.py"),
        ),
        "lora/targets.py": (f"{LORA}layer_rules.py", f"{LORA}inject.py"),
        "lora/changes.py": (f"{LORA}changes.py",),
        "lora": (
            VALUES,
            *(
                f"{LORA}{name}.py"
                for name in ("lora_file", "extract", "resize", "merge", "convert", "adapters")
            ),
            f"{TRAINING}checkpoints.py",
        ),
    },
}
"""A room's files or folders, each with its nearest tests, the quick ones first."""

# What the tests import and no mutant changes; on Linux every mutant starts with it in memory.
PRELOADED = (
    "torch",
    "diffusers",
    "transformers.optimization",
    "peft",
    "pytest",
    "hypothesis",
    "av",
)
LOG = "pytest.log"
LEAST_SECONDS = 30
LIMIT_FACTOR = 3


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int
    before: str
    after: str

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(
            self.before.splitlines(),
            self.after.splitlines(),
            self.path,
            self.path,
            n=1,
            lineterm="",
        )
        return "\n".join(lines)


def mutants(path: str, root: Path) -> Iterator[Mutant]:
    """Every mutant of a file that differs in more than types and texts."""
    before = (root / path).read_text(encoding="utf-8")
    nodes = list(ast_nodes(get_ast(before)))
    meaning = _meaning(before)
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            try:
                after = mutate_code(before, operator, occurrence)
            except AttributeError:  # cosmic-ray 8.7 replaces no exception with a dot in its name
                continue
            if after is not None and _meaning(after) not in (None, meaning):
                yield Mutant(path, start[0], before, after)


def _meaning(source: str) -> str | None:
    """The code without annotations, where `|` is no calculation; None for what is no code."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, ast.Constant(None))
    return ast.dump(tree)


def sample(found: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """One mutant of each line first, so that no rich formula outweighs the rest."""
    shuffled = sorted(found, key=lambda mutant: (mutant.path, mutant.line, mutant.after))
    random.Random(seed).shuffle(shuffled)
    first = {(mutant.path, mutant.line): mutant for mutant in shuffled}
    rest = [mutant for mutant in shuffled if first[mutant.path, mutant.line] is not mutant]
    return [*first.values(), *rest][:count]


def copy_tree(target: Path) -> None:
    """The files that git knows, or would: changes that are not committed are tested too."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def nearest_tests(room: str, tree: Path) -> dict[str, tuple[str, ...]]:
    """The tests of every file of a room; a file that is named comes before its folder."""
    found: dict[str, tuple[str, ...]] = {}
    for source, tests in ROOMS[room].items():
        place = tree / CORE / source
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.setdefault(path.relative_to(tree).as_posix(), tests)
    return found


def _run_tests(tree: Path, tests: tuple[str, ...]) -> None:
    """Ends this process with pytest's status; a session of its own, so that all can be ended."""
    if hasattr(os, "setsid"):
        os.setsid()
    os.chdir(tree)
    sys.dont_write_bytecode = True  # two mutants of one second would share a stale file
    sys.path.insert(0, str(tree))
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    with Path(LOG).open("w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        import pytest

        options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", f"--basetemp={tree / '.temp'}"]
        os._exit(pytest.main([*options, *tests]))


def tests_pass(tree: Path, tests: tuple[str, ...], limit: float | None) -> bool:
    """Whether the tests pass within the limit in seconds."""
    # Elsewhere a fork after torch's import is not safe, so the import is paid for each mutant.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    process = context.Process(target=_run_tests, args=(tree, tests))
    process.start()
    process.join(limit)
    in_time = not process.is_alive()
    if not in_time and hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
    return in_time and process.exitcode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if sys.platform == "linux":
        for name in PRELOADED:
            __import__(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tree = Path(folder).resolve() / "tree"
        copy_tree(tree)
        nearest = nearest_tests(options.room, tree)
        found = [mutant for file in nearest for mutant in mutants(file, tree)]
        chosen = sample(found, options.count, options.seed)
        limits: dict[tuple[str, ...], float] = {}
        survivors = []
        for mutant in chosen:
            tests, begun = nearest[mutant.path], time.monotonic()
            if tests not in limits:
                if not tests_pass(tree, tests, None):
                    print((tree / LOG).read_text(encoding="utf-8"))
                    return 1
                limits[tests] = max(LEAST_SECONDS, LIMIT_FACTOR * (time.monotonic() - begun))
                begun = time.monotonic()
            (tree / mutant.path).write_text(mutant.after, encoding="utf-8")
            survived = tests_pass(tree, tests, limits[tests])
            (tree / mutant.path).write_text(mutant.before, encoding="utf-8")
            survivors += [mutant] if survived else []
            outcome = "survived" if survived else "killed"
            seconds = time.monotonic() - begun
            print(f"{outcome:8} {seconds:5.1f} s  {mutant.path}:{mutant.line}", flush=True)
    for mutant in survivors:
        print(f"\n{mutant.path}:{mutant.line} survived\n{mutant.diff}")
    killed = len(chosen) - len(survivors)
    print(
        f"\n{options.room}: {killed} of {len(chosen)} mutants killed "
        f"({killed / len(chosen):.0%}), of {len(found)} found; seed {options.seed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
