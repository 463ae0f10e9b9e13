from typing import ClassVar, Literal

from pydantic import field_validator

from ..base import Section, option

_SPECIFIED = {name: f"{name}-quanto" for name in ("int8", "int4", "int2", "fp8")}
"""The name that LTX-Video-Trainer has for the same numbers: files and run names have that one."""


class AccelerationConfig(Section):
    """The section `acceleration`."""

    summary: ClassVar[str] = "Precision, quantization and compilation."

    mixed_precision_mode: Literal["no", "fp16", "bf16"] = option(
        "bf16",
        "Precision of the forward pass. The LoRA's weights stay in float32. fp16 is for GPUs "
        "without bf16, with gradient scaling.",
    )
    quantization: (
        Literal[
            "int8-quanto",
            "int4-quanto",
            "int2-quanto",
            "fp8-quanto",
            "fp8uz-quanto",
            "int8",
            "int4",
            "int2",
            "fp8",
            "nf4",
        ]
        | None
    ) = option(
        None,
        "Quantize the frozen base weights to save memory: int8 and fp8 take half of bf16 and change "
        "little, int4 and nf4 a quarter, int2 an eighth. nf4 is that of QLoRA and "
        "needs bitsandbytes. int8 is the same as int8-quanto, and so on: quanto isn't needed.",
    )
    load_text_encoder_in_8bit: bool = option(
        False,
        "Hold the text encoder that encodes validation prompts in 8 bits (bitsandbytes).",
        advanced=True,
    )
    compile_with_inductor: bool = option(
        True,
        "Compile the transformer's blocks with torch.compile. The first step takes a minute or "
        "more; it needs Triton on a GPU and a C++ compiler on a CPU. It is skipped on a CPU and in runs of "
        "fewer than 200 steps, where it costs more time than it saves, unless you choose a "
        "compilation_mode.",
    )
    compilation_mode: Literal["default", "reduce-overhead", "max-autotune"] = option(
        "reduce-overhead",
        "What torch.compile optimizes for. default: the usual kernels, also in short runs and on a CPU. max-autotune: measures more "
        "kernels, which compiles longer. reduce-overhead: the usual kernels where they pay; it "
        "needs CUDA graphs, which can't be used when blocks are compiled one by one. Without "
        "compile_with_inductor no mode has an effect.",
        advanced=True,
    )
    blocks_to_offload: int = option(
        0,
        "Transformer blocks whose frozen weights stay in host memory; each block is copied to the GPU "
        "before it runs: less GPU memory, slower. Their activations are recomputed in the backward "
        "pass, as with gradient checkpointing. LTX-Video 2B has 28 blocks, 13B has 48.",
        ge=0,
        le=1000,
    )
    shard_model: bool = option(
        False,
        "Where several processes train one run: each holds a part of the base's weights (FSDP2), for a "
        "base that one card can't hold; slower. Full training always does so. No samples are made while such a "
        "run trains.",
        advanced=True,
    )
    load_text_encoder_in_4bit: bool = option(
        False,
        "Hold the text encoder that encodes validation prompts in 4 bits: a quarter of bfloat16's memory. It counts where 8 bits are "
        "chosen as well.",
        advanced=True,
    )
    quantized_matmul: bool = option(
        False,
        "Multiply in 8 bits (W8A8) where the base is in 8 bits: quantization int8 or fp8, or a file in fp8. What each layer is given is "
        "rounded to 8 bits for that, which changes a product by 1 % (int8) or 3 % (fp8). For cards that multiply 8 bits faster; others save "
        "no time by it.",
        advanced=True,
    )

    @field_validator("quantization")
    @classmethod
    def _as_specified(cls, kind: str | None) -> str | None:
        return _SPECIFIED.get(kind, kind) if kind else None
