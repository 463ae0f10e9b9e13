"""Runs for a browser: REST below /ltxv_train. docs/rest.md describes every route.

Every route does its work in a thread, so that reading a long history never holds ComfyUI's event
loop. A run, a sample or a LoRA file is looked up by its name among those there are; no part of a
request becomes a part of a path. What changes something is a POST with a JSON object, from a page
of this server or from a program.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from ...ltxv_train_core.errors import LTXVTrainError
from ...ltxv_train_core.permissions import NotAllowedError
from ...ltxv_train_core.runs import Label, RunFolder, RunNotFoundError
from ..comfy.folders import publish
from . import permission_routes, run_views
from .jobs import (
    job_manager,
    report_run_deleted,
    report_run_state,
    request_model_unload,
    run_library,
)

PERMISSIONS = "/ltxv_train/permissions"
ROOT = "/ltxv_train/runs"
RUN = ROOT + "/{name}"

logger = logging.getLogger("ltxv_train")

_one_listens = threading.Lock()
"""Each loads an audio VAE."""

_OWN_FILE = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of what other sites' pages shall not use, nor a browser take for something else."""

Body = dict[str, Any]
Change = Callable[[web.Request, Body], Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(routes: web.RouteTableDef, more: Mapping[str, Change]) -> None:
    """Adds all routes to ComfyUI's table.

    Args:
        more: POST routes of the nodes' rooms, by their path.
    """
    for path, read in _READ.items():
        routes.get(path)(_reading(read))
    for path, change in {**_CHANGE, **more}.items():
        routes.post(path)(_changing(change))


class _Refused(Exception):
    def __init__(self, status: int, message: str):
        self.status = status
        super().__init__(message)


def _list_runs(request: web.Request) -> bytes:
    return run_views.list_as_json(run_library().summaries())


def _details(request: web.Request) -> dict[str, Any]:
    run = _run(request)
    return run_views.details(run, run_library().summary(run))


def _metrics(request: web.Request) -> dict[str, Any]:
    since, points = _number(request, "since", 0), _number(request, "points", 1)
    return run_views.metrics(_run(request), since or 0, points)


def _sample(request: web.Request) -> Path:
    path = _run(request).sample_file(request.match_info["file"])
    return _found(path, request)


def _configuration(request: web.Request) -> dict[str, Any]:
    return run_views.configuration(_run(request))


def _loras(request: web.Request) -> list[dict[str, Any]]:
    return run_views.loras(_run(request))


def _lora_layers(request: web.Request) -> dict[str, Any]:
    # The core's LoRA code imports torch's parts: when it is first asked for.
    from ...ltxv_train_core.lora.changes import LoRAChanges
    from ...ltxv_train_core.lora.file import read_lora

    return LoRAChanges.of(read_lora(_lora_file(request)).lora).as_json()


def _report(request: web.Request) -> web.Response:
    from ...ltxv_train_core.publish.report.page import report_html

    run = _run(request)
    # A run may be a stranger's: to be saved, not to be shown as a page of this server.
    headers = {
        **_OWN_FILE,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(run.name)}.html",
    }
    return web.Response(text=report_html(run), content_type="text/html", headers=headers)


def _voice(request: web.Request) -> dict[str, Any]:
    return {"voice": run_views.voice(_run(request))}


def _voice_picture(request: web.Request) -> Path:
    from ...ltxv_train_core.voice.file import has_picture, picture_file

    run = _run(request)
    if not has_picture(run):
        raise _Refused(404, f"nobody has listened to run {run.name} yet")
    return picture_file(run)


def _listen(request: web.Request, body: Body) -> dict[str, Any]:
    """Compares the sound of the run's samples with that of its clips; on the CPU, beside whatever trains."""
    from ...ltxv_train_core.voice.listen import listen_to

    run = _run(request)
    with _one_listens:
        listen_to(run)
    return {"voice": run_views.voice(run)}


def _lora_file(request: web.Request) -> Path:
    return _lora(_run(request), request.match_info["file"])


def _pause(request: web.Request, body: Body) -> None:
    job_manager().pause(_run(request).name)


def _stop(request: web.Request, body: Body) -> None:
    job_manager().stop(_run(request).name)


def _resume(request: web.Request, body: Body) -> None:
    job_manager().resume(_run(request), request_model_unload)
    request_model_unload()


def _ask_for_samples(request: web.Request, body: Body) -> None:
    job_manager().request(_run(request).name, "sample")


def _ask_for_checkpoint(request: web.Request, body: Body) -> None:
    job_manager().request(_run(request).name, "checkpoint")


def _name(request: web.Request, body: Body) -> dict[str, str]:
    """Names a run and notes something on it; its folder keeps its name."""
    run = _run(request)
    label = Label.of(body.get("title", ""), body.get("note", ""))
    run.write_label(label)
    report_run_state(run.name, run_library().summary(run).state)
    return asdict(label)


def _delete(request: web.Request, body: Body) -> None:
    run = _run(request)
    job = job_manager().find(run.name)
    if job is not None and job.status == "paused":
        job_manager().stop(run.name)
    run_library().delete(run.name)
    report_run_deleted(run.name)


def _publish(request: web.Request, body: Body) -> dict[str, str]:
    """Copies trained weights of the run to where ComfyUI's loaders list them, and returns their name."""
    run = _run(request)
    weights = _lora(run, body.get("file"))
    is_full = run.configuration().model.training_mode == "full"
    return {"name": publish(weights), "folder": "diffusion_models" if is_full else "loras"}


def _permissions(request: web.Request) -> dict[str, Any]:
    return permission_routes.allowed()


def _allow(request: web.Request, body: Body) -> dict[str, Any]:
    return permission_routes.grant(body)


def _remove_permission(request: web.Request, body: Body) -> dict[str, Any]:
    return permission_routes.revoke(body)


def _upload(request: web.Request) -> dict[str, Any]:
    return {"upload": permission_routes.upload(_run(request))}


def _answer_upload(request: web.Request, body: Body) -> dict[str, Any]:
    return {"upload": permission_routes.answer_upload(_run(request), body)}


_READ: dict[str, Callable[[web.Request], Any]] = {
    PERMISSIONS: _permissions,
    ROOT: _list_runs,
    RUN: _details,
    f"{RUN}/metrics": _metrics,
    f"{RUN}/config": _configuration,
    f"{RUN}/samples/{{file:.+}}": _sample,
    f"{RUN}/upload": _upload,
    f"{RUN}/report": _report,
    f"{RUN}/voice": _voice,
    f"{RUN}/voice/picture": _voice_picture,
    f"{RUN}/loras": _loras,
    f"{RUN}/loras/{{file}}": _lora_file,
    f"{RUN}/loras/{{file}}/layers": _lora_layers,
}
_CHANGE: dict[str, Change] = {
    f"{PERMISSIONS}/allow": _allow,
    f"{PERMISSIONS}/remove": _remove_permission,
    f"{RUN}/pause": _pause,
    f"{RUN}/resume": _resume,
    f"{RUN}/stop": _stop,
    f"{RUN}/sample": _ask_for_samples,
    f"{RUN}/checkpoint": _ask_for_checkpoint,
    f"{RUN}/name": _name,
    f"{RUN}/voice": _listen,
    f"{RUN}/delete": _delete,
    f"{RUN}/publish": _publish,
    f"{RUN}/upload": _answer_upload,
}


def _run(request: web.Request) -> RunFolder:
    return run_library().find(request.match_info["name"])


def _lora(run: RunFolder, name: object) -> Path:
    for each in run.loras():
        if each.path.name == name:
            return each.path
    raise _Refused(404, f"run {run.name} has no LoRA file {name!r}")


def _found(path: Path | None, request: web.Request) -> Path:
    if path is None:
        raise _Refused(404, f"there is no file {request.match_info['file']!r}")
    return path


def _number(request: web.Request, name: str, least: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise _Refused(400, f"{name}={text!r} is no whole number from {least}")
    return int(text)


def _reading(read: Callable[[web.Request], Any]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await _answer(read, request)

    return handler


def _changing(change: Change) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            _require_own_page(request)
            body = await _body(request)
        except _Refused as error:
            return _failed(error.status, error)
        return await _answer(change, request, body)

    return handler


def _require_own_page(request: web.Request) -> None:
    """Refuses what a page of another site sends. Programs send neither header."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_foreign = site not in (None, "same-origin", "none")
    if origin is not None and site is None:
        is_foreign = urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()
    if is_foreign:
        raise _Refused(403, "refused: the request comes from a page of another site")


async def _body(request: web.Request) -> Body:
    # A form of another site can't send this type without the browser asking first.
    if request.content_type != "application/json":
        raise _Refused(415, "the content type must be application/json")
    try:
        body = await request.json()
    except (ValueError, LookupError, RecursionError):  # an unknown charset; lists in lists in lists
        body = None
    if not isinstance(body, dict):
        raise _Refused(400, "the body must be a JSON object, for example {}")
    return body


async def _answer(work: Callable[..., Any], *arguments: Any) -> web.StreamResponse:
    try:
        value = await asyncio.to_thread(work, *arguments)
    except _Refused as error:
        return _failed(error.status, error)
    except RunNotFoundError as error:
        return _failed(404, error)
    except OSError as error:  # the disk is full, the folder can't be written, a file is in use
        logger.error("%s: %s", work.__name__, error)
        return _failed(500, error)
    except LTXVTrainError as error:
        return _failed(409, _without_node(error))
    if isinstance(value, web.Response):
        return value
    if isinstance(value, Path):
        return web.FileResponse(value, headers=_OWN_FILE)
    if not isinstance(value, bytes):
        value = _json({"ok": True} if value is None else value)
    return web.Response(body=value, content_type="application/json", charset="utf-8")


def _without_node(error: LTXVTrainError) -> LTXVTrainError:
    """The same for who presses a button of the panel: there is no node that asks there."""
    if not isinstance(error, NotAllowedError) or error.ask.kind != "folders":
        return error
    return LTXVTrainError(
        f"the run has files in {error.ask.value}, which was not allowed on this machine: run `python -m "
        f'ltxv_train_core allow --folder "{error.ask.value}"`, or press *Allow this folder* at a node of its graph'
    )


def _failed(status: int, error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=status)


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")
