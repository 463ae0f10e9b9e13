"""The nodes: ComfyUI's types in, calls of the core, ComfyUI's types out."""
