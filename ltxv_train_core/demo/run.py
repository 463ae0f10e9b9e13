from pathlib import Path

import numpy as np
import torch

from ..events import NeverStop, Reporter, StopSignal, ignore
from ..families.ltxv.miniature.clips import FPS, SIZE
from ..families.ltxv.miniature.datasets import DemoDataset, generate
from ..families.ltxv.miniature.scores import score
from ..families.names import VIDEO
from ..families.open import MINIATURE, Model, open_model
from ..media.sheet import contact_sheet
from ..media.tensors import frames_to_tensor
from ..media.texts import no_graph, png_texts
from ..preprocessing.preprocess import PreprocessSettings, preprocess
from ..runs import RunFolder
from ..runs.loss_chart import loss_chart
from ..storage.atomic import atomic_path
from ..training.decoding import decode_videos
from ..training.trainer import TrainingResult, train
from . import recipe
from .clock import Clock
from .evaluation import Evaluation
from .peak_memory import peak_memory_bytes
from .report import DemoReport


def run_demo(
    task: str,
    output: Path,
    seed: int = 0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    model_source: str = MINIATURE,
) -> DemoReport:
    """Generates a data set, preprocesses it, and samples before and after training on it.

    Args:
        task: "stripes" (LoRA), "up" (LoRA) or "mirror" (IC-LoRA).
        output: gets `data/`, the run, `before_after.png`, `loss.png` and `report.json`.

    Raises:
        Cancelled: when it was stopped.
    """
    stop = stop or NeverStop()
    clock = Clock()
    with clock.phase("generate"):
        dataset = generate(task, output / "data" / task, seed=seed, report=report, stop=stop)
    with clock.phase("preprocess"):
        prepared = preprocess(
            PreprocessSettings(
                source=dataset.metadata,
                model_source=model_source,
                resolution_buckets=str(SIZE),
                id_token=recipe.TRIGGER,
            ),
            report=report,
            stop=stop,
        )
    source = open_model(model_source)
    evaluation = Evaluation(
        source,
        [item.prompt for item in dataset.evaluation],
        FPS,
        seed,
        report,
        stop,
        _encode([item.reference for item in dataset.evaluation], source),
    )

    def videos_with(lora_file: Path | None) -> list[np.ndarray]:
        latents = evaluation.sample(lora_file)[VIDEO]
        return decode_videos(latents, source, torch.device("cpu"), report)

    with clock.phase("sample before"):
        before = videos_with(None)
    with clock.phase("train"):
        config = recipe.training_config(task, prepared.root, output, seed, model_source)
        trained = train(config, report, stop)
    with clock.phase("sample after"):
        after = videos_with(trained.lora_file)
    scores = [score(task, videos, dataset.evaluation) for videos in (before, after)]
    result = DemoReport(
        task=task,
        score_before=scores[0].value,
        score_after=scores[1].value,
        fidelity=scores[1].fidelity,
        details=scores[1].details,
        seconds=clock.seconds | {"total": clock.total()},
        peak_memory_bytes=peak_memory_bytes(),
        lora_file=str(trained.lora_file),
    )
    result.write(output)
    _write_pictures(output, dataset, before, after, trained)
    return result


def _encode(references: list[np.ndarray | None], source: Model) -> list[dict[str, torch.Tensor]]:
    """The latents of references, by stream; nothing where there are none."""
    if any(reference is None for reference in references):
        return [{} for _ in references]
    vae = source.load_vae()
    return [{VIDEO: vae.encode(frames_to_tensor(r))[0]} for r in references if r is not None]


def _write_pictures(
    output: Path,
    dataset: DemoDataset,
    before: list[np.ndarray],
    after: list[np.ndarray],
    trained: TrainingResult,
) -> None:
    rows = []
    for item, old, new in zip(dataset.evaluation, before, after, strict=True):
        rows.append(([] if item.reference is None else [item.reference]) + [old, new])
    labels = [item.prompt for item in dataset.evaluation]
    with atomic_path(output / "before_after.png") as temporary:
        texts = png_texts(no_graph("no ComfyUI graph trained it"))
        contact_sheet(rows, labels).save(temporary, pnginfo=texts)
    metrics = RunFolder(trained.run_folder).metrics()
    with atomic_path(output / "loss.png") as temporary:
        loss_chart(metrics, trained.steps).save(temporary)
