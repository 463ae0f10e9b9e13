"""ComfyUI's own folders, types and models, as the core wants them."""
