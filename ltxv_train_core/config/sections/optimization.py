from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import model_validator

from ..base import Section, option

SCHEDULER_PARAMS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("start_factor", "end_factor"),
    "cosine": ("eta_min",),
    "cosine_with_restarts": ("cycles", "eta_min"),
    "polynomial": ("power",),
}

# It multiplies the rate that Prodigy finds itself: the usual 2e-4 stops all learning.
PRODIGY_LEAST_RATE = 0.01


class OptimizationConfig(Section):
    """The section `optimization`."""

    summary: ClassVar[str] = "Learning rate, batch, optimizer and schedule."

    learning_rate: float = option(
        1e-4,
        "Learning rate at the start of the schedule. For prodigy and prodigy_schedulefree it is a factor on the rate that "
        "it finds: set it to 1.",
        gt=0.0,
        le=1.0,
        step=1e-6,
    )
    steps: int = option(3000, "Total optimizer steps.", ge=1, le=10_000_000)
    batch_size: int = option(2, "Samples in a forward pass, per GPU.", ge=1, le=1024)
    gradient_accumulation_steps: int = option(
        1,
        "Forward passes whose gradients are added up for one optimizer step.",
        ge=1,
        le=1024,
        advanced=True,
    )
    max_grad_norm: float = option(
        1.0,
        "Gradients are clipped to this norm; 0 turns clipping off.",
        ge=0.0,
        le=1e6,
        step=0.01,
        advanced=True,
    )
    optimizer_type: Literal[
        "adamw",
        "adamw8bit",
        "prodigy",
        "adafactor",
        "adamw_schedulefree",
        "lion",
        "came",
        "muon",
        "prodigy_schedulefree",
    ] = option(
        "adamw",
        "adamw8bit: optimizer state in 8 bits (bitsandbytes). prodigy: finds the learning rate "
        "itself. adafactor: second moments of rows and columns only. adamw_schedulefree: "
        "averages the weights instead of lowering the rate. lion: steps of one size, at a third to a tenth of "
        "adamw's rate. came: adafactor with a measure of its own errors. muon: orthogonal steps, at adamw's rate; for "
        "matrices alone. prodigy_schedulefree: both in one.",
    )
    scheduler_type: Literal[
        "constant", "linear", "cosine", "cosine_with_restarts", "polynomial"
    ] = option("linear", "How the learning rate changes over the run.")
    scheduler_params: dict[str, float] = option(
        {},
        "Parameters of the schedule, one 'name: value' per line. linear: start_factor, end_factor "
        "(0 to 1); cosine: eta_min (0 to learning_rate); cosine_with_restarts: cycles, eta_min; "
        "polynomial: power.",
        advanced=True,
    )
    enable_gradient_checkpointing: bool = option(
        False, "Recompute activations in the backward pass: less memory, slower."
    )
    warmup_steps: int = option(
        0,
        "Optimizer steps over which the learning rate rises to its full value; the schedule runs "
        "over the rest.",
        ge=0,
        le=10_000_000,
        advanced=True,
    )
    ema_decay: float | None = option(
        None,
        "Decay of an exponential moving average of the trained weights (0.99 to 0.9999). Validation "
        "samples use the average, and it gets its own LoRA file, ending in -ema.",
        gt=0.0,
        le=0.99999,
        step=1e-5,
        advanced=True,
    )

    max_non_finite_steps: int = option(
        10,
        "A step whose loss is NaN or infinite is skipped: it never reaches the weights. After this many "
        "in a row the run fails.",
        ge=1,
        le=10_000,
        advanced=True,
    )
    early_stopping_patience: int | None = option(
        None,
        "The run ends by itself after so many steps without a lower held-out loss (data.held_out_clips). It is finished "
        "then, and its best step is marked.",
        ge=1,
        le=10_000_000,
        advanced=True,
    )
    checkpointing_budget: float | None = option(
        None,
        "GiB that a step may keep for its backward pass; never more than nine tenths of what is free on the "
        "device. Activations are recomputed in as few blocks as that takes: with 1000 in none that would fit. "
        "Empty: in none, or in all with enable_gradient_checkpointing.",
        gt=0.0,
        le=1000.0,
        step=0.1,
        advanced=True,
    )

    trained_weights: Literal["float32", "bf16"] = option(
        "float32",
        "What full training holds the weights in. bf16: weights, gradients and adamw's moments take half of the "
        "memory; updates are rounded up or down by chance (stochastic rounding), so that small ones add up too. Needs "
        "optimizer_type adamw and mixed_precision_mode bf16.",
        advanced=True,
    )
    release_gradients: bool = option(
        False,
        "Each weight is updated during the backward pass, as soon as its gradient is there, which is released "
        "then: the memory of all gradients is saved. max_grad_norm is shared among the weights, each is clipped by itself. Not "
        "with gradient_accumulation_steps, fp16 and several processes; for adamw, adamw8bit and adafactor.",
        advanced=True,
    )
    ema_on_host: bool = option(
        False,
        "The average of ema_decay lies in host memory: 4 bytes less on the device for each trained number; each step "
        "waits for a copy of the weights.",
        advanced=True,
    )

    preservation: Literal["none", "blank_prompt", "differential_output"] = option(
        "none",
        "Keeps what the base model predicts without what is to be learned, as a second target of each step. blank_prompt: "
        "for the empty caption. differential_output: for the caption with preservation_class in place of the trigger "
        "word. Steps take about twice as long. For LoRAs.",
        advanced=True,
    )
    preservation_weight: float = option(
        1.0,
        "Weight of the preservation loss beside the training loss.",
        gt=0.0,
        le=100.0,
        step=0.01,
        advanced=True,
    )
    preservation_trigger: str = option(
        "",
        "The word that differential_output replaces in each caption. Empty: the trigger word that the data set was "
        "preprocessed with.",
        advanced=True,
    )
    preservation_class: str = option(
        "",
        "What differential_output writes in its place: what the model would call it, such as dog for a certain dog.",
        advanced=True,
    )
    prior_weight: float = option(
        1.0,
        "Weight of the loss of the clips in data.prior_data_root.",
        gt=0.0,
        le=100.0,
        step=0.01,
        advanced=True,
    )
    activations_on_host: bool = option(
        False,
        "Keep the inputs of blocks whose activations are computed again in memory of the host, from where they come "
        "back in the backward pass. Only used with enable_gradient_checkpointing, checkpointing_budget or "
        "acceleration.blocks_to_offload.",
        advanced=True,
    )

    @property
    def finds_its_rate(self) -> bool:
        """Whether `learning_rate` is a factor on what the optimizer finds."""
        return self.optimizer_type in ("prodigy", "prodigy_schedulefree")

    @model_validator(mode="after")
    def _takes_released_gradients(self) -> "OptimizationConfig":
        if not self.release_gradients:
            return self
        if self.gradient_accumulation_steps > 1:
            raise ValueError(
                f"release_gradients: gradient_accumulation_steps {self.gradient_accumulation_steps} needs the gradients "
                "of several forward passes together; set it to 1, or switch release_gradients off"
            )
        if self.optimizer_type not in ("adamw", "adamw8bit", "adafactor"):
            raise ValueError(
                f"release_gradients: optimizer_type {self.optimizer_type} needs all gradients together; choose adamw, "
                "adamw8bit or adafactor, or switch release_gradients off"
            )
        return self

    @model_validator(mode="after")
    def _can_preserve(self) -> "OptimizationConfig":
        if self.preservation == "differential_output" and not self.preservation_class.strip():
            raise ValueError(
                "preservation differential_output: preservation_class is empty; write what stands in place of the trigger "
                "word, such as dog, or choose blank_prompt"
            )
        if self.preservation != "none" and self.release_gradients:
            raise ValueError(
                f"preservation {self.preservation}: adds a second backward pass, and release_gradients moves weights in "
                "each; switch one of them off"
            )
        return self

    @model_validator(mode="after")
    def _one_way_of_checkpointing(self) -> "OptimizationConfig":
        if self.enable_gradient_checkpointing and self.checkpointing_budget is not None:
            raise ValueError(
                f"checkpointing_budget {self.checkpointing_budget:g}: enable_gradient_checkpointing recomputes "
                "all blocks already; switch it off, or leave the budget empty"
            )
        return self

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

    @model_validator(mode="after")
    def _usable_scheduler_params(self) -> "OptimizationConfig":
        rules: dict[str, tuple[Callable[[float], bool], str]] = {
            "start_factor": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
            "end_factor": (lambda value: 0 <= value <= 1, "between 0 and 1"),
            "eta_min": (
                lambda value: 0 <= value <= self.learning_rate,
                f"between 0 and learning_rate ({self.learning_rate:g})",
            ),
            "cycles": (lambda value: 0 < value <= 10_000, "above 0 and at most 10000"),
            "power": (lambda value: 0 < value <= 100, "above 0 and at most 100"),
        }
        broken = [
            f"{name} {value:g}: must be {rules[name][1]}"
            for name, value in self.scheduler_params.items()
            if not rules[name][0](value)
        ]
        if broken:
            raise ValueError(f"scheduler_params {'; '.join(broken)}")
        return self

    @model_validator(mode="after")
    def _time_after_the_warmup(self) -> "OptimizationConfig":
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps}: must be smaller than steps ({self.steps})"
            )
        return self

    @model_validator(mode="after")
    def _suits_the_optimizer(self) -> "OptimizationConfig":
        if self.finds_its_rate and self.learning_rate < PRODIGY_LEAST_RATE:
            raise ValueError(
                f"learning_rate {self.learning_rate:g}: {self.optimizer_type} multiplies the rate that it finds "
                f"by it; set it to 1 (at least {PRODIGY_LEAST_RATE:g})"
            )
        if not self.optimizer_type.endswith("schedulefree"):
            return self
        if self.scheduler_type != "constant":
            raise ValueError(
                f"scheduler_type {self.scheduler_type}: {self.optimizer_type} replaces the schedule; "
                "set it to constant (warmup_steps may be used)"
            )
        if self.ema_decay is not None:
            raise ValueError(
                f"ema_decay {self.ema_decay:g}: {self.optimizer_type} averages the weights already; "
                "leave it empty"
            )
        return self
