"""ComfyUI's widgets for options of the core."""

from comfy_api.latest import io

from ...ltxv_train_core.config import Option
from ..comfy.schema import advanced


def widget(option: Option) -> io.Input:
    """The widget of an option."""
    common = {
        "tooltip": tooltip(option),
        "default": option.default,
        **advanced(option.advanced),
    }
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
