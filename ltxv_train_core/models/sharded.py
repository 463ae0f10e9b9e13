"""Tensors of which each process has a part (torch's DTensor), made whole and taken apart.

All processes must call these functions alike, in the same order.
"""

from typing import Any

from torch import Tensor


def is_part(tensor: Tensor) -> bool:
    """Whether this process has a part of a tensor alone. DTensor moved between releases of torch."""
    return hasattr(tensor, "full_tensor")


def whole(value: Any) -> Any:
    """The same value with whole tensors on the CPU in the place of parts, inside of dictionaries and lists
    too; what is whole stays as it is."""
    if isinstance(value, dict):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(each) for each in value)
    if isinstance(value, Tensor) and is_part(value):
        return value.full_tensor().cpu()  # type: ignore[attr-defined]
    return value


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that each has whole, distributed as another one is."""
    if not is_part(like) or is_part(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    part: Tensor = distribute_tensor(
        value.to(like.device),
        like.device_mesh,  # type: ignore[attr-defined]
        like.placements,  # type: ignore[attr-defined]
        src_data_rank=None,
    )
    return part


def local(tensor: Tensor) -> Tensor:
    """The numbers that lie in this process."""
    return tensor.to_local() if is_part(tensor) else tensor  # type: ignore[attr-defined]
