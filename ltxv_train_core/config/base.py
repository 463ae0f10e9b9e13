"""The base of all sections of the configuration: frozen, bounded, described data."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..storage.paths import as_path


class Section(BaseModel):
    """A frozen group of options. Unknown options are errors.

    Each option's node widget, YAML key, `--set` name and reference line derive from its field.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    summary: ClassVar[str] = ""

    @field_validator("*", mode="after")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return as_path(value) if isinstance(value, Path) else value


def option(
    default: Any = ...,
    description: str = "",
    *,
    step: float | None = None,
    multiline: bool = False,
    allowed: str = "",
    advanced: bool = False,
    **bounds: Any,
) -> Any:
    """A field of a section: its default, what it does, its bounds, and its widget's step.

    Args:
        default: `...` for an option that must be given.
        description: one or two sentences; the tooltip and the reference line.
        step: the smallest change the widget makes (numbers only).
        multiline: a text that is longer than a line.
        allowed: with `pattern`: what it matches, in words.
        advanced: few change it; its widget is shown on demand, where ComfyUI can do that.
        **bounds: pydantic's `ge`, `le`, `gt`, `lt`, `multiple_of`, `min_length`, `pattern`.
    """
    extra: dict[str, Any] = {
        "step": step,
        "multiline": multiline,
        "allowed": allowed,
        "advanced": advanced,
    }
    return Field(default, description=description, json_schema_extra=extra, **bounds)
