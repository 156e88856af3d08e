"""What the code of a TorchScript archive defines, and the types that it may name."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from advisor.loading.content import short

TYPES = frozenset(
    {"Tensor", "int", "float", "bool", "str", "complex", "number", "NoneType", "Optional", "List", "Dict", "Tuple",
     "Final", "Union", "Any", "Device"}
)  # fmt: skip


class Refused(Exception):  # noqa: N818 - a verdict, not a fault
    """Why a file is not taken without trust."""


@dataclass
class Class:
    """A module or named tuple: types of its attributes, and its methods."""

    kind: str
    attributes: dict[str, str] = field(default_factory=dict)
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)


@dataclass
class Source:
    """All code of an archive by full name."""

    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)


def type_name(kind: ast.expr) -> str:
    """A type as it is written.

    Raises:
        Refused: it names more than tensors, numbers, texts, containers of them and the archive's own classes.
    """
    for node in ast.walk(kind):
        if isinstance(node, ast.Name) and node.id not in TYPES and node.id != "__torch__":
            raise Refused(f"it names the type {short(node.id)!r}")
        if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Tuple | ast.Load | ast.Constant):
            raise Refused(f"a type in it is a {type(node).__name__}")
    text = ast.unparse(kind)
    if "__torch__.torch.classes" in text:
        raise Refused(f"it names the type {short(text)!r}")
    return text
