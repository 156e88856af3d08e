"""Operations of an encoder or decoder as plain data, and back: a file that holds them names no code.

What comes back from a file is held to what only computes: the operators that a model file may call, none that writes or
draws; sizes that cannot grow out of bounds.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, fx, nn

from advisor.loading.allowed_operators import is_plain
from advisor.variant_parts import Part

CONSTANT = "constant"
"""`op` of a row that reads a tensor of its own."""

MOST_ROWS = 4096
LARGEST_INTEGER = 2**62
SIZES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {name: getattr(operator, name) for name in ("getitem", "add", "sub", "mul", "floordiv", "mod", "neg", "truediv")}
)
"""Python's own operations, on sizes and on the results of one operation."""
TYPES: Mapping[str, type] = MappingProxyType(
    {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}
)
"""Values that are names of torch's."""

Text = Annotated[str, Field(max_length=500)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Row:
    """One operation.

    Attributes:
        op: `aten.conv2d.default`, the name of one of `SIZES`, or "constant".
        args, kwargs: plain values; `{"node": i}` is what the i-th input or row gave.
        stack: (key of the call, module path) of the modules that it lies in, outermost first.
    """

    op: Text
    args: Annotated[list[Any], Field(max_length=64)] = Field(default_factory=list)
    kwargs: Annotated[dict[Text, Any], Field(max_length=32)] = Field(default_factory=dict)
    stack: Annotated[list[tuple[Text, Text]], Field(max_length=64)] = Field(default_factory=list)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PartRows:
    """An encoder or decoder: how many tensors it takes, its operations in order, and what it returns."""

    inputs: Annotated[int, Field(ge=1, le=64)]
    rows: Annotated[list[Row], Field(max_length=MOST_ROWS)]
    results: Annotated[list[Any], Field(min_length=1, max_length=64)]


# ---- to data -------------------------------------------------------------------------------------------------------


def rows_of(part: Part) -> PartRows:
    """The operations as data; constants are referred to by name.

    Raises:
        ValueError: where one is nothing that a file may hold; says which.
    """
    number: dict[fx.Node, int] = {node: i for i, node in enumerate(part.placeholders)}
    rows = []
    for node in part.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        rows.append(_row(node, number))
        number[node] = len(number)
    return PartRows(len(part.placeholders), rows, [_plain(value, number) for value in part.results])


def _row(node: fx.Node, number: Mapping[fx.Node, int]) -> Row:
    stack = [(str(key), str(path)) for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items()]
    if node.op == "get_attr":
        return Row(CONSTANT, [str(node.target)], {}, stack)
    name = next((n for n, function in SIZES.items() if function is node.target), None) or str(node.target)
    _checked(_target(name), node.args)
    kwargs = {key: _plain(value, number) for key, value in node.kwargs.items()}
    return Row(name, [_plain(value, number) for value in node.args], kwargs, stack)


def _plain(value: Any, number: Mapping[fx.Node, int]) -> Any:
    if isinstance(value, fx.Node):
        return {"node": number[value]}
    if isinstance(value, list | tuple):
        return [_plain(inner, number) for inner in value]
    if isinstance(value, torch.device):
        return {"device": "cpu"}
    for kind, of in TYPES.items():
        if isinstance(value, of):
            return {kind: str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


# ---- and back ------------------------------------------------------------------------------------------------------


def part_of(described: PartRows, constants: Mapping[str, Tensor]) -> Part:
    """The operations that data describe.

    Args:
        described: as `rows_of` gives them, or a stranger.
        constants: the tensors that they read, by name.

    Raises:
        ValueError: on an operation that does not only compute, or a reference to what is not there.
    """
    graph = fx.Graph()
    made = [graph.placeholder(f"sent_{i}") for i in range(described.inputs)]
    for row in described.rows:
        made.append(_node(graph, row, made, constants))
        made[-1].meta = {"nn_module_stack": {key: (path, nn.Module) for key, path in row.stack}}
    graph.output(tuple(_value(result, made) for result in described.results))
    return Part(graph, {name: constants[name] for name in _read(graph)})


def _node(graph: fx.Graph, row: Row, made: list[fx.Node], constants: Mapping[str, Tensor]) -> fx.Node:
    if row.op == CONSTANT:
        if not (len(row.args) == 1 and isinstance(row.args[0], str) and row.args[0] in constants):
            raise ValueError("an operation reads a tensor that is not there")
        return graph.create_node("get_attr", row.args[0])
    args = tuple(_value(argument, made) for argument in row.args)
    kwargs = {key: _value(argument, made) for key, argument in row.kwargs.items()}
    node = graph.call_function(_target(row.op), args, kwargs)
    _checked(node.target, node.args)
    return node


def _read(graph: fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op == "get_attr"}


def _target(name: str) -> Callable[..., Any]:
    if name in SIZES:
        return SIZES[name]
    parts = name.split(".")
    if len(parts) == 3 and is_plain(parts[0], parts[1]):
        found = getattr(getattr(getattr(torch.ops, parts[0]), parts[1], None), parts[2], None)
        if isinstance(found, torch._ops.OpOverload):
            return found
    raise ValueError(f"it would call {name[:60]!r}")


def _checked(target: Any, args: tuple[Any, ...]) -> None:
    """A variant's graph draws nothing and writes to nothing; a size that is made of two others could grow unbounded."""
    if isinstance(target, torch._ops.OpOverload):
        if target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags:
            raise ValueError(f"{target} writes or draws")
    elif sum(isinstance(argument, fx.Node) for argument in args) > 1:
        raise ValueError("it computes a size from two others")


def _value(value: Any, made: list[fx.Node]) -> Any:
    if isinstance(value, list):
        return [_value(inner, made) for inner in value]
    if isinstance(value, dict):
        return _named(value, made)
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError("a number in it is too large")
    return value


def _named(value: dict[str, Any], made: list[fx.Node]) -> Any:
    (kind, inner), *more = value.items() or [("nothing", None)]
    if not more and kind == "node" and type(inner) is int and 0 <= inner < len(made):
        return made[inner]
    if not more and (kind, inner) == ("device", "cpu"):
        return torch.device("cpu")
    if not more and kind == "float" and inner in ("inf", "-inf"):
        return float(inner)
    if not more and kind in TYPES and isinstance(inner, str) and isinstance(getattr(torch, inner, None), TYPES[kind]):
        return getattr(torch, inner)
    raise ValueError(f"a value in it is {str(value)[:60]}")
