"""Models are loaded while another thread is the first that imports diffusers, as ComfyUI's threads do."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading, time
from ltxv_train_core.families.open import open_model

threading.Thread(target=lambda: __import__("diffusers")).start()
while "diffusers" not in sys.modules:
    time.sleep(0.001)
open_model("LTX2_MINIATURE").load_vae()
"""


@pytest.mark.long
def test_a_model_is_loaded_while_diffusers_is_imported():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
