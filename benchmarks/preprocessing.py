"""What preprocessing costs, as whole processes: the first pass, an unchanged one, and the trainer's
that people come from.

    python benchmarks/preprocessing.py [--clips 20] [--frames 240] [--source-size 1280x720]
        [--bucket 512x288x25] [--dtype bfloat16] [--work DIR] [--reference CHECKOUT]

Prints one JSON object. `--reference` is a checkout of LTX-Video-Trainer outside of this repository,
whose requirements this Python must have: its own scripts run on the same clips with the miniature's
VAE and text encoder in place of those that they would download. Clips are made once in DIR.
Memory is the proportional share (PSS) of a process and its children, sampled ten times a second, or the
resident set where the system doesn't tell.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.1

# Runs in a process of its own: the checkout's scripts, with other loaders of models.
REFERENCE = """
import sys
checkout, root, dataset, bucket, output = sys.argv[1:]
sys.path[:0] = [checkout + "/src", checkout, checkout + "/scripts", root]
import torch
from ltxv_trainer import model_loader
from ltxv_train_core.families.ltxv.miniature import weights
model_loader.load_vae = lambda source, dtype=torch.bfloat16: weights.load_vae(dtype)
model_loader.load_text_encoder = lambda **_: weights.load_text_encoder(torch.bfloat16)
model_loader.load_tokenizer = weights.load_tokenizer
from scripts.preprocess_dataset import preprocess_dataset
width, height, frames = map(int, bucket.split("x"))
preprocess_dataset(
    dataset_file=dataset, caption_column="caption", video_column="media_path",
    resolution_buckets=[(frames, height, width)], batch_size=1, output_dir=output, id_token=None,
    vae_tiling=False, decode_videos=False, model_source="miniature", device="cpu",
    load_text_encoder_in_8bit=False,
)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--source-size", default="1280x720", metavar="WxH")
    parser.add_argument("--bucket", default="512x288x25", metavar="WxHxF")
    parser.add_argument("--dtype", default="bfloat16", help="the other trainer's is bfloat16")
    parser.add_argument("--work", type=Path, default=None, metavar="DIR")
    parser.add_argument("--reference", type=Path, default=None, metavar="CHECKOUT")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_clips(args.work or Path(folder), args.clips, args.frames, args.source_size)
        print(json.dumps(measure(dataset, args.bucket, args.dtype, args.reference), indent=1))


def measure(dataset: Path, bucket: str, dtype: str, reference: Path | None) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "ltxv_train_core", "preprocess", str(dataset)]
        ours += ["--model-source", "LTXV_MINIATURE", "--resolution-buckets", bucket]
        ours += ["--vae-dtype", dtype, "--text-encoder-dtype", dtype]
        ours += ["--output-dir", str(Path(folder, "ours"))]
        found = {"bucket": bucket, "dtype": dtype, "first": run(ours), "again": run(ours)}
        if reference:
            theirs = [sys.executable, "-c", REFERENCE, str(reference), str(ROOT), str(dataset)]
            found["reference"] = run([*theirs, bucket, str(Path(folder, "theirs"))])
            for name in ("wall_seconds", "cpu_seconds", "peak_bytes"):
                found[f"{name}_ratio"] = round(found["reference"][name] / found["first"][name], 2)
    return found


def run(command: list[str]) -> dict:
    """Wall and processor seconds and peak memory of a process with its children."""
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    peak = [0]
    watcher = threading.Thread(target=watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    output, errors = process.communicate()
    after = os.times()
    if process.returncode:
        sys.exit(errors.decode(errors="replace"))
    last = output.decode(errors="replace").strip().splitlines()[-1:]
    inside = json.loads(last[0])["seconds"] if last and last[0].startswith("{") else None
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {
        "wall_seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(cpu, 2),
        "reported_seconds": inside,
        "peak_bytes": peak[0],
    }


def watch(pid: int, peak: list[int]) -> None:
    while psutil.pid_exists(pid):
        try:
            peak[0] = max(peak[0], sum(memory(p) for p in family(pid)))
        except psutil.Error:
            return
        time.sleep(SAMPLE_SECONDS)


def family(pid: int) -> Iterator[psutil.Process]:
    process = psutil.Process(pid)
    yield process
    yield from process.children(recursive=True)


def memory(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
        return getattr(info, "pss", info.rss)
    except (psutil.Error, OSError):
        return 0


def make_clips(folder: Path, clips: int, frames: int, size: str) -> Path:
    """Textured clips that move, with captions; those that are there are kept."""
    from ltxv_train_core.media.write import write_video

    width, height = map(int, size.split("x"))
    y, x = np.mgrid[0:height, 0 : width + frames * 2]
    rows = []
    for i in range(clips):
        name = f"{size}x{frames}-{i:03d}.mp4"
        rows.append({"caption": f"texture number {i} moves left", "media_path": name})
        if (folder / name).is_file():
            continue
        noise = np.random.default_rng(i).normal(0, 12, x.shape)
        wave = 110 + 60 * np.sin(x / (9 + i)) * np.cos(y / (7 + i)) + noise
        wide = np.stack([wave, np.roll(wave, 5, 1), 220 - wave], axis=-1).clip(0, 255)
        wide = wide.astype(np.uint8)
        video = np.stack([wide[:, 2 * f : 2 * f + width] for f in range(frames)])
        write_video(folder / name, video, fps=25, crf=20)
    metadata = folder / f"dataset-{size}x{frames}-{clips}.json"
    metadata.write_text(json.dumps(rows), encoding="utf-8")
    return metadata


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
