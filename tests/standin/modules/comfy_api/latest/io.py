"""Inputs, outputs, schemas and nodes, as far as this pack uses them."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"


class HiddenHolder:
    def __init__(self, **values: Any):
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> None:
        return None


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class Input:
    io_type = "*"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
    ):
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.extra_dict: dict[str, Any] = {}

    def as_dict(self) -> dict[str, Any]:
        return _given(display_name=self.display_name, tooltip=self.tooltip) | self.extra_dict


class _NumberInput(Input):
    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        default: Any = None,
        min: Any = None,
        max: Any = None,
        step: Any = None,
    ):
        super().__init__(id, display_name, optional, tooltip)
        self.default, self.min, self.max, self.step = default, min, max, step

    def as_dict(self) -> dict[str, Any]:
        numbers = _given(default=self.default, min=self.min, max=self.max, step=self.step)
        return super().as_dict() | numbers


class Output:
    io_type = "*"

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ):
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list


def Custom(io_type: str) -> type:
    """A socket type of its own."""
    return type(
        io_type,
        (),
        {
            "io_type": io_type,
            "Input": type("Input", (Input,), {"io_type": io_type}),
            "Output": type("Output", (Output,), {"io_type": io_type}),
        },
    )


AnyType = Custom("*")
Model = Custom("MODEL")
Vae = Custom("VAE")
Clip = Custom("CLIP")
Latent = Custom("LATENT")
Image = Custom("IMAGE")
Video = Custom("VIDEO")
Audio = Custom("AUDIO")
LossMap = Custom("LOSS_MAP")
Conditioning = Custom("CONDITIONING")


class Int(Custom("INT")):
    class Input(_NumberInput):
        io_type = "INT"

        def __init__(self, id: str, *, control_after_generate: bool | None = None, **common: Any):
            super().__init__(id, **common)
            self.control_after_generate = control_after_generate

        def as_dict(self) -> dict[str, Any]:
            control = _given(control_after_generate=self.control_after_generate)
            return super().as_dict() | control


class Float(Custom("FLOAT")):
    class Input(_NumberInput):
        io_type = "FLOAT"


class Boolean(Custom("BOOLEAN")):
    class Input(Input):
        io_type = "BOOLEAN"

        def __init__(self, id: str, *, default: bool | None = None, **common: Any):
            super().__init__(id, **common)
            self.default = default

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | _given(default=self.default)


class String(Custom("STRING")):
    class Input(Input):
        io_type = "STRING"

        def __init__(
            self, id: str, *, multiline: bool = False, default: str | None = None, **common: Any
        ):
            super().__init__(id, **common)
            self.multiline = multiline
            self.default = default

        def as_dict(self) -> dict[str, Any]:
            return super().as_dict() | _given(default=self.default, multiline=self.multiline)


class Combo(Custom("COMBO")):
    class Input(Input):
        io_type = "COMBO"

        def __init__(
            self, id: str, options: list[str], *, default: str | None = None, **common: Any
        ):
            super().__init__(id, **common)
            self.options = options
            self.default = default

        def as_dict(self) -> dict[str, Any]:
            combo = _given(default=self.default, multiselect=False, options=self.options)
            return super().as_dict() | combo


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False

    def info(self) -> dict[str, Any]:
        """The node as `GET /object_info` describes it."""
        inputs: dict[str, dict] = {"required": {}}
        for item in self.inputs:
            group = inputs.setdefault("optional" if item.optional else "required", {})
            group[item.id] = [item.io_type, item.as_dict()]
        hidden = list(self.hidden)
        if self.is_output_node:
            hidden += [h for h in (Hidden.prompt, Hidden.extra_pnginfo) if h not in hidden]
        if hidden:
            inputs["hidden"] = {item.name: [item.value] for item in hidden}
        return {
            "input": inputs,
            "input_order": {group: list(items) for group, items in inputs.items()},
            "output": [item.io_type for item in self.outputs],
            "output_is_list": [item.is_output_list for item in self.outputs],
            "output_name": [item.display_name or item.io_type for item in self.outputs],
            "output_tooltips": [item.tooltip for item in self.outputs],
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "category": self.category,
            "output_node": self.is_output_node,
            "search_aliases": self.search_aliases or None,
        }


class NodeOutput:
    def __init__(self, *args: Any, ui: dict[str, Any] | None = None):
        self.args = args
        self.ui = ui


class ComfyNode:
    hidden: HiddenHolder

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, **values: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> Any:
        raise NotImplementedError
