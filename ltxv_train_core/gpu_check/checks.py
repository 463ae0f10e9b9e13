"""What is checked. Each check returns what it has seen, or raises `Broken` or `Skipped`."""

from collections.abc import Callable
from dataclasses import replace

import torch

from ..config import OptimizationConfig
from ..diffusion.sampler import SampleRequest, SamplerSettings, SpatioTemporalGuidance, sample
from ..events import Event, Notice, Progress
from ..families.names import AUDIO
from ..families.open import MINIATURE, open_model
from ..geometry import VideoSize
from ..memory_errors import lacks_device_memory, lacks_host_memory
from ..models.device import free_bytes, free_memory, total_bytes
from ..models.memory.kinds import BITS, EIGHT_BIT_KINDS
from ..models.memory.quantize import eight_bit_problem, matmul_problem, quantization_problem
from ..optim.optimizers import optimizer_problem
from ..training.decoding import TILE_FRAMES, TILE_PX, decode_videos
from ..units import byte_size
from .bench import Bench, Broken, Skipped, Step
from .names import NAMES
from .random_model import LAYER_COUNT, LTX_2, LTX_VIDEO
from .run_checks import lean_full_training, several_devices, stopping, whole_run

EQUAL, NEAR, FAIR = 0.9999, 0.99, 0.9
"""How like gradients are that differ by rounding, by half precision, and by quantization."""
_LIKENESS_OF_BITS = {8: NEAR, 4: FAIR, 2: 0.3}
_LEFT_BYTES = 2**26
_TOO_FEW_BYTES = 2**28
"""For decoding the miniature's 512x512x65 as a whole."""
_TILED_DIFFERENCE = 6.0
"""Of random latents, whose tiles have much to blend. Of 255."""


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


def activations_on_host(bench: Bench) -> str:
    """So do they where what checkpointing keeps goes to the host and comes back."""
    found = bench.step(steps=3, checkpointing=True, on_host=True)
    _require_like(found, bench.plain, EQUAL)
    _require_less(bench, found)
    return _told(bench, found)


def offloading(bench: Bench) -> str:
    """So do blocks in host memory, whose weights are copied while others work."""
    events: list[Event] = []
    watching = replace(bench, report=events.append)
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


def quantized_matmul(bench: Bench) -> str:
    """Products in 8 bits are like those with the weights in bf16, and what they take of its time."""
    told = []
    for kind in EIGHT_BIT_KINDS:
        if problem := matmul_problem(kind, bench.device):
            told.append(f"{kind} is refused ({problem})")
            continue
        plain = bench.step(quantization=kind)
        found = bench.step(quantization=kind, quantized_matmul=True)
        _require_like(found, plain, FAIR)
        told.append(f"{kind} {found.likeness(plain):.4f} like products in bf16")
    return ", ".join(told)


def compilation(bench: Bench) -> str:
    """Compiled blocks give the same gradients, in a second run of this process too."""
    graphs, told = [], []
    for _ in range(2):
        events: list[Event] = []
        watching = replace(bench, report=events.append)
        found = watching.step(steps=4, compile_with_inductor=True, compilation_mode="default")
        _require_like(found, bench.plain, NEAR)
        graphs.append(sum(isinstance(e, Progress) and "compile" in e.phase for e in events) // 2)
        told = [e.message for e in events if isinstance(e, Notice) and "no effect" in e.message]
        if told:
            raise Skipped(told[0])
    if not all(graphs):
        raise Broken(f"graphs of the first run and the second: {graphs}")
    return f"{_told(bench, found)}; {graphs[0]} graphs"


def full_training(bench: Bench) -> str:
    """Without a LoRA all weights have the gradients that a CPU calculates in float32."""
    exact = bench.on_cpu().step(steps=1, training_mode="full", mixed_precision_mode="no")
    found = bench.step(training_mode="full", checkpointing=True)
    _require_like(found, exact, NEAR)
    return _told(bench, found)


def video_with_sound(bench: Bench) -> str:
    """Blocks of LTX-2 have the CPU's gradients, alone and with checkpointing and offloading."""
    ltx2 = replace(bench, kind=LTX_2)
    _require_like(ltx2.plain, ltx2.on_cpu().step(steps=1, mixed_precision_mode="no"), NEAR)
    saving = ltx2.step(steps=3, checkpointing=True, blocks_to_offload=LAYER_COUNT)
    _require_like(saving, ltx2.plain, EQUAL)
    _require_less(ltx2, saving)
    return f"{_told(ltx2, ltx2.plain)}; saving memory {_told(ltx2, saving)}"


def sampling(bench: Bench) -> str:
    """Samples with guidance, STG and a rescale are those of a CPU, in both families."""
    told = []
    for kind in (LTX_VIDEO, LTX_2):
        ours, expected = (
            _sampled(kind.miniature, device) for device in (bench.device, torch.device("cpu"))
        )
        for name, latents in expected.items():
            difference = float((ours[name] - latents).std() / latents.std())
            if not difference < 1 - NEAR:
                raise Broken(f"{name} of {kind.miniature} differs by {difference:.1%} of the CPU's")
            told.append(f"{name} of {kind.miniature} differs by {difference:.1e}")
    return ", ".join(told)


def _sampled(name: str, device: torch.device) -> dict[str, torch.Tensor]:
    model = open_model(name)
    shapes = model.family.latent_shapes(VideoSize(96, 96, 17), 25.0)
    denoiser = model.transformer.denoiser(model.load_transformer(torch.float32).to(device))
    prompt, negative = model.load_text_encoder().encode(["a red circle moves up", ""])
    settings = SamplerSettings(
        shapes,
        steps=2,
        guidance_scale=3.0,
        guidance_rescale=0.7,
        guidance_scales={AUDIO: 7.0},
        stg=SpatioTemporalGuidance(1.0, None, frozenset(shapes)),
    )
    return sample(denoiser, [SampleRequest(prompt, negative, 0)], settings)


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


def decoding_with_little_memory(bench: Bench) -> str:
    """Where the memory isn't enough, a sample is decoded in tiles or on the CPU, and nearly the same."""
    if not bench.is_accelerator:
        raise Skipped("a CPU has nothing to fall back to")
    source = open_model(MINIATURE)
    told: list[Event] = []
    latents = torch.randn(1, 128, 9, 16, 16, generator=torch.Generator().manual_seed(0))
    (whole,) = decode_videos(latents, source, bench.device)
    free_memory()
    size = max(0, free_bytes(bench.device) - _TOO_FEW_BYTES)
    filler = torch.empty(size, dtype=torch.uint8, device=bench.device)
    try:
        (video,) = decode_videos(latents, source, bench.device, told.append)
    finally:
        del filler
        free_memory()
    ways = [e.message.rpartition(" is decoded ")[2] for e in told if isinstance(e, Notice)]
    if not ways:
        raise Skipped("this device gives more memory than it has")
    difference = float((torch.from_numpy(video).float() - torch.from_numpy(whole)).abs().mean())
    if difference > _TILED_DIFFERENCE:
        raise Broken(f"{ways[-1]} pixels differ by {difference:.1f} of 255")
    return f"decoded {', then '.join(ways)}; pixels differ by {difference:.2f} of 255"


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
    *(training_step, half_precision, checkpointing, activations_on_host, offloading),
    *(full_training, lean_full_training, video_with_sound),
    *(quantization, quantized_matmul, optimizers, text_encoder_in_8_bits, sampling, decoding),
    *(decoding_with_little_memory, out_of_memory, memory_goes_back, whole_run, stopping),
    *(several_devices, compilation),
)
CHECKS: dict[str, Callable[[Bench], str]] = dict(zip(NAMES, _FUNCTIONS, strict=True))
