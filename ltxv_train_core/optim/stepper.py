"""Moves the trained weights: one optimizer step and all that belongs to it."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..errors import NotFiniteError
from ..events import Notice, Reporter
from ..models.sharded import whole
from .ema import WeightAverage
from .optimizers import FACTOR, build_optimizer, final_weights
from .released import ReleasedGradients
from .saved_state import count, known_numbers, load_optimizer, load_schedule
from .schedules import build_schedule, set_learning_rates

# A step in fp16 that still overflows without any scale will not recover.
LEAST_GRADIENT_SCALE = 1.0


class OptimizerStepper:
    """Optimizer, schedule, clipping, the gradient scale of fp16 and the average of the weights.

    Attributes:
        average: of the weights, where `optimization.ema_decay` is set.
        moves_in_backward: whether weights move during the backward pass, see `optimization.release_gradients`.
        skipped_steps: steps that were skipped because the loss or gradients were not finite.
        moved_steps: steps that reached the weights.
    """

    def __init__(
        self,
        config: TrainingConfig,
        parameters: list[torch.nn.Parameter],
        device: torch.device,
        report: Reporter,
        rates: Sequence[float] | None = None,
    ):
        """
        Args:
            rates: what the learning rate of each parameter is multiplied with.
        """
        options = config.optimization
        self.parameters, self.report = parameters, report
        self.max_norm = options.max_grad_norm or math.inf
        self.optimizer = build_optimizer(options, parameters, config.seed, rates)
        self.schedule = build_schedule(options, self.optimizer)
        fp16 = config.acceleration.mixed_precision_mode == "fp16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)
        decay, on_host = options.ema_decay, options.ema_on_host
        self.average = None if decay is None else WeightAverage(parameters, decay, on_host)
        self._released = (
            ReleasedGradients(self.optimizer, parameters, self.max_norm)
            if options.release_gradients
            else None
        )
        self.skipped_steps = self.moved_steps = 0
        self._in_a_row = 0
        self._most_in_a_row = options.max_non_finite_steps

    @property
    def moves_in_backward(self) -> bool:
        return self._released is not None

    @property
    def learning_rate(self) -> float:
        """Of the next step, without the factors of layers; for prodigy, times the rate that it has found."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]) / float(group.get(FACTOR, 1.0)) * float(group.get("d", 1.0))

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss to those of the step, scaled where fp16 needs it.

        Where they are released, weights move here; of a loss that isn't finite there are none.
        """
        if self._released and not torch.isfinite(loss):
            return
        if not loss.requires_grad:
            # None of the trained weights took part, as of clips without sound where those of the sound are trained.
            # Gradients of 0 keep all that follows as it is: scaling, clipping, other processes.
            loss = loss + sum(0.0 * parameter.sum() for parameter in self.parameters)
        self.scaler.scale(loss).backward()

    def clip(self) -> Tensor:
        """Clips the gradients of a step; returns their norm before that, on the device."""
        if self._released:
            return self._released.norm()
        self.scaler.unscale_(self.optimizer)
        return torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)

    def step(self, number: int, loss: float, norm: float, clips: str = "") -> None:
        """Moves weights and schedule; a step that isn't finite never reaches the weights.

        Args:
            number: of the step, for messages.
            loss: of the step.
            norm: of its gradients.
            clips: what is said of them, when the step is not finite.
        """
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self._in_a_row = 0
            self.moved_steps += 1
            if not self._released:
                self.scaler.step(self.optimizer)
            if self.average:
                self.average.update()
        else:
            self._skip(number, loss, clips)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        with warnings.catch_warnings():
            if not finite:  # torch would warn of a schedule that moves before the weights
                warnings.simplefilter("ignore", UserWarning)
            self.schedule.step()

    def require_finite(self) -> None:
        """Raises `NotFiniteError` when too many steps in a row were skipped."""
        if self._in_a_row >= self._most_in_a_row:
            self._in_a_row = 0  # a run that is resumed gets as many again
            raise NotFiniteError(
                f"the loss was not finite {self._most_in_a_row} steps in a row: lower "
                "optimization.learning_rate, or set acceleration.mixed_precision_mode to bf16 "
                "or no"
            )

    def require_moved(self) -> None:
        """Raises `NotFiniteError` when no step has reached the weights."""
        if self.moved_steps == 0:
            raise NotFiniteError(
                "every step was skipped, so the weights did not change: look at the clips that are named above, "
                "lower optimization.learning_rate, or set acceleration.mixed_precision_mode to bf16 "
                "or no"
            )

    @contextmanager
    def final_weights(self) -> Iterator[None]:
        """Within the block, parameters hold the weights to hand out; see `final_weights`."""
        with final_weights(self.optimizer):
            yield

    @contextmanager
    def weights_to_sample(self) -> Iterator[None]:
        """Within the block, parameters hold the average where there is one, else the final
        weights."""
        with self.average.applied() if self.average else final_weights(self.optimizer):
            yield

    def state_dict(self) -> dict[str, object]:
        """All that `load_state_dict` needs to continue: plain values and tensors."""
        state: dict[str, object] = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "skipped_steps": self.skipped_steps,
            "skipped_in_a_row": self._in_a_row,
            "moved_steps": self.moved_steps,
        }
        return whole(state)  # type: ignore[no-any-return]

    def load_state_dict(self, state: dict[str, Any], new_schedule: bool = False) -> None:
        """Continues from a saved state.

        Args:
            new_schedule: start this run's schedule, learning rate and average instead of continuing
                those of the state; the optimizer's moments are taken from it.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state is damaged, or of another run.
        """
        load_optimizer(self.optimizer, state["optimizer"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(known_numbers(self.scaler.state_dict(), state["scaler"]))
        if not new_schedule:
            load_schedule(self.schedule, state["schedule"])
            self.skipped_steps = count(state["skipped_steps"])
            self._in_a_row = count(state["skipped_in_a_row"])
            # Earlier versions wrote no such number.
            self.moved_steps = count(state.get("moved_steps", 1))
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])
        else:
            self.begin_average()
        set_learning_rates(self.schedule)

    def begin_average(self) -> None:
        """Begins the average, where there is one, with the weights as they are now."""
        if self.average:
            self.average = self.average.anew()

    def _skip(self, number: int, loss: float, clips: str) -> None:
        """Counts and reports a skipped step; `require_finite` ends the run after too many in a row.

        In fp16 gradients overflow until the scale is low enough. This is how the scaler finds its
        scale, so it is not counted.
        """
        scale = self.scaler.get_scale()
        if self.scaler.is_enabled() and math.isfinite(loss) and scale > LEAST_GRADIENT_SCALE:
            self.report(
                Notice(
                    f"step {number}: gradients overflowed fp16 at scale {scale:g}; it is lowered"
                )
            )
            return
        self._in_a_row += 1
        self.skipped_steps += 1
        about = f" ({clips})" if clips else ""
        what = f"step {number} skipped: the loss is NaN or infinite{about}"
        if self._released and math.isfinite(loss):
            what = f"step {number}: weights whose gradients are NaN or infinite moved without them{about}"
        self.report(Notice(what, is_problem=True))
