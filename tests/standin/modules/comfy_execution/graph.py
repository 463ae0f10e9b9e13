"""Stand-in for ComfyUI's graph helpers, as far as this pack uses them."""


class ExecutionBlocker:
    """Nodes behind an output with this value do not run."""

    def __init__(self, message: str | None):
        self.message = message
