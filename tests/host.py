"""A ComfyUI as the node tests see it: the stand-in, or the real one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Prompt = dict[str, dict[str, Any]]


class PromptRefused(Exception):
    """The prompt was refused before it ran; `node_errors` are ComfyUI's, by node id.

    Its text has a line for each error, as the interface shows it."""

    def __init__(self, node_errors: dict[str, Any]):
        self.node_errors = node_errors
        errors = [error for node in node_errors.values() for error in node.get("errors", ())]
        super().__init__("\n".join(f"{e['message']}: {e.get('details', '')}" for e in errors))


@dataclass
class Outcome:
    """How a prompt ended.

    Attributes:
        outputs: what nodes showed (`ui`), by node id.
        error: the message of the exception that ended it.
        error_node: the node that raised it.
        cached: nodes that did not run again.
    """

    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None
    error_node: str | None = None
    interrupted: bool = False
    cached: list[str] = field(default_factory=list)

    def succeeded(self) -> "Outcome":
        assert self.error is None, f"node {self.error_node}: {self.error}"
        assert not self.interrupted
        return self


@dataclass(frozen=True)
class Sent:
    """One message to the browser."""

    event: str
    data: Any


class Host(Protocol):
    """Runs prompts in the API format over the nodes of this pack and the test probes."""

    base: Path

    @property
    def url(self) -> str:
        """Where its web server answers, with no slash at the end."""
        ...

    @property
    def pid(self) -> int:
        """The process that executes prompts."""
        ...

    def object_info(self) -> dict[str, Any]: ...

    def get(self, path: str) -> Any:
        """The JSON that its web server answers."""
        ...

    def start(self, prompt: Prompt) -> str:
        """Queues a prompt and returns its id. Raises `PromptRefused`."""
        ...

    def wait(self, prompt_id: str, seconds: float = 300) -> Outcome: ...

    def interrupt(self) -> None: ...

    def sent(self) -> list[Sent]:
        """What was sent to the browser so far."""
        ...

    def log(self) -> str: ...

    def close(self) -> None: ...


def run(host: Host, prompt: Prompt, seconds: float = 300) -> Outcome:
    return host.wait(host.start(prompt), seconds)


def failure(host: Host, prompt: Prompt) -> str:
    """Why a prompt did not run to its end: it was refused, or a node failed."""
    try:
        outcome = run(host, prompt)
    except PromptRefused as refused:
        return str(refused)
    assert outcome.error is not None, "it succeeded"
    return outcome.error


def models_folder(host: Host, kind: str) -> Path:
    return host.base / "models" / kind
