"""The real ComfyUI, started once in a process of its own with a base folder of its own."""

import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from tests.host import Outcome, Prompt, PromptRefused, Sent

from .websocket import WebSocket

READY_SECONDS = 120
POLL_SECONDS = 0.1
PREVIEW_IMAGE, TEXT, PREVIEW_WITH_METADATA = 1, 3, 4


class ComfyUIHost:
    """ComfyUI at `comfyui`, run by `python`, with links to the packs in its custom_nodes."""

    def __init__(
        self,
        base: Path,
        packs: list[Path],
        comfyui: Path,
        python: Path,
        environment: dict[str, str] | None = None,
    ):
        self.base = base
        (base / "custom_nodes").mkdir(parents=True)
        (base / "user").mkdir()
        for pack in packs:
            (base / "custom_nodes" / pack.name).symlink_to(pack, target_is_directory=True)
        self._port = _free_port()
        self._log_file = base / "comfyui.log"
        self._client = uuid.uuid4().hex
        self._sent: list[Sent] = []
        with self._log_file.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*_command(python, base), "--port", str(self._port)],
                cwd=comfyui,
                env={**_environment(), **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()
        self._socket = WebSocket("127.0.0.1", self._port, f"/ws?clientId={self._client}")
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def object_info(self) -> dict[str, Any]:
        return self.get("/object_info")

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as reply:
            return reply.read()

    def start(self, prompt: Prompt) -> str:
        try:
            answer = self._post("/prompt", {"prompt": prompt, "client_id": self._client})
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read())
            raise PromptRefused(answer["node_errors"]) from None
        if answer["node_errors"]:
            raise PromptRefused(answer["node_errors"])
        return answer["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 300) -> Outcome:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._require_alive()
            if found := self.get(f"/history/{prompt_id}"):
                return _outcome(found[prompt_id])
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"prompt {prompt_id} did not end within {seconds} s\n{self.log()}")

    def interrupt(self) -> None:
        self._post("/interrupt", {})

    def sent(self) -> list[Sent]:
        return list(self._sent)

    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        self._socket.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _post(self, path: str, data: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            json.dumps(data).encode("utf-8"),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            content = reply.read()
        return json.loads(content) if content else None

    def _listen(self) -> None:
        for message in self._socket.messages():
            if isinstance(message, str):
                content = json.loads(message)
                self._sent.append(Sent(content["type"], content["data"]))
            else:
                self._sent.append(_binary_message(message))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self._require_alive()
            assert f"(IMPORT FAILED): {self.base}" not in self.log(), self.log()
            try:
                self.get("/system_stats")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(POLL_SECONDS)
        raise AssertionError(f"ComfyUI was not ready in {READY_SECONDS} s\n{self.log()}")

    def _require_alive(self) -> None:
        assert self._process.poll() is None, f"ComfyUI ended\n{self.log()}"


def _command(python: Path, base: Path) -> list[str]:
    database = (base / "user" / "comfyui.db").as_posix()
    return [
        *(str(python), "main.py", "--cpu", "--listen", "127.0.0.1"),
        *("--base-directory", str(base), "--temp-directory", str(base)),
        *("--database-url", f"sqlite:///{database}"),
        *("--dont-print-server", "--disable-api-nodes", "--disable-auto-launch"),
    ]


def _environment() -> dict[str, str]:
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **quiet}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _outcome(history: dict[str, Any]) -> Outcome:
    outcome = Outcome(outputs=history["outputs"])
    for event, data in history["status"]["messages"]:
        if event == "execution_error":
            outcome.error = data["exception_message"].strip()
            outcome.error_node = data["node_id"]
        elif event == "execution_interrupted":
            outcome.interrupted = True
        elif event == "execution_cached":
            outcome.cached = list(data["nodes"])
    return outcome


def _binary_message(message: bytes) -> Sent:
    """A line of text for a node, or a preview picture."""
    (kind,) = struct.unpack(">I", message[:4])
    if kind == TEXT:
        (length,) = struct.unpack(">I", message[4:8])
        node = message[8 : 8 + length].decode("utf-8")
        return Sent("progress_text", {"node": node, "text": message[8 + length :].decode("utf-8")})
    assert kind in (PREVIEW_IMAGE, PREVIEW_WITH_METADATA), kind
    return Sent("preview", message[8:])
