"""A training step against the bare loop of LTX-Video-Trainer: time, and bytes kept for backward.

    OMP_NUM_THREADS=1 python benchmarks/lean_step.py [--reference] [--layers 10] [--heads 16] [--pairs 8] [--profile]

The bare loop is diffusers' own transformer with peft's LoRA: forward, backward, clip, AdamW on one batch with
a caption padded to 256 tokens. Ours is what a run does with the same model and sizes, the trainer around it left
out (`training_loop.py` measures that). Both run in one process, a step of each in turn; the ratio is the median
of the paired ratios of processor time. Weights are random; LoRA rank 32 on the attentions, bfloat16.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import LTXVideoTransformer3DModel
from peft import LoraConfig
from torch import Tensor

from ltxv_train_core.config import OptimizationConfig, TrainingConfig
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.events import ignore
from ltxv_train_core.families.base import Text
from ltxv_train_core.families.names import LATENTS, PROMPT, REFERENCE, VIDEO
from ltxv_train_core.families.open import open_model
from ltxv_train_core.optim.optimizers import build_optimizer
from ltxv_train_core.strategies import STRATEGIES
from ltxv_train_core.training.trainable import load_trainable

FRAMES, ROWS, COLUMNS, CHANNELS = 7, 16, 16, 128  # 512x512x49: 1,792 tokens
TEXT_WIDTH, TEXT_TOKENS, WORDS = 2048, 256, 40
TARGETS = ("to_k", "to_q", "to_v", "to_out.0")
RANK = 32
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", action="store_true", help="an IC-LoRA's step")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--heads", type=int, default=16, help="of 64 channels each")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--bytes", action="store_true", help="only what is kept for backward")
    parser.add_argument("--profile", action="store_true", help="the slowest operations of our step")
    args = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        made = LTXVideoTransformer3DModel(
            num_attention_heads=args.heads,
            num_layers=args.layers,
            cross_attention_dim=64 * args.heads,
            caption_channels=TEXT_WIDTH,
        )
        made.to(torch.bfloat16).save_pretrained(Path(folder) / "transformer")
        (Path(folder) / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')
        batch = make_batch(args.reference)
        ours, bare = our_loss(folder, batch), bare_loss(made, batch)
    kept = [kept_bytes(loss, model) for loss, model in (ours, bare)]
    print(f"kept for backward: {kept[0] / 2**20:.0f} MiB, bare {kept[1] / 2**20:.0f} MiB, ", end="")
    print(f"ratio {kept[0] / kept[1]:.3f}")
    if args.bytes:
        return
    our_step, bare_step = step_of(*ours, is_ours=True), step_of(*bare, is_ours=False)
    our_step(), bare_step()
    if args.profile:
        with torch.profiler.profile() as profile:
            our_step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
    pairs = []
    for number in range(args.pairs):
        order = (our_step, bare_step) if number % 2 else (bare_step, our_step)
        seconds = {step: timed(step) for step in order}
        pairs.append((seconds[our_step], seconds[bare_step]))
    print(f"seconds of a step: {statistics.median(a for a, _ in pairs):.3f}, ", end="")
    print(f"bare {statistics.median(b for _, b in pairs):.3f}")
    ratios = sorted(a / b for a, b in pairs)
    print(f"ratio {statistics.median(ratios):.3f} (from {ratios[0]:.3f} to {ratios[-1]:.3f})")


def make_batch(has_reference: bool) -> Batch:
    shape = (1, CHANNELS, FRAMES, ROWS, COLUMNS)
    stream = {LATENTS: torch.randn(shape)}
    if has_reference:
        stream[REFERENCE] = torch.randn(shape)
    text = Text.padded([{PROMPT: torch.randn(WORDS, TEXT_WIDTH)}])
    return Batch({VIDEO: stream}, torch.tensor([24.0]), text, ("clip",), (0,))


Loss = tuple[Callable[[], Tensor], torch.nn.Module]
"""The loss of the next forward pass, and the model whose weights it moves."""


def our_loss(folder: str, batch: Batch) -> Loss:
    mode = "reference_video" if REFERENCE in batch.streams[VIDEO] else "none"
    config = TrainingConfig.model_validate(
        {
            "model": {"model_source": folder},
            "lora": {"rank": RANK, "alpha": RANK, "target_modules": TARGETS},
            "conditioning": {"mode": mode, "first_frame_conditioning_p": 0.0},
            "data": {"preprocessed_data_root": folder},
            "output_dir": folder,
            "acceleration": {"compile_with_inductor": False},
        }
    )
    trainable = load_trainable(config, open_model(folder), CPU, ignore)
    denoiser = trainable.denoiser
    strategy = STRATEGIES[mode](config, denoiser.streams)

    def loss() -> Tensor:
        inputs = strategy.prepare(batch, SampleDraws(0, batch.numbers)).to(CPU)
        text = batch.text.to(CPU, denoiser.dtype)
        with torch.autocast("cpu", torch.bfloat16):
            predictions = denoiser.denoise(inputs.seen, text)
        return inputs.loss(predictions)

    return loss, denoiser.transformer


def bare_loss(transformer: LTXVideoTransformer3DModel, batch: Batch) -> Loss:
    transformer.requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(TARGETS)))
    clean = batch.streams[VIDEO][LATENTS].flatten(2).transpose(1, 2).bfloat16()
    noise = torch.randn(clean.shape).bfloat16()
    level, target = 0.7, noise - clean
    tokens = (1 - level) * clean + level * noise
    timestep = torch.full(tokens.shape[:2], 700)
    if REFERENCE in batch.streams[VIDEO]:
        reference = batch.streams[VIDEO][REFERENCE].flatten(2).transpose(1, 2).bfloat16()
        tokens = torch.cat([reference, tokens], dim=1)
        timestep = torch.cat([torch.zeros_like(timestep), timestep], dim=1)
    grid = [torch.arange(n, dtype=torch.float32) for n in (FRAMES, ROWS, COLUMNS)]
    places = torch.stack(torch.meshgrid(*grid, indexing="ij")).flatten(1)
    places = places * torch.tensor([8 / 24, 32.0, 32.0])[:, None]
    given = {
        "hidden_states": tokens,
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, TEXT_WIDTH).bfloat16(),
        "timestep": timestep,
        "encoder_attention_mask": torch.arange(TEXT_TOKENS)[None] < WORDS,
        "video_coords": places.repeat(1, tokens.shape[1] // places.shape[1])[None],
    }

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            predicted = transformer(**given, return_dict=False)[0]
        return (predicted[:, -target.shape[1] :].float() - target).square().mean()

    return loss, transformer


def step_of(
    loss: Callable[[], Tensor], model: torch.nn.Module, *, is_ours: bool
) -> Callable[[], None]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if is_ours:
        optimizer = build_optimizer(OptimizationConfig(), parameters)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)

    def step() -> None:
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def kept_bytes(loss: Callable[[], Tensor], model: torch.nn.Module) -> int:
    """Bytes of the storages that autograd keeps, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: Tensor) -> Tensor:
        alive.append(tensor.detach())
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss()
    return sum(kept.values())


def timed(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


if __name__ == "__main__":
    main()
