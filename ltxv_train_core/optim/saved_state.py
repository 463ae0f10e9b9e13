"""Takes over saved states of optimizers and schedules, which anybody may have written.

What is damaged, or of another run, raises `KeyError`, `TypeError`, `ValueError` or `RuntimeError`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..models.sharded import is_part, local, part_of
from ..storage.tensors import is_finite

# Of the optimizers that `optimizers` builds: what is as large as the parameter.
_LIKE_THE_PARAMETER = {"exp_avg", "exp_avg_sq", "state1", "state2", "z", "momentum_buffer"}
_IN_A_FORMAT_OF_ITS_OWN = {"p0", "s"}
"""Of prodigy_schedulefree, in bfloat16."""
_OF_THE_DEVICE = {"fused", "foreach"}
"""How an optimizer computes; not what. A state goes on on another device."""


def count(value: object) -> int:
    """A number of steps."""
    if type(value) is not int or value < 0:
        raise ValueError("a number of steps is none")
    return value


def known_numbers(own: Iterable[str], saved: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a saved state under the names that its reader has.

    Raises:
        KeyError, ValueError: one of them is missing, or is no finite number.
    """
    numbers = {}
    for name in own:
        value = saved[name]
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
        ):
            raise ValueError(f"{name} is no number")
        numbers[name] = value
    return numbers


def load_schedule(schedule: LambdaLR, saved: dict[str, Any]) -> None:
    """Another release of torch may have saved other names: those that this one knows are taken."""
    own = schedule.state_dict()
    count(saved["last_epoch"])
    if not all(math.isfinite(rate) for rate in saved["base_lrs"]):
        raise ValueError("a learning rate is not finite")
    for name in own.keys() & saved.keys():
        if type(saved[name]) is not type(own[name]):
            raise TypeError(f"{name} of the schedule is of another kind")
    if len(saved["base_lrs"]) != len(own["base_lrs"]):
        raise ValueError("the schedule is of another optimizer")
    schedule.load_state_dict({name: saved.get(name, own[name]) for name in own})


def load_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Loads a saved state into an optimizer of the same kind.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the state is damaged, or of another run.
    """
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    taken = []
    for own, group in zip(groups, saved["param_groups"], strict=True):
        for name in own.keys() & group.keys() - _OF_THE_DEVICE:
            if _kind(group[name]) != _kind(own[name]):
                raise TypeError(f"{name} of the optimizer is of another kind")
        taken.append(group | {name: own[name] for name in own.keys() & _OF_THE_DEVICE})
    saved = saved | {"param_groups": taken}
    optimizer.load_state_dict(_in_parts(optimizer, saved))
    _keep_formats(optimizer, saved["state"])
    for parameter, state in optimizer.state.items():
        if not isinstance(step := state.get("step", 0), Tensor):
            count(step)
        for name, value in state.items():
            like = name in _LIKE_THE_PARAMETER
            if like and not (isinstance(value, Tensor) and value.shape == parameter.shape):
                raise ValueError(f"{name} of the optimizer is of another model")
            if like and not is_finite(local(value)):
                raise ValueError(f"{name} of the optimizer holds NaN or infinite numbers")


def _keep_formats(optimizer: Optimizer, saved: dict[int, dict[str, Any]]) -> None:
    """torch gives all that it loads the parameter's number format; what is held in another one sums up otherwise then."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, values in saved.items():
        for name in values.keys() & _IN_A_FORMAT_OF_ITS_OWN:
            if isinstance(values[name], Tensor) and values[name].is_floating_point():
                state = optimizer.state[parameters[number]]
                state[name] = state[name].to(values[name].dtype)


def _in_parts(optimizer: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved state, of which this process has a part where it has a part of the parameter."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(map(is_part, parameters)):
        return saved
    state = {
        number: {
            name: part_of(value, parameters[number])
            if isinstance(value, Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in values.items()
        }
        for number, values in saved["state"].items()
    }
    return saved | {"state": state}


def _kind(value: Any) -> Any:
    """What may stand in the place of a value: a number for a number, one of two for one of two."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number" if math.isfinite(value) else "not finite"
    if isinstance(value, list | tuple):
        return [_kind(one) for one in value]
    return type(value)
