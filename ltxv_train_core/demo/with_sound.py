"""The whole job on the miniature that hears: a LoRA that shows stripes and sounds a beep."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..events import NeverStop, Reporter, StopSignal, ignore
from ..families.ltx2.miniature.datasets import TASKS, SoundDataset, generate
from ..families.ltx2.miniature.scenes import FPS
from ..families.ltx2.miniature.scores import SoundScore, score
from ..families.ltx2.miniature.shipped import MINIATURE
from ..families.ltx2.miniature.spectrograms import spectrograms
from ..families.ltxv.miniature.clips import SIZE
from ..families.ltxv.miniature.scores import overlap
from ..families.names import AUDIO, VIDEO
from ..families.open import Model, open_model
from ..media.sheet import contact_sheet
from ..media.tensors import frames_to_tensor
from ..media.texts import no_graph, png_texts
from ..media.write import write_video
from ..preprocessing.preprocess import PreprocessSettings, preprocess
from ..runs import RunFolder
from ..runs.loss_chart import loss_chart
from ..storage.atomic import atomic_path
from ..training.decoding import decode_sounds, decode_videos
from ..training.trainer import train
from . import recipe
from .clock import Clock
from .evaluation import Evaluation
from .peak_memory import peak_memory_bytes
from .report import SoundDemoReport

TASK, IC_TASK = "stripes_and_beep", "mirror_with_sound"
_CPU = torch.device("cpu")
_TEXTS = no_graph("no ComfyUI graph trained it")


def run_demo_with_sound(
    output: Path,
    seed: int = 0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    task: str = TASK,
) -> SoundDemoReport:
    """Generates clips with sound, preprocesses them, and samples before and after training on both.

    Args:
        output: gets `data/`, the run, `samples/` (mp4 with sound), `before_after.png`, `loss.png` and
            `report.json`.

    Raises:
        Cancelled: when it was stopped.
    """
    stop = stop or NeverStop()
    clock = Clock()
    with clock.phase("generate"):
        dataset = generate(task, output / "data" / task, seed=seed, report=report, stop=stop)
    with clock.phase("preprocess"):
        settings = PreprocessSettings(
            dataset.metadata, MINIATURE, str(SIZE), id_token=recipe.TRIGGER
        )
        prepared = preprocess(settings, report=report, stop=stop)
    source = open_model(MINIATURE)
    prompts = [item.prompt for item in dataset.evaluation]
    references = _references(dataset, source)
    evaluation = Evaluation(source, prompts, FPS, seed, report, stop, references)
    with clock.phase("sample before"):
        before = evaluation.sample(None)
    with clock.phase("train"):
        config = recipe.training_config(task, prepared.root, output, seed, MINIATURE)
        trained = train(config, report, stop)
    with clock.phase("sample after"):
        after = evaluation.sample(trained.lora_file)
    with clock.phase("decode and score"):
        videos = [decode_videos(each[VIDEO], source, _CPU, report) for each in (before, after)]
        scores = [
            score(task, frames, spectrograms(each[AUDIO], source), dataset.evaluation)
            for frames, each in zip(videos, (before, after), strict=True)
        ]
        _write_samples(output, dataset, videos, (before, after), source, report)
    values = [_values(task, each) for each in scores]
    if references:
        with clock.phase("sample without references"):
            alone = evaluation.without_references().sample(trained.lora_file)
            values[1]["overlap_without_reference"] = _overlap(alone, dataset, source)
    metrics = RunFolder(trained.run_folder).metrics()
    with atomic_path(output / "loss.png") as temporary:
        loss_chart(metrics, trained.steps).save(temporary)
    result = SoundDemoReport(
        task=task,
        score_before=values[0],
        score_after=values[1],
        fidelity=_fidelity(scores[1]),
        fidelity_before=_fidelity(scores[0]),
        seconds=clock.seconds | {"total": clock.total()},
        peak_memory_bytes=peak_memory_bytes(),
        lora_file=str(trained.lora_file),
    )
    result.write(output)
    return result


def _references(dataset: SoundDataset, source: Model) -> list[dict[str, Tensor]] | None:
    """Latents of the prompts' references, by stream; None where they have none."""
    pairs = [(item.reference, item.reference_sound) for item in dataset.evaluation]
    if any(video is None for video, _ in pairs):
        return None
    vae, audio_vae = source.load_vae(), source.load_audio_vae()
    return [
        {
            VIDEO: vae.encode(frames_to_tensor(video))[0],
            AUDIO: audio_vae.encode(torch.from_numpy(sound).float()[None])[0],
        }
        for video, sound in pairs
        if video is not None and sound is not None
    ]


def _values(task: str, found: SoundScore) -> dict[str, float]:
    if TASKS[task].mirrored:
        return {"overlap": found.overlap}
    return {"stripes": found.stripes, "beep_db": found.beep_db}


def _overlap(latents: dict[str, Tensor], dataset: SoundDataset, source: Model) -> float:
    videos = decode_videos(latents[VIDEO], source, _CPU)
    return overlap(videos, [item.scene.clip for item in dataset.evaluation])[0]


def _fidelity(found: SoundScore) -> dict[str, float]:
    heard = {"pitch": found.heard["colour"], "glide": found.heard["motion"]}
    return {**found.seen, **heard}


def _write_samples(
    output: Path,
    dataset: SoundDataset,
    videos: list[list[np.ndarray]],
    latents: tuple[dict[str, Tensor], dict[str, Tensor]],
    source: Model,
    report: Reporter,
) -> None:
    """Every sample as mp4 with sound, and a sheet of all with their spectrograms."""
    seconds = SIZE.frames / FPS
    sounds = [decode_sounds(each[AUDIO], seconds, source, _CPU, report) for each in latents]
    for when, frames, heard in zip(("before", "after"), videos, sounds, strict=True):
        for number, (video, sound) in enumerate(zip(frames, heard, strict=True)):
            write_video(
                output / "samples" / f"{number:03d}_{when}.mp4",
                video,
                FPS,
                sound=sound,
                metadata=_TEXTS,
            )
    labels = [item.prompt for item in dataset.evaluation]
    rows = [list(pair) for pair in zip(*videos, strict=True)]
    drawn = contact_sheet(rows, labels, sounds=[list(pair) for pair in zip(*sounds, strict=True)])
    with atomic_path(output / "before_after.png") as temporary:
        drawn.save(temporary, pnginfo=png_texts(_TEXTS))
