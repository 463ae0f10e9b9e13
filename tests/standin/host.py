"""A small ComfyUI: executes prompts over this pack's nodes, in a thread, under inference mode."""

import asyncio
import copy
import itertools
import json
import logging
import os
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from aiohttp import web

from tests.host import Outcome, Prompt, PromptRefused, Sent

from .pack import load_nodes, standin_modules
from .validation import is_link, needed, node_errors
from .web import WebServer


class StandInHost:
    """Keeps the outputs of the latest prompt's nodes, as ComfyUI does, and runs no node again whose
    inputs did not change."""

    def __init__(self, base: Path, packs: list[Path]):
        self.base = base
        for folder in ("input", "output", "models/loras", "models/checkpoints"):
            (base / folder).mkdir(parents=True)
        self._open = ExitStack()
        self._open.enter_context(standin_modules())
        import comfy.model_management
        import folder_paths
        import server

        folder_paths.base_path = str(base)
        folder_paths.models_dir = str(base / "models")
        self._memory = comfy.model_management
        self._server = server.PromptServer.instance
        self._records = _Records()
        logging.getLogger().addHandler(self._records)
        self.nodes = {name: node for pack in packs for name, node in load_nodes(pack).items()}
        self._cache: dict[Any, tuple] = {}
        self._runs: dict[str, tuple[threading.Thread, Outcome]] = {}
        self._ids = itertools.count(1)
        self._server.routes.post("/prompt")(self._take_prompt)
        self._server.app.add_routes(self._server.routes)
        self._web = self._open.enter_context(WebServer(self._server.app))

    @property
    def url(self) -> str:
        return self._web.url

    @property
    def pid(self) -> int:
        return os.getpid()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as reply:
            return json.loads(reply.read())

    def object_info(self) -> dict[str, Any]:
        return {name: node.define_schema().info() for name, node in self.nodes.items()}

    def start(self, prompt: Prompt) -> str:
        body = json.dumps({"prompt": prompt}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/prompt", body, timeout=60) as reply:
                return json.loads(reply.read())["prompt_id"]
        except urllib.error.HTTPError as error:
            raise PromptRefused(json.loads(error.read())["node_errors"]) from None

    async def _take_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt = needed(body["prompt"], body.get("partial_execution_targets"))
        if errors := node_errors(prompt, self.nodes):
            return web.json_response({"node_errors": errors}, status=400)
        return web.json_response({"prompt_id": self._queue(prompt)})

    def _queue(self, prompt: Prompt) -> str:
        outcome = Outcome()
        thread = threading.Thread(target=self._execute, args=(prompt, outcome), daemon=True)
        prompt_id = str(next(self._ids))
        self._runs[prompt_id] = thread, outcome
        self._memory.interrupt_current_processing(False)
        thread.start()
        return prompt_id

    def wait(self, prompt_id: str, seconds: float = 300) -> Outcome:
        thread, outcome = self._runs[prompt_id]
        thread.join(seconds)
        assert not thread.is_alive(), f"prompt {prompt_id} did not end within {seconds} s"
        return outcome

    def interrupt(self) -> None:
        self._memory.interrupt_current_processing()

    def sent(self) -> list[Sent]:
        return [Sent(*message) for message in self._server.sent]

    def log(self) -> str:
        return "\n".join(self._records.lines)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._records)
        self._open.close()

    def _execute(self, prompt: Prompt, outcome: Outcome) -> None:
        async def within_a_loop() -> None:
            execution = _Execution(self, prompt, outcome)
            with torch.inference_mode():
                execution.run()
            self._cache = {k: v for k, v in self._cache.items() if k in execution.used}

        asyncio.run(within_a_loop())


class _Execution:
    """One prompt: every output node and what it needs, each node once."""

    def __init__(self, host: StandInHost, prompt: Prompt, outcome: Outcome):
        self.host, self.prompt, self.outcome = host, prompt, outcome
        self.results: dict[str, list[Any]] = {}
        self.used: set[str] = set()

    def run(self) -> None:
        for node_id, node in self.prompt.items():
            if not self.host.nodes[node["class_type"]].define_schema().is_output_node:
                continue
            try:
                self._result(node_id)
            except self.host._memory.InterruptProcessingException:
                self.outcome.interrupted = True
                return
            except _NodeError as error:
                self.outcome.error = str(error.__cause__)
                self.outcome.error_node = error.node_id
                return

    def _result(self, node_id: str) -> list[list[Any]]:
        """The list of values of each output."""
        if node_id not in self.results:
            inputs = {
                name: self._result(value[0])[value[1]] if is_link(value) else [value]
                for name, value in self.prompt[node_id]["inputs"].items()
            }
            self.results[node_id] = self._cached(node_id, inputs)
        return self.results[node_id]

    def _cached(self, node_id: str, inputs: dict[str, Any]) -> list[Any]:
        key = self._signature(node_id)
        self.used.add(key)
        if key in self.host._cache:
            self.outcome.cached.append(node_id)
        else:
            self.host._cache[key] = self._run_node(node_id, inputs)
        outputs, ui = self.host._cache[key]
        if ui is not None:
            self.outcome.outputs[node_id] = ui
        return outputs

    def _run_node(self, node_id: str, inputs: dict[str, Any]) -> tuple[list[Any], Any]:
        from comfy_api.latest import io
        from comfy_execution.graph import ExecutionBlocker

        node = self.host.nodes[self.prompt[node_id]["class_type"]]
        given = [value for values in inputs.values() for value in values]
        blockers = [value for value in given if isinstance(value, ExecutionBlocker)]
        if blockers:
            return [[blockers[0]] for _ in node.define_schema().outputs], None
        hidden = io.HiddenHolder(unique_id=node_id, prompt=copy.deepcopy(self.prompt))
        running = type(node.__name__, (node,), {"hidden": hidden})
        schema = node.define_schema()
        self.host._server.last_node_id = node_id
        try:
            done = [running.execute(**values) for values in _calls(inputs, schema.is_input_list)]
        except Exception as error:
            raise _NodeError(node_id) from error
        outputs = [
            [v for o in done for v in (o.args[i] if item.is_output_list else [o.args[i]])]
            for i, item in enumerate(schema.outputs)
        ]
        return outputs, _together([output.ui for output in done if output.ui is not None])

    def _signature(self, node_id: str) -> str:
        """Equal for equal inputs all the way up."""
        node = self.prompt[node_id]
        node_class = self.host.nodes[node["class_type"]]
        values = {name: value for name, value in node["inputs"].items() if not is_link(value)}
        links = {name: value for name, value in node["inputs"].items() if is_link(value)}
        fingerprint = None
        if any("fingerprint_inputs" in vars(c) for c in node_class.__mro__[:-2]):
            fingerprint = node_class.fingerprint_inputs(**values, **dict.fromkeys(links))
        above = {name: (self._signature(value[0]), value[1]) for name, value in links.items()}
        return repr(
            (node["class_type"], sorted(values.items()), sorted(above.items()), fingerprint)
        )


def _calls(inputs: dict[str, list[Any]], whole_lists: bool) -> list[dict[str, Any]]:
    """The arguments of each run of a node: one for each entry of the longest list; shorter lists
    repeat their last."""
    if whole_lists or not inputs:
        return [inputs]
    count = max(map(len, inputs.values()))
    return [
        {name: values[min(i, len(values) - 1)] for name, values in inputs.items()}
        for i in range(count)
    ]


def _together(shown: list[dict[str, list]]) -> dict[str, list] | None:
    """What the runs of a node show, in one."""
    keys = dict.fromkeys(key for ui in shown for key in ui)
    return {key: [v for ui in shown for v in ui[key]] for key in keys} if shown else None


class _NodeError(Exception):
    def __init__(self, node_id: str):
        self.node_id = node_id
        super().__init__(node_id)


class _Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
