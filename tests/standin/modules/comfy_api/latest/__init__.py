"""Stand-in for ComfyUI's V3 API, as far as this pack uses it."""

from abc import ABC, abstractmethod

from . import io, ui


class ComfyExtension(ABC):
    @abstractmethod
    async def get_node_list(self) -> list[type[io.ComfyNode]]: ...


class InputImpl:
    """Kinds of values that sockets take."""

    class VideoFromFile:
        """The stand-in opens no video files."""


__all__ = ["ComfyExtension", "InputImpl", "io", "ui"]
