"""YAML that anybody may have written: plain values only, and one line for what is wrong with it.

A message says where and what to write instead. It has no more of the text in it than a few letters:
what a path leads to may be somebody's secret.
"""

import re
from typing import Any

import yaml

from ..errors import ConfigurationError, shown

# A hundred times the largest example. Values behind an alias are counted as often as they are used.
LARGEST_YAML_BYTES = 256 * 2**10
MOST_VALUES = 10_000
DEEPEST = 32
# Python takes quadratic time for the digits of an integer.
LONGEST_NUMBER = 300

_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_KNOWN_TAGS = {
    f"tag:yaml.org,2002:{n}" for n in ("null", "bool", "int", "float", "str", "seq", "map")
}
_PATH_HINT = (
    "in double quotes a backslash begins an escape: write a Windows path in single quotes, or with "
    "forward slashes"
)
_HINTS = (
    ("escape", _PATH_HINT),
    ("mapping values are not allowed", "put text with a colon in it in quotes"),
    ("'\\t'", "indent with spaces, not with tabs"),
    ("cannot start any token", "put text that begins with this character in quotes"),
    ("expected a single document", "keep one document, without a line --- between two"),
    (
        "expected <block end>",
        "indent the options of a section alike, and close quotes and brackets",
    ),
    ("could not find expected ':'", "write 'option: value', and indent a text of several lines"),
    ("unexpected end of stream", "a quote or a bracket is never closed"),
    ("alias", "put text that begins with * or & in quotes"),
    ("tag", "put text that begins with ! in quotes"),
)
_PATH_WITH_ESCAPES = re.compile(r"[A-Za-z]:[^\n]*[\x00-\x1f]|[A-Za-z]:\n")


class _Loader(yaml.SafeLoader):
    """Makes plain values. Dates, and times such as 1:30, stay text."""

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Counts values, those behind an alias as often as it stands for them."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        if isinstance(event, yaml.AliasEvent):
            node: Any = super().compose_node(parent, index)
            if node not in self._sizes:
                raise _problem("an alias stands in what it is an alias of", event.start_mark)
            self._values += self._sizes[node]
        else:
            before, self._depth = self._values, self._depth + 1
            if self._depth > DEEPEST:
                raise _problem(f"is nested more than {DEEPEST} deep", event.start_mark)
            node = super().compose_node(parent, index)
            self._depth -= 1
            self._sizes[node] = self._values - before
        if self._values > MOST_VALUES:
            raise _problem(f"has more than {MOST_VALUES:,} values", event.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if key.tag not in (_STR, _MERGE) or not isinstance(key, yaml.ScalarNode):
                raise _problem("expected a name here; put it in quotes", key.start_mark)
            name = shown(key.value)
            if key.value in seen:
                first = seen[key.value].line + 1
                raise _problem(
                    f"{name} is given twice, first in line {first}; join or remove one of them",
                    key.start_mark,
                )
            seen[key.value] = key.start_mark
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if node.style == '"' and _PATH_WITH_ESCAPES.match(node.value):
            raise _problem(_PATH_HINT, node.start_mark)
        if "\0" in node.value or not _is_text(node.value):
            raise _problem("has a character that no text can hold; remove it", node.start_mark)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError):
            raise _problem("this tag and its value don't fit", node.start_mark) from None

    def construct_number(self, node: Any) -> Any:
        if ":" in node.value:
            return node.value
        if len(node.value) > LONGEST_NUMBER:
            raise _problem(f"a number of more than {LONGEST_NUMBER} digits", node.start_mark)
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)

    def construct_undefined(self, node: Any) -> Any:
        raise _problem("this tag is not known here; remove it, or quote the text", node.start_mark)

    def construct_list(self, node: Any) -> list[Any]:
        if not isinstance(node, yaml.SequenceNode):
            raise _problem("expected a list behind this tag", node.start_mark)
        return self.construct_sequence(node, deep=True)

    def construct_enum(self, suffix: str, node: Any) -> Any:
        values = self.construct_list(node) if isinstance(node, yaml.SequenceNode) else []
        if len(values) != 1:
            raise _problem("can't read a Python object; write its value", node.start_mark)
        return values[0]


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag in _KNOWN_TAGS
}
for _number in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_number}", _Loader.construct_number)
_Loader.add_constructor(None, _Loader.construct_undefined)
# LTX-Video-Trainer's saved configurations have these.
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_list)
_Loader.add_multi_constructor(
    "tag:yaml.org,2002:python/object/apply:ltxv_trainer.", _Loader.construct_enum
)


def read_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; None for an empty one.

    Args:
        where: put before the line and the column in a message.

    Raises:
        ConfigurationError: with one line.
    """
    if len(text) > LARGEST_YAML_BYTES:
        raise ConfigurationError([f"{where}: has more than {LARGEST_YAML_BYTES:,} letters"])
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = "has characters that no text has; save the file as UTF-8 text"
        raise _located(where, line, column, problem) from None
    try:
        return loader.get_single_data()
    except _Told as told:
        mark, problem = told.problem_mark, str(told.problem)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _advised(error.problem or error.context or "")
    except (ValueError, KeyError, OverflowError):  # what an escape, a tag or a directive holds
        mark, problem = None, "is not YAML"
    mark = mark or loader.get_mark()
    raise _located(where, mark.line + 1, mark.column + 1, problem)


class _Told(yaml.MarkedYAMLError):
    """A problem in our own words."""


def _problem(text: str, mark: Any) -> _Told:
    return _Told(problem=text, problem_mark=mark)


def _located(where: str, line: int, column: int, problem: str) -> ConfigurationError:
    return ConfigurationError([f"{where}: line {line}, column {column}: {problem}"])


def _advised(problem: str) -> str:
    """PyYAML's words without what they quote of the text, and what to write instead."""
    hint = next((hint for sign, hint in _HINTS if sign in problem), "")
    words = re.sub(r" ?(['\"]).{4,}\1", "", problem)
    return f"is not YAML ({words[:80]})" + (f"; {hint}" if hint else "")


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
