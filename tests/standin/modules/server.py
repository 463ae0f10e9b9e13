"""Stand-in for ComfyUI's server: keeps what was sent, and a table of routes."""

from typing import Any

from aiohttp import web


class PromptServer:
    instance: "PromptServer"

    def __init__(self):
        self.client_id: str | None = None
        self.routes = web.RouteTableDef()
        self.sent: list[tuple[str, Any]] = []

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.sent.append((event, data))

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        assert isinstance(text, str)
        self.sent.append(("progress_text", {"node": node_id, "text": text}))


PromptServer.instance = PromptServer()
