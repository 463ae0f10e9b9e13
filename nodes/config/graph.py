"""The configuration that stands in a graph, as far as it can be read before the graph runs."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...ltxv_train_core.config import SECTIONS, TrainingConfig, build, from_widgets, options
from ...ltxv_train_core.errors import ConfigurationError
from ..comfy.prompts import Prompt, is_linked, written_on
from ..comfy.widget_problems import WidgetProblem
from .join import LTXVTrainConfig
from .recipe import LTXVTrainRecipe
from .section_nodes import DATA_SETS, SECTION_NODES

_NODES = {node.node_id: node for node in SECTION_NODES}
_DATA_SET = "preprocessed_data_root"


class WrittenConfiguration(NamedTuple):
    """What Join LTXV Training Configuration will give.

    Attributes:
        values: what stands in the graph: sections, and options that belong to none.
        nodes: the id of the node of each section.
        linked: dotted names of options that the graph gives when it runs; `values` has their defaults.
    """

    values: dict[str, Any]
    nodes: dict[str, str]
    linked: frozenset[str]


def written_configuration(prompt: Prompt, node_id: str) -> WrittenConfiguration | None:
    """Reads the sections that are connected to a Join node.

    Returns:
        None where the node is another one, and where a section comes from elsewhere or is wrong by itself.
    """
    kind, inputs = prompt.get(node_id, ("", {}))
    if kind != LTXVTrainConfig.__name__:
        return None
    values: dict[str, Any] = {}
    nodes: dict[str, str] = {}
    linked: set[str] = set()
    for name, value in inputs.items():
        if name not in SECTIONS:
            if is_linked(value):
                linked.add(name)
            else:
                values[name] = value
            continue
        source = value[0] if is_linked(value) else ""
        node = _NODES.get(prompt.get(source, ("", {}))[0])
        if node is None or node.section != name:
            return None
        names = {option.name for option in options(SECTIONS[name])}
        written = {k: v for k, v in written_on(prompt, source).items() if k in names}
        linked |= {f"{name}.{missing}" for missing in names - written.keys()}
        if name == "data":
            written.setdefault(_DATA_SET, "to be written")
            if DATA_SETS not in written:
                written.pop("stage_steps", None)  # means nothing without them
        try:
            values[name] = from_widgets(SECTIONS[name], written, name)
        except ConfigurationError:
            return None
        nodes[name] = source
    return WrittenConfiguration(values, nodes, frozenset(linked))


def recipe_goal(prompt: Prompt, node_id: str) -> str | None:
    """The goal that is written on a recipe; None for another node."""
    kind, inputs = prompt.get(node_id, ("", {}))
    goal = inputs.get("goal")
    return goal if kind == LTXVTrainRecipe.__name__ and isinstance(goal, str) else None


def problems_together(
    written: WrittenConfiguration, prepare: Callable[[Any], Mapping[str, object]], node_id: str
) -> list[tuple[str, WidgetProblem]]:
    """What is wrong with sections together, each problem with the id of the node where it stands.

    Args:
        prepare: changes the values as the training node does.
        node_id: of the training node, for what belongs to no section.
    """
    try:
        build(TrainingConfig, prepare(written.values))
    except ConfigurationError as error:
        return [
            placed(line, written.nodes, node_id)
            for line in error.problems
            if not any(name in line for name in written.linked)
        ]
    return []


def missing_here(prompt: Prompt, written: WrittenConfiguration) -> list[tuple[str, WidgetProblem]]:
    """Files of a configuration that are nowhere on this machine, at the nodes that name them."""
    return [
        (node_id, problem)
        for node_id in written.nodes.values()
        for problem in _NODES[prompt[node_id][0]].missing_here(written_on(prompt, node_id))
    ]


def placed(line: str, nodes: Mapping[str, str], node_id: str) -> tuple[str, WidgetProblem]:
    """A line at the node of the section that it names first, otherwise at the training node."""
    named = re.match(r"(\w+)\.(\w+):? ?", line)
    if named and named[1] in nodes:
        return nodes[named[1]], WidgetProblem(named[2], line[named.end() :])
    return node_id, WidgetProblem("config", line)
