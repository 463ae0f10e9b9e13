"""Whether an error says that memory was not enough. The one place that knows, by type and by text. No torch."""

import re

_OF_A_DEVICE = re.compile(
    r"(CUDA|HIP|MPS|XPU)\b.*out of memory"
    r"|(CU|HIP|ROC)(BLAS|DNN|BLASLT)_STATUS_(ALLOC_FAILED|MEMORY_ERROR)"
    r"|(UR|PI|ZE)_(RESULT_)?ERROR_OUT_OF_(DEVICE_MEMORY|RESOURCES)"  # Intel's drivers
    r"|Invalid buffer size: [\d.]+ [KMG]i?B",  # Apple's, of a tensor that is too large alone
    re.IGNORECASE,
)
_OF_THE_HOST = re.compile(
    r"can't allocate memory|not enough memory|Cannot allocate|ERROR_OUT_OF_HOST_MEMORY",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the accelerator or of the computer was not enough."""
    return lacks_device_memory(error) or lacks_host_memory(error)


def lacks_device_memory(error: BaseException) -> bool:
    """Whether the memory of the accelerator was not enough."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or bool(_OF_A_DEVICE.search(str(error)))


def lacks_host_memory(error: BaseException) -> bool:
    """Whether the memory of the computer was not enough."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_OF_THE_HOST.search(str(error)))
