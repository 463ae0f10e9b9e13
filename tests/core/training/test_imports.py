"""What the trainer spares until a run needs it: seconds at each start of a graph, and memory of ComfyUI."""

import subprocess
import sys


def test_the_trainer_waits_with_compilers_and_model_libraries():
    libraries = (
        "{'torch._dynamo', 'torch._inductor', 'sympy', 'torchvision', 'bitsandbytes', 'diffusers', "
        "'transformers', 'peft'}"
    )
    code = f"import sys, ltxv_train_core.training.trainer; print(sorted({libraries} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
