"""What is checked. Each check returns what it has seen, or raises `Broken` or `Skipped`."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..config import OptimizationConfig, PreprocessSettings, TrainingConfig, build
from ..events import Event, Notice, Progress, SamplesWritten, StepCompleted
from ..families.ltxv.miniature.datasets import generate
from ..families.open import MINIATURE, open_model
from ..memory_errors import lacks_device_memory, lacks_host_memory
from ..models.device import free_bytes, free_memory, total_bytes
from ..models.memory.quantize import BITS, eight_bit_problem, quantization_problem
from ..optim.optimizers import optimizer_problem
from ..preprocessing.preprocess import preprocess
from ..training.decoding import TILE_FRAMES, TILE_PX, decode_videos
from ..training.trainer import train
from ..units import byte_size
from .bench import LAYER_COUNT, Bench, Step
from .names import NAMES

EQUAL, NEAR, FAIR = 0.9999, 0.99, 0.9
"""How like gradients are that differ by rounding, by half precision, and by quantization."""
_LIKENESS_OF_BITS = {8: NEAR, 4: FAIR, 2: 0.3}
_LEFT_BYTES = 2**26


class Broken(Exception):
    """What was checked does not work on this device."""


class Skipped(Exception):
    """It can't be checked here, and need not work."""


def training_step(bench: Bench) -> str:
    """A step in bf16 has the gradients that a CPU calculates in float32."""
    exact = bench.on_cpu().step(steps=1, mixed_precision_mode="no")
    _require_like(bench.plain, exact, NEAR)
    return _told(bench, bench.plain)


def half_precision(bench: Bench) -> str:
    """So it has in fp16, for GPUs without bf16."""
    found = bench.step(mixed_precision_mode="fp16")
    _require_like(found, bench.plain, NEAR)
    return _told(bench, found)


def checkpointing(bench: Bench) -> str:
    """Recomputed activations give the same gradients with less memory."""
    found = bench.step(checkpointing=True)
    _require_like(found, bench.plain, EQUAL)
    _require_less(bench, found)
    return _told(bench, found)


def offloading(bench: Bench) -> str:
    """So do blocks in host memory, whose weights are copied while others work."""
    events: list[Event] = []
    watching = Bench(bench.device, bench.sizes, events.append, bench.stop)
    found = watching.step(steps=3, blocks_to_offload=LAYER_COUNT)
    _require_like(found, bench.plain, EQUAL)
    _require_less(bench, found)
    said = [e.message for e in events if isinstance(e, Notice) and "pageable" in e.message]
    return "; ".join([_told(bench, found), *said])


def quantization(bench: Bench) -> str:
    """Every kind of quantized base trains, alone and with blocks in host memory."""
    told = []
    for kind, bits in BITS.items():
        if problem := quantization_problem(kind, bench.device):
            told.append(f"{kind} is refused ({problem})")
            continue
        found = bench.step(quantization=kind)
        _require_like(found, bench.plain, _LIKENESS_OF_BITS[bits])
        offloaded = bench.step(quantization=kind, blocks_to_offload=LAYER_COUNT)
        _require_like(offloaded, found, EQUAL)
        told.append(f"{kind} {found.likeness(bench.plain):.4f} like bf16")
    return ", ".join(told)


def compilation(bench: Bench) -> str:
    """Compiled blocks give the same gradients, in a second run of this process too."""
    graphs, told = [], []
    for _ in range(2):
        events: list[Event] = []
        watching = Bench(bench.device, bench.sizes, events.append, bench.stop)
        found = watching.step(steps=4, compile_with_inductor=True, compilation_mode="default")
        _require_like(found, bench.plain, NEAR)
        graphs.append(sum(isinstance(e, Progress) and "compile" in e.phase for e in events) // 2)
        told = [e.message for e in events if isinstance(e, Notice) and "no effect" in e.message]
        if told:
            raise Skipped(told[0])
    if not all(graphs):
        raise Broken(f"graphs of the first run and the second: {graphs}")
    return f"{_told(bench, found)}; {graphs[0]} graphs"


def optimizers(bench: Bench) -> str:
    """Every optimizer makes a step."""
    kinds = OptimizationConfig.model_json_schema()["properties"]["optimizer_type"]["enum"]
    told = []
    for kind in kinds:
        options = OptimizationConfig.model_construct(optimizer_type=kind)
        told.append(optimizer_problem(options, bench.device) or f"{kind} works")
    return ", ".join(told)


def text_encoder_in_8_bits(bench: Bench) -> str:
    """`load_text_encoder_in_8bit` works."""
    if problem := eight_bit_problem(bench.device):
        raise Skipped(problem)
    return "works"


def decoding(bench: Bench) -> str:
    """A VAE decodes what a CPU decodes, and in tiles nearly so."""
    source = open_model(MINIATURE)
    latents = torch.randn(1, 128, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    videos = [
        torch.from_numpy(decode_videos(latents, source, device)[0]).float()
        for device in (torch.device("cpu"), bench.device)
    ]
    difference = float((videos[0] - videos[1]).abs().mean())
    if difference > 2:
        raise Broken(f"pixels differ from the CPU's by {difference:.1f} of 255")
    side = TILE_PX // 32 + 2
    large = torch.randn(128, TILE_FRAMES // 8 + 2, side, side)
    vae = source.load_vae().in_tiles(TILE_PX, TILE_FRAMES).to(bench.device)
    shape = tuple(vae.decode(large[None]).shape[2:])
    return f"pixels differ from the CPU's by {difference:.2f} of 255; {shape} in tiles"


def out_of_memory(bench: Bench) -> str:
    """Too large a tensor is an error that is recognised, and leaves the device usable."""
    try:
        torch.empty(4 * total_bytes(bench.device) + 2**50, dtype=torch.uint8, device=bench.device)
    except Exception as error:
        named = lacks_device_memory if bench.is_accelerator else lacks_host_memory
        if not named(error):
            raise Broken(f"not recognised: {type(error).__name__}: {error}") from error
        free_memory()
        return f"recognised: {type(error).__name__}"
    raise Skipped("this device gives more memory than it has")


def memory_goes_back(bench: Bench) -> str:
    """After a step nothing is held."""
    before = free_bytes(bench.device)
    bench.step(steps=1, blocks_to_offload=2)
    held = before - free_bytes(bench.device)
    if bench.is_accelerator and held > _LEFT_BYTES:
        raise Broken(f"{byte_size(held)} are still held")
    return f"{byte_size(free_bytes(bench.device))} are free"


def whole_run(bench: Bench) -> str:
    """The miniature's way from clips to a LoRA, with samples."""
    with TemporaryDirectory() as folder:
        clips = generate("stripes", Path(folder, "clips"), clips=2, stop=bench.stop)
        settings = PreprocessSettings(clips.metadata, MINIATURE, "64x64x9")
        samples = {"prompts": ["a red circle"], "video_dims": [64, 64, 9], "inference_steps": 2}
        values = {
            "output_dir": str(Path(folder, "runs")),
            "model": {"model_source": MINIATURE},
            "optimization": {"steps": 3},
            "data": {"preprocessed_data_root": str(preprocess(settings, stop=bench.stop).root)},
            "validation": {**samples, "interval": 3, "skip_initial_validation": True},
        }
        events: list[Event] = []
        result = train(build(TrainingConfig, values), events.append, bench.stop)
        losses = [event.loss for event in events if isinstance(event, StepCompleted)]
        if not any(isinstance(event, SamplesWritten) for event in events):
            told = [e.message for e in events if isinstance(e, Notice) and e.is_problem]
            raise Broken(f"it has no samples: {'; '.join(told)}")
    return f"{result.step} steps and a sample, loss {losses[0]:.3f} to {losses[-1]:.3f}"


def _require_like(found: Step, expected: Step, least: float) -> None:
    if not torch.isfinite(found.gradients).all():
        raise Broken("gradients are not finite")
    likeness = found.likeness(expected)
    if not likeness >= least:
        raise Broken(f"gradients are {likeness:.4f} like those expected, at least {least} is right")


def _require_less(bench: Bench, found: Step) -> None:
    if bench.is_accelerator and found.peak_bytes >= bench.plain.peak_bytes:
        raise Broken(f"takes no less memory: {_told(bench, found)}")


def _told(bench: Bench, found: Step) -> str:
    told = f"{found.seconds * 1000:.0f} ms a step"
    if found is not bench.plain:
        told += f" ({found.seconds / bench.plain.seconds:.2f} x bf16)"
    if bench.is_accelerator:
        told += f", {byte_size(found.peak_bytes)} at most"
    return told


_FUNCTIONS = (
    *(training_step, half_precision, checkpointing, offloading, quantization, optimizers),
    *(text_encoder_in_8_bits, decoding, out_of_memory, memory_goes_back, whole_run, compilation),
)
CHECKS: dict[str, Callable[[Bench], str]] = dict(zip(NAMES, _FUNCTIONS, strict=True))
