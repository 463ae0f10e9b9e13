"""Stand-in for ComfyUI's V3 API, as far as this pack uses it."""

from abc import ABC, abstractmethod

from . import io, ui


class ComfyExtension(ABC):
    @abstractmethod
    async def get_node_list(self) -> list[type[io.ComfyNode]]: ...


__all__ = ["ComfyExtension", "io", "ui"]
