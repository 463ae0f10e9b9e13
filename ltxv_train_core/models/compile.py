"""Compiles a transformer's blocks for one run.

dynamo keeps a few graphs for each function of a process, and then runs it without being compiled and says
nothing. Here every run begins without graphs, sizes of clips and captions are no part of them, and what is
left out is said.
"""

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..config import AccelerationConfig
from ..errors import Cancelled
from ..events import NeverStop, Notice, Progress, Reporter, StopSignal
from .interrupt import interrupted_by
from .transformer import Transformer

# Blocks that are compiled one by one overwrite each other's results in CUDA graphs when they sample,
# compute activations again or accumulate gradients (pytorch/pytorch#152887, #169545).
_WITHOUT_CUDA_GRAPHS = {
    "reduce-overhead": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}


DEFAULT_MODE = AccelerationConfig.model_fields["compilation_mode"].default
_LEAST_STEPS = 200
"""A GPU compiles for a minute or more and then saves a quarter of a step that takes about a second."""
SAVED_SHARE = 0.7
"""Of the activations that a graph would save for backward by itself, with which it is fastest."""
MOST_GRAPHS = 32
"""Of a run: training and sampling, with and without a gradient of the input, one sample and several, with and
without padding and references. Those of LTX-2 times two."""


def compile_blocks(
    transformer: Transformer,
    options: AccelerationConfig,
    steps: int,
    report: Reporter,
    left_out: Sequence[int] = (),
    stop: StopSignal | None = None,
) -> bool:
    """Compiles each block in place, so that parameter names stay as they are.

    Where the device has no compiler, says so and leaves the model alone. So it does where compiling costs
    more time than it saves, unless a mode was chosen.

    Args:
        steps: of the run.
        left_out: numbers of blocks that stay as they are.
        stop: ends the compiling as well.

    Returns:
        Whether the blocks will be compiled, in the first step.
    """
    if not options.compile_with_inductor:
        return False
    device = transformer.device.type
    if reason := why_not(options, steps, device):
        report(
            Notice(
                f"the model is not compiled: {reason}. Choose a compilation_mode other than "
                f"{DEFAULT_MODE} to compile it nonetheless"
            )
        )
        return False
    if missing := _missing_compiler(device):
        report(Notice(f"acceleration.compile_with_inductor has no effect here: {missing}"))
        return False
    compiler = _Compiler(options.compilation_mode, report, stop or NeverStop())
    for number, block in enumerate(transformer.transformer_blocks):
        if number not in left_out:
            block.forward = compiler.compiled(block.forward)
    report(Notice("compiling the model: the first step takes a minute or more"))
    return True


class _Compiler:
    """Compiles the functions of one run with inductor.

    Attributes:
        graphs: how many it has compiled.
    """

    def __init__(self, mode: str, report: Reporter, stop: StopSignal):
        self._options = torch._inductor.list_mode_options(_WITHOUT_CUDA_GRAPHS.get(mode, mode))
        self._report, self._stop = report, stop
        self._is_told = False
        self.graphs = 0

    def compiled(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A function that does what `forward` does, faster after its first calls."""
        code = getattr(forward, "__func__", forward).__code__
        torch._dynamo.reset_code(code)  # graphs of earlier runs
        limit_hit = _limit_hit()
        fast = torch.compile(forward, backend=self._backend, dynamic=True)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                with torch._dynamo.config.patch(
                    cache_size_limit=MOST_GRAPHS, fail_on_cache_limit_hit=True
                ):
                    return fast(*args, **kwargs)
            except limit_hit:
                self._tell_limit()
                return forward(*args, **kwargs)
            except torch._dynamo.exc.BackendCompilerFailed as error:
                if isinstance(error.inner_exception, Cancelled):
                    raise error.inner_exception from None
                raise

        return call

    def _backend(self, graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        budget = {
            "activation_memory_budget": SAVED_SHARE,
            "activation_memory_budget_solver": "greedy",  # the others take minutes for large blocks
        }
        with torch._functorch.config.patch(budget), interrupted_by(self._stop):
            return compile_fx(
                graph, inputs, inner_compile=self._compile, config_patches=dict(self._options)
            )

    def _compile(self, *args: Any, **kwargs: Any) -> Any:
        """Compiles the forward or the backward pass of a graph."""
        from torch._inductor import compile_fx

        self._report(Progress("compile model", self.graphs, self.graphs + 1, "graph"))
        with interrupted_by(self._stop):  # the backward pass may be compiled later than its graph
            compiled = compile_fx.compile_fx_inner(*args, **kwargs)
        self.graphs += 1
        self._report(Progress("compile model", self.graphs, self.graphs, "graph"))
        return compiled

    def _tell_limit(self) -> None:
        if not self._is_told:
            self._is_told = True
            text = (
                f"some blocks run without being compiled: the run has needed {MOST_GRAPHS} graphs"
            )
            self._report(Notice(text, is_problem=True))


def _limit_hit() -> tuple[type[Exception], ...]:
    """By the names that torch gives it, the older one before 2.6. Asking imports the compiler."""
    names = ("FailOnRecompileLimitHit", "FailOnCacheLimitHit")
    found = (getattr(torch._dynamo.exc, name, None) for name in names)
    return tuple(each for each in found if each is not None)


def why_not(options: AccelerationConfig, steps: int, device_type: str) -> str | None:
    """Why compiling costs a run more time than it saves; None where it doesn't, or a mode was chosen."""
    if options.compilation_mode != DEFAULT_MODE:
        return None
    if device_type == "cpu":
        return "on a CPU it takes longer than it saves"
    if steps < _LEAST_STEPS:
        return f"a run of {steps} steps ends before it pays, at about {_LEAST_STEPS}"
    return None


def _missing_compiler(device_type: str) -> str | None:
    if device_type == "cuda":
        return None if importlib.util.find_spec("triton") else "Triton is not installed"
    if device_type == "cpu":
        found = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
        return None if found else "there is no C++ compiler"
    return f"torch.compile is not used on {device_type}"
