"""Stand-in for ComfyUI's server: keeps what was sent, and a table of routes."""

from typing import Any

from aiohttp import web


class PromptQueue:
    """Keeps the wishes that ComfyUI fulfils when no prompt runs."""

    def __init__(self):
        self.flags: dict[str, Any] = {}

    def set_flag(self, name: str, data: Any) -> None:
        self.flags[name] = data


class PromptServer:
    instance: "PromptServer"

    def __init__(self):
        self.client_id: str | None = None
        self.last_node_id: str | None = None
        self.app = web.Application()
        self.routes = web.RouteTableDef()
        self.sent: list[tuple[str, Any]] = []
        self.prompt_queue = PromptQueue()

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.sent.append((event, data))

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        assert isinstance(text, str)
        self.sent.append(("progress_text", {"node": node_id, "text": text}))


PromptServer.instance = PromptServer()
