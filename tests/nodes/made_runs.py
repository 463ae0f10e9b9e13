"""Runs as training leaves them, made without training."""

from pathlib import Path

import av
import numpy as np
import torch

from ltxv_train_core.config import TrainingConfig, yaml_file
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs import RunFolder, RunState, RunWriter
from ltxv_train_core.storage.tensors import write_safetensors

FPS, FRAMES, SAMPLE_RATE = 8, 8, 16_000


def make_run(
    folder: Path,
    name: str,
    prompts: list[str],
    sampled: list[int],
    saved: list[int],
    steps: int = 40,
    sound: bool = False,
) -> RunFolder:
    """A finished run with a line of metrics for each step.

    Args:
        sampled: the steps of its samples; the later the step, the brighter they are.
        saved: the steps of its LoRA files.
        sound: its samples have some.
    """
    run = RunFolder(folder / name)
    with RunWriter(run) as writer:
        writer.begin(RunState.new(steps=steps, data="d" * 12))
        writer.move("running")
        for step in range(1, steps + 1):
            run.append_metrics(StepCompleted(step, steps, 1 / step, 1e-3, 0.5, 0.1, 1.0))
        writer.move("finished", step=steps)
    validation = {"prompts": prompts, "interval": 10}
    config = TrainingConfig(data={"preprocessed_data_root": "x"}, validation=validation)
    yaml_file.save(config, run.config_file)
    for step in sampled:
        run.samples(step).mkdir(parents=True)
        for number in range(len(prompts)):
            write_sample(run.samples(step) / f"{number:03d}.mp4", 40 + 4 * step, sound)
        (run.samples(step) / "sheet.png").write_bytes(b"")
    for step in saved:
        write_safetensors(run.lora_file(step), {"a.lora_A.weight": torch.ones(2, step)}, {})
    return run


def write_sample(path: Path, grey: int, sound: bool) -> None:
    """A second of one grey, with a tone where sound is wanted."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE) if sound else None
        for _ in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), grey, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is None:
            return
        tone = 0.2 * np.sin(np.arange(SAMPLE_RATE) * 440 * 2 * np.pi / SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
