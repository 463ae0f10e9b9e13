"""What is wrong with the widgets of a node, each problem at the widget that has it."""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from ...ltxv_train_core.errors import ConfigurationError, LTXVTrainError
from ...ltxv_train_core.permissions import NotAllowedError


class WidgetProblem(NamedTuple):
    """One sentence: what was given, what is allowed, what to write.

    Attributes:
        widget: the input that has the problem.
    """

    widget: str
    message: str


def problems_at(
    widget: str,
    attempt: Callable[[], object],
    written: Collection[str] = (),
    section: str = "",
) -> list[WidgetProblem]:
    """What an attempt raises, as problems.

    A missing permission is none: where it is met, the node asks for it. A line that names one of the widgets
    first stands there.

    Args:
        widget: where lines stand that name none.
        written: the widgets that lines may name.
        section: put before the names in these lines.
    """
    try:
        attempt()
    except NotAllowedError:
        return []
    except ConfigurationError as error:
        return [_placed(line, widget, written, section) for line in error.problems]
    except LTXVTrainError as error:
        return [_placed(str(error), widget, written, section)]
    return []


def _placed(line: str, widget: str, written: Collection[str], section: str) -> WidgetProblem:
    message = line.removeprefix(f"{section}.").removeprefix(f"{section}: ") if section else line
    named = re.match(r"\w+", message)
    if named and named[0] in written:
        widget, message = named[0], message[named.end() :].removeprefix(":").strip()
    return WidgetProblem(widget, message)
