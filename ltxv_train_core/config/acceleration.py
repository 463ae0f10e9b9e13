from typing import ClassVar, Literal

from .section import Section, option


class AccelerationConfig(Section):
    summary: ClassVar[str] = "Precision, quantization and compilation."

    mixed_precision_mode: Literal["no", "fp16", "bf16"] = option(
        "bf16", "Precision of the forward pass; the LoRA itself always stays in float32."
    )
    quantization: (
        Literal["int8-quanto", "int4-quanto", "int2-quanto", "fp8-quanto", "fp8uz-quanto"] | None
    ) = option(None, "Quantize the frozen base weights to save memory.")
    load_text_encoder_in_8bit: bool = option(False, "Load the text encoder in 8 bits.")
    compile_with_inductor: bool = option(
        True,
        "Compile the transformer's blocks with torch.compile. The first step takes a minute or "
        "more; it needs a C++ compiler on a CPU and Triton on a GPU.",
    )
    compilation_mode: Literal["default", "reduce-overhead", "max-autotune"] = option(
        "reduce-overhead", "What torch.compile optimizes for."
    )
