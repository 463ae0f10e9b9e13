"""LTXV Train: train LTX-Video LoRAs and IC-LoRAs on the ComfyUI canvas."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import LTXVTrainExtension

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint() -> "LTXVTrainExtension":
    """Called by ComfyUI to get the nodes. Nothing is imported before."""
    try:
        from server import PromptServer

        from .nodes.extension import NODES, ROUTES, LTXVTrainExtension
        from .nodes.server.canvas_permissions import use_canvas_policy
        from .nodes.server.prompt_check import refuse_bad_prompts
        from .nodes.server.routes import add_routes

        use_canvas_policy()
        add_routes(PromptServer.instance.routes, ROUTES)
        refuse_bad_prompts(PromptServer.instance.app, NODES)
    except Exception:
        logging.getLogger("ltxv_train").exception("LTXV Train can't be loaded")
        raise
    return LTXVTrainExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
