"""The hosts that node tests run on: the stand-in always, the real ComfyUI where there is one.

COMFYUI_PATH is a ComfyUI folder, COMFYUI_PYTHON the Python that runs it (by default this one).
"""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import Host

# The tests run side by side, and models this small are slower on two threads than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PACK = Path(__file__).parent.parent
PROBES = PACK / "tests" / "nodes" / "probes"


def pytest_collection_finish() -> None:
    """Every run collects garbage as it ends. What the imports of all tests made is none, and going
    through it takes half a second each time."""
    gc.collect()
    gc.freeze()


def start_comfyui(base: Path, environment: dict[str, str] | None = None) -> Host:
    from tests.comfyui.host import ComfyUIHost

    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.skip("COMFYUI_PATH is not set")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    return ComfyUIHost(base, [PACK, PROBES], Path(path), Path(python), environment)


KINDS = ["standin", pytest.param("comfyui", marks=pytest.mark.comfyui)]


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The stand-in: of one process there can be one."""
    from tests.standin.host import StandInHost

    host = StandInHost(tmp_path_factory.mktemp("standin").resolve() / "base", [PACK, PROBES])
    yield host
    host.close()


@pytest.fixture(scope="session", params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    if request.param == "standin":
        yield request.getfixturevalue("standin")
        return
    host = start_comfyui(tmp_path_factory.mktemp(request.param).resolve() / "base")
    yield host
    host.close()
