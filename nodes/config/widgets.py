"""ComfyUI's widgets for options of the core."""

from collections.abc import Mapping
from functools import partial

from comfy_api.latest import io

from ...ltxv_train_core.config import Option, Section, from_widgets, options
from ...ltxv_train_core.errors import DataError
from ...ltxv_train_core.permissions import no_such_path
from ..comfy.folders import input_path
from ..comfy.schema import advanced
from ..comfy.widget_problems import WidgetProblem, problems_at


def widget(option: Option) -> io.Input:
    """The widget of an option."""
    made = _widget(option)
    return advanced(made) if option.advanced else made


def _widget(option: Option) -> io.Input:
    common = {"tooltip": tooltip(option), "default": option.default}
    if option.kind == "int":
        return io.Int.Input(
            option.name,
            min=option.minimum,
            max=option.maximum,
            step=option.step,
            control_after_generate=False if option.name == "seed" else None,
            **common,
        )
    if option.kind == "float":
        return io.Float.Input(
            option.name, min=option.minimum, max=option.maximum, step=option.step, **common
        )
    if option.kind == "bool":
        return io.Boolean.Input(option.name, **common)
    if option.kind == "choice":
        return io.Combo.Input(option.name, options=list(option.choices), **common)
    common["default"] = option.default or ""
    return io.String.Input(option.name, multiline=option.multiline, **common)


def tooltip(option: Option) -> str:
    """What an option does, and how to write null."""
    null = {"int": "0", "float": "0", "choice": "none"}.get(option.kind, "Empty")
    return f"{option.description} {null}: not set." if option.optional else option.description


def option_problems(
    section: type[Section],
    written: Mapping[str, object],
    where: str = "",
    names: Mapping[str, str] | None = None,
) -> list[WidgetProblem]:
    """What is wrong with options that are written on a node.

    Rules about several options count where none of them is linked.

    Args:
        written: by widget; others than options are left alone.
        where: the section's name in a configuration.
        names: the names of widgets that are called otherwise than their options, by option.
    """
    widgets = {
        option.name: (names or {}).get(option.name, option.name) for option in options(section)
    }
    own = {name: written[widget] for name, widget in widgets.items() if widget in written}
    is_whole = len(own) == len(widgets)
    found = problems_at("", lambda: from_widgets(section, own, where), widgets, where)
    return [
        problem._replace(widget=widgets.get(problem.widget, next(iter(widgets.values()))))
        for problem in found
        if problem.widget in own or (is_whole and not problem.widget)
    ]


def path_problems(widget: str, text: object) -> list[WidgetProblem]:
    """Paths that lead to nothing, one per line; those that may not be read yet count as there."""
    lines = text.splitlines() if isinstance(text, str) else []
    return [
        problem
        for line in lines
        if line.strip()
        for problem in problems_at(widget, partial(_require_path, line))
    ]


def _require_path(text: str) -> None:
    path = input_path(text)
    if not path.exists():
        raise DataError(no_such_path(path, "file or folder"))
