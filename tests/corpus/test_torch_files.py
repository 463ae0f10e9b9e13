"""`.pt` files of LTX-Video-Trainer's layout and states of checkpoints, of any content."""

import collections
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.training.checkpoint import (
    STATE,
    WEIGHTS,
    TrainingState,
    load_latest,
    save_checkpoint,
)
from tests.corpus.judge import Case, judge, parameters, seeded
from tests.corpus.tensor_files import write_tensors

GOOD = {"latents": torch.ones(4, 128), "num_frames": 1, "height": 2, "width": 2, "fps": 24.0}
TEXT = {"prompt_embeds": torch.ones(6, 8), "prompt_attention_mask": torch.ones(6)}
NAN, INF = float("nan"), float("inf")


class Evil:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.path.join(tempfile.gettempdir(), "corpus-was-run"),))  # noqa: PTH118


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def laughs(count: int) -> Any:
    value: Any = ["x"] * 9
    for _ in range(count):
        value = [value] * 9
    return value


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Any] = {
    "list": [1],
    "number": 5,
    "tensor": torch.ones(3),
    "text": "x",
    "none": None,
    "empty": {},
    "evil": {"latents": Evil()},
    "deep": nested(150),
    "itself": itself(),
    "laughs": laughs(12),
}
LATENTS: dict[str, dict[str, Any]] = {
    "latents text": {"latents": "x"},
    "latents none": {"latents": None},
    "latents of one dimension": {"latents": torch.ones(512)},
    "latents of no dimension": {"latents": torch.tensor(1.0)},
    "no latents": {"latents": torch.ones(0, 128)},
    "latents of integers": {"latents": torch.ones(4, 128).long()},
    "latents of bools": {"latents": torch.ones(4, 128).bool()},
    "complex latents": {"latents": torch.ones(4, 128) * 1j},
    "narrow latents": {"latents": torch.ones(4, 64)},
    "wide latents": {"latents": torch.ones(4, 256)},
    "too few": {"latents": torch.ones(3, 128)},
    "sparse": {"latents": torch.ones(4, 128).to_sparse()},
    "giant": {
        "latents": torch.ones(1, 128).expand(2**30, 128),
        "num_frames": 2**10,
        "height": 2**10,
        "width": 2**10,
    },
    "giant counts": {"num_frames": 2**62, "height": 2**62},
    "huge counts": {"num_frames": 10**400},
    "no frames": {"num_frames": 0},
    "negative": {"num_frames": -1, "height": -2},
    "negative counts that fit": {"num_frames": 1, "height": -2, "width": -2},
    "frames text": {"num_frames": "1"},
    "frames none": {"num_frames": None},
    "frames list": {"num_frames": [1]},
    "frames nan": {"num_frames": NAN},
    "frames tensor of two": {"num_frames": torch.ones(2)},
    "frames tensor nan": {"num_frames": torch.tensor(NAN)},
    "frames complex": {"num_frames": torch.tensor(1j)},
    "fps nan": {"fps": NAN},
    "fps inf": {"fps": INF},
    "fps negative": {"fps": -1},
    "fps text": {"fps": "24"},
    "fps list": {"fps": [24]},
    "fps of two": {"fps": torch.ones(2)},
    "fps huge": {"fps": 10**400},
    "fps tensor nan": {"fps": torch.tensor(NAN)},
    "fps object": {"fps": {}},
}
CONDITIONS: dict[str, dict[str, Any]] = {
    "embeds text": {"prompt_embeds": "x"},
    "embeds none": {"prompt_embeds": None},
    "embeds of one dimension": {"prompt_embeds": torch.ones(6)},
    "embeds of integers": {"prompt_embeds": torch.ones(6, 8).long()},
    "no embeds": {"prompt_embeds": torch.ones(0, 8)},
    "mask none": {"prompt_attention_mask": None},
    "mask short": {"prompt_attention_mask": torch.ones(5)},
    "mask long": {"prompt_attention_mask": torch.ones(7)},
    "mask of nothing": {"prompt_attention_mask": torch.zeros(6)},
    "mask text": {"prompt_attention_mask": "x"},
    "another width": {"prompt_embeds": torch.ones(6, 9)},
    "giant embeds": {"prompt_embeds": torch.ones(1, 1).expand(6, 2**40)},
}
STATES: dict[str, Any] = VALUES | {
    "giant": {"a": torch.ones(1).expand(2**34)},
    "counter": collections.Counter("abc"),
    "over each other": {str(i): torch.ones(2**20)[: 2**20] for i in range(2)},
}


def packed(path: Path) -> None:
    """The same, deflated, with a part of gigabytes of zeros."""
    torch.save(GOOD, path)
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open(f"{path.stem}/data/9", "w") as bomb:
            for _ in range(64):
                bomb.write(bytes(2**22))


def claiming(path: Path) -> None:
    """A storage that the pickle says to be far larger than its part."""
    torch.save(GOOD | {"latents": torch.ones(4096)}, path)
    content = path.read_bytes()
    at = content.index(b"M\x00\x10", content.index(b"FloatStorage"))
    path.write_bytes(content[:at] + b"M\xff\xff" + content[at + 3 :])


WRITERS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(b"torn"),
    "zeros": lambda path: path.write_bytes(bytes(10**6)),
    "pickle": lambda path: path.write_bytes(pickle.dumps({"latents": Evil()}, protocol=2)),
    "opcodes": lambda path: path.write_bytes(b"\x80\x02" + b"N0" * 10**7 + b"N."),
    "old format": lambda path: torch.save(GOOD, path, _use_new_zipfile_serialization=False),
    "a zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "packed": packed,
    "claiming": claiming,
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "nowhere": lambda path: path.symlink_to("/nowhere"),
    "many values": lambda path: torch.save(list(range(3_000_000)), path),
}


def saving(value: Any) -> Callable[[Path], Any]:
    return lambda path: torch.save(value, path)


def cut(number: int) -> Callable[[Path], Any]:
    """A good file with some bytes changed or its end lost."""

    def write(path: Path) -> None:
        random = seeded("pt", number)
        torch.save(GOOD, path)
        content = bytearray(path.read_bytes())
        for _ in range(random.randint(1, 5)):
            content[random.randrange(len(content))] = random.randrange(256)
        path.write_bytes(content[: random.choice((len(content), random.randrange(len(content))))])

    return write


def dataset(folder: str, write: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def prepare(case: Path) -> Callable[[], Any]:
        for name in ("a", "b"):
            for part, value in (("latents", GOOD), ("conditions", TEXT)):
                path = case / part / f"{name}.pt"
                path.parent.mkdir(exist_ok=True)
                torch.save(value, path)
        path = case / folder / "a.pt"
        path.unlink()
        write(path)

        def read() -> Any:
            data = TrainingDataset(case)
            return [
                (s.streams["video"]["latents"].shape, s.text["prompt_embeds"].shape)
                for s in (data[i] for i in range(len(data)))
            ]

        return read

    return prepare


def checkpoint(write: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """The newest of two checkpoints has another state; the other one must be taken."""

    def prepare(case: Path) -> Callable[[], Any]:
        for step in (1, 2):
            save_checkpoint(
                case / "checkpoints",
                TrainingState(step, {"a": torch.full((2,), float(step))}, {"s": step}),
            )
        path = case / "checkpoints/000002" / STATE
        path.unlink()
        write(path)
        return lambda: f"step {load_latest(case / 'checkpoints').step}"

    return prepare


def named(name: str) -> Callable[[Path], Any]:
    """A folder of another name beside a checkpoint."""

    def prepare(case: Path) -> Callable[[], Any]:
        save_checkpoint(case / "checkpoints", TrainingState(1, {"a": torch.ones(2)}, {"s": 1}))
        folder = case / "checkpoints" / name
        folder.mkdir()
        (folder / STATE).write_bytes((case / "checkpoints/000001" / STATE).read_bytes())
        write_tensors(folder / WEIGHTS, {"a": ("F32", (2,))}, {"step": "1"})
        return lambda: f"step {load_latest(case / 'checkpoints').step}"

    return prepare


def is_step(step: int) -> Callable[[Any], str]:
    return lambda found: "" if found == f"step {step}" else found


NAMES = ("²", "1e3", "-5", "0" * 22 + "1", "9" * 200, "1_000", " 3", "٣", "1.5", "0x10", "7")
CASES = [
    Case("good", dataset("latents", saving(GOOD)), "value"),
    *(Case(f"latents file {n}", dataset("latents", saving(v)), "error") for n, v in VALUES.items()),
    *(Case(f"text file {n}", dataset("conditions", saving(v)), "error") for n, v in VALUES.items()),
    *(Case(n, dataset("latents", saving(GOOD | v)), "error") for n, v in LATENTS.items()),
    *(Case(n, dataset("conditions", saving(TEXT | v)), "error") for n, v in CONDITIONS.items()),
    *(
        Case(f"file {n}", dataset("latents", w), "either" if n == "nowhere" else "error")
        for n, w in WRITERS.items()
    ),
    *(Case(f"cut {number}", dataset("latents", cut(number))) for number in range(30)),
    *(
        Case(
            f"state {n}",
            checkpoint(saving(v)),
            "value",
            right=is_step(2 if n in ("empty", "counter", "over each other") else 1),
        )
        for n, v in STATES.items()
    ),
    *(
        Case(f"state file {n}", checkpoint(w), "value", right=is_step(1))
        for n, w in WRITERS.items()
        if n not in ("claiming",)
    ),
    *(
        Case(f"named {number}", named(name), "value", right=is_step(1))
        for number, name in enumerate(NAMES)
    ),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=20))
def test_torch_files(case, tmp_path):
    judge(case, tmp_path)
