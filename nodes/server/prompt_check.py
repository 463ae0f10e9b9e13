"""Refuses a graph before anything of it runs, where a node of this pack can't do its work.

ComfyUI runs what does not depend on a node that was refused: a data set would be encoded for hours
for a training that then is skipped. It also repeats the message of `validate_inputs` at every widget.
So prompts are looked at before ComfyUI sees them, and the answer has ComfyUI's own form.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from aiohttp import web
from comfy_api.latest import io

from ..comfy.prompts import Prompt, is_linked, read_prompt, written_on
from ..comfy.widget_problems import WidgetProblem

logger = logging.getLogger("ltxv_train")

_PATHS = ("/prompt", "/api/prompt")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Problems = dict[str, list[WidgetProblem]]


def refuse_bad_prompts(app: web.Application, nodes: Iterable[type[io.ComfyNode]]) -> None:
    """Adds the check to a server that was not started yet."""
    known = {node.__name__: node for node in nodes}
    outputs = {name for name, node in known.items() if node.define_schema().is_output_node}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and request.path in _PATHS:
            try:
                prompt, targets = read_prompt(await request.read())
                # Files are looked at, which a slow disk takes its time for.
                found = await asyncio.to_thread(_problems, prompt, known, outputs, targets)
            except Exception:
                logger.exception("a graph could not be checked before it runs")
                prompt, found = {}, {}
            if found:
                return web.json_response(_refusal(found, prompt), status=400)
        return await handler(request)

    app.middlewares.append(check)


def _problems(
    prompt: Prompt,
    nodes: Mapping[str, type[io.ComfyNode]],
    outputs: Collection[str],
    targets: Iterable[str] | None,
) -> Problems:
    """The problems of this pack's nodes that a prompt runs, by the node's id.

    Args:
        nodes: those of this pack, by their kind.
        outputs: which of them are output nodes.
        targets: the output nodes that alone are run; None for all.
    """
    found: Problems = {}
    running = _running(prompt, nodes, outputs, targets)
    runs = [node_id for node_id in running if prompt[node_id][0] in nodes]
    for node_id in runs:
        check = getattr(nodes[prompt[node_id][0]], "widget_problems", None)
        if check and (problems := check(written_on(prompt, node_id))):
            found[node_id] = problems
    if found:
        return found
    for node_id in runs:
        check = getattr(nodes[prompt[node_id][0]], "graph_problems", None)
        for place, problem in check(prompt, node_id) if check else ():
            found.setdefault(place, [])
            if problem not in found[place]:
                found[place].append(problem)
    return found


def _running(
    prompt: Prompt,
    nodes: Collection[str],
    outputs: Collection[str],
    targets: Iterable[str] | None,
) -> list[str]:
    """The nodes that run: outputs, and what they need. Each node of another pack counts as an output."""
    every = (id_ for id_, (kind, _) in prompt.items() if kind in outputs or kind not in nodes)
    waiting = [id_ for id_ in (every if targets is None else targets) if id_ in prompt]
    seen = dict.fromkeys(waiting)
    while waiting:
        for value in prompt[waiting.pop()][1].values():
            if is_linked(value) and value[0] in prompt and value[0] not in seen:
                seen[value[0]] = None
                waiting.append(value[0])
    return list(seen)


def _refusal(found: Problems, prompt: Prompt) -> dict[str, Any]:
    """ComfyUI's answer to a prompt whose nodes it refuses."""
    return {
        "error": {
            "type": "prompt_outputs_failed_validation",
            "message": "Prompt outputs failed validation",
            "details": "",
            "extra_info": {},
        },
        "node_errors": {
            node_id: {
                "class_type": prompt[node_id][0],
                "dependent_outputs": [node_id],
                "errors": [_error(problem) for problem in problems],
            }
            for node_id, problems in found.items()
        },
    }


def _error(problem: WidgetProblem) -> dict[str, Any]:
    # Of the kinds that front end 1.49 knows, this one shows the details in its message, and not only behind
    # a button. Front end 1.27 shows "message: details" for every kind.
    return {
        "type": "exception_during_inner_validation",
        "message": problem.widget,
        "details": problem.message,
        "extra_info": {"input_name": problem.widget},
    }
