from typing import ClassVar, Literal

from pydantic import model_validator

from .section import Section, option

SCHEDULER_PARAMS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("start_factor", "end_factor"),
    "cosine": ("eta_min",),
    "cosine_with_restarts": ("cycles", "eta_min"),
    "polynomial": ("power",),
}


class OptimizationConfig(Section):
    summary: ClassVar[str] = "Learning rate, batch, optimizer and schedule."

    learning_rate: float = option(
        1e-4, "Learning rate at the start of the schedule.", gt=0.0, le=1.0, step=1e-6
    )
    steps: int = option(3000, "Optimizer steps in all.", ge=1, le=10_000_000)
    batch_size: int = option(2, "Samples in a forward pass, per GPU.", ge=1, le=1024)
    gradient_accumulation_steps: int = option(
        1, "Forward passes whose gradients make one optimizer step.", ge=1, le=1024
    )
    max_grad_norm: float = option(
        1.0, "Gradients are clipped to this norm; 0 leaves them alone.", ge=0.0, le=1e6, step=0.01
    )
    optimizer_type: Literal["adamw", "adamw8bit"] = option(
        "adamw", "adamw, or adamw8bit with its state in 8 bits (bitsandbytes)."
    )
    scheduler_type: Literal[
        "constant", "linear", "cosine", "cosine_with_restarts", "polynomial"
    ] = option("linear", "How the learning rate changes over the run.")
    scheduler_params: dict[str, float] = option(
        {},
        "Parameters of the schedule, one 'name: value' per line. linear: start_factor, end_factor; "
        "cosine: eta_min; cosine_with_restarts: cycles, eta_min; polynomial: power.",
    )
    enable_gradient_checkpointing: bool = option(
        False, "Compute activations again in the backward pass: less memory, slower."
    )

    @model_validator(mode="after")
    def _known_scheduler_params(self) -> "OptimizationConfig":
        allowed = SCHEDULER_PARAMS[self.scheduler_type]
        unknown = sorted(set(self.scheduler_params) - set(allowed))
        if unknown:
            raise ValueError(
                f"scheduler_params {', '.join(unknown)}: the {self.scheduler_type} schedule takes "
                f"{', '.join(allowed) or 'none'}"
            )
        return self
