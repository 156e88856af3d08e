"""One function of a TorchScript archive: every statement, name and call of it is of a form that torch writes."""

from __future__ import annotations

import ast
import functools
import re

from advisor.loading.allowed_operators import is_plain
from advisor.loading.content import short
from advisor.loading.torchscript.definitions import Refused, Source, type_name

PRIM = frozenset(
    {"RaiseException", "NumToTensor", "TupleIndex", "TupleUnpack", "Uninitialized", "abs", "data", "device", "dtype",
     "index", "is_cpu", "is_cuda", "is_ipu", "is_maia", "is_meta", "is_mkldnn", "is_mps", "is_mtia", "is_nested",
     "is_quantized", "is_sparse", "is_sparse_csr", "is_vulkan", "is_xla", "is_xpu", "itemsize", "layout", "max", "min",
     "nbytes", "rangelist", "requires_grad", "tolist", "type", "unchecked_cast", "unchecked_unwrap_optional",
     "isinstance"}
)  # fmt: skip
BUILTINS = frozenset({"int", "float", "bool", "str", "range", "inf", "nan"})
TYPED = frozenset({"annotate", "unchecked_cast", "uninitialized"})
RESERVED = BUILTINS | TYPED | {"torch", "ops", "__torch__", "CONSTANTS", "getattr"}


@functools.cache
def _harmless(name: str) -> bool:
    """Whether a name is of a plain operator, or of none at all."""
    import torch

    return is_plain("aten", name) or not torch._C._jit_get_schemas_for_operator(f"aten::{name}")


def chain(node: ast.expr) -> list[str]:
    """The names of `a.b.c`; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


class FunctionCheck:
    """Goes through a function once.

    Attributes:
        calls: calls in it.
        callees: full names of the functions and methods that it calls, once for each call.
    """

    def __init__(self, function: ast.FunctionDef, source: Source) -> None:
        self.source, self.calls = source, 1
        self.callees: list[str] = []
        self.types: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        arguments = function.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or function.decorator_list:
            raise Refused(f"the function {short(function.name)!r} has an odd signature")
        for argument in (*arguments.args, *arguments.kwonlyargs):
            if argument.annotation is not None:
                self._bind(argument.arg, type_name(argument.annotation))
            else:
                self._bind(argument.arg, "Tensor")
        for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)):
            self._value(default)
        if function.returns is not None:
            type_name(function.returns)
        self._block(function.body)

    def _bind(self, name: str, kind: str) -> None:
        if name in RESERVED or (name in self.aliases):
            raise Refused(f"it assigns to {short(name)!r}")
        self.types[name] = kind if self.types.get(name, kind) == kind else ""

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Pass() | ast.Return(None):
                pass
            case ast.Return(ast.expr() as value) | ast.Expr(value):
                self._value(value)
            case ast.Assign([target], value):
                self._assign(target, value)
            case ast.AnnAssign(ast.Name(name), kind, ast.expr() as value):
                self._value(value)
                self._bind(name, type_name(kind))
            case ast.If(test, body, other):
                self._value(test)
                self._block(body)
                self._block(other)
            case ast.While(test, body, []):
                self._value(test)
                self._block(body)
            case ast.For(ast.Name(name), series, body, []):
                self._value(series)
                self._bind(name, "")
                self._block(body)
            case _:
                raise Refused(f"its code holds a {type(statement).__name__}")

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        names = chain(value)
        if names[:1] == ["__torch__"]:
            if not isinstance(target, ast.Name) or target.id in self.types or target.id in RESERVED:
                raise Refused(f"it gives {short('.'.join(names))!r} another name")
            self.aliases[target.id] = self._function_name(names)
            return
        self._value(value)
        match target:
            case ast.Name(name):
                self._bind(name, self._type_of(value))
            case ast.Tuple(parts) if all(isinstance(part, ast.Name) for part in parts):
                for part in parts:
                    self._bind(part.id, "")  # type: ignore[attr-defined]
            case ast.Attribute(owner, name):
                self._value(owner)
                self._attribute(name)
            case _:
                raise Refused(f"it assigns to a {type(target).__name__}")

    def _value(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(None | bool() | int() | float() | str()):
                pass
            case ast.List(parts) | ast.Tuple(parts):
                for part in parts:
                    self._value(part)
            case ast.Dict(keys, values) if all(isinstance(key, ast.Constant | ast.Name) for key in keys):
                for part in (*filter(None, keys), *values):
                    self._value(part)
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float()) | ast.Name("inf" | "nan")):
                pass
            case ast.Name(name):
                if name not in self.types and name not in ("inf", "nan"):
                    raise Refused(f"it uses the name {short(name)!r}")
            case ast.Attribute(ast.Name("CONSTANTS"), name) if re.fullmatch(r"c\d+", name):
                pass
            case ast.Attribute(owner, name):
                self._value(owner)
                self._attribute(name)
            case ast.Subscript(owner, index):
                self._value(owner)
                self._value(index)
            case ast.Call(function, arguments, keywords):
                self._call(function, arguments, keywords)
            case _:
                raise Refused(f"its code holds a {type(node).__name__}")

    def _attribute(self, name: str) -> None:
        """An attribute may not be the name of an operator that is not plain: torch would take it for a method."""
        if name.startswith("__") or not _harmless(name):
            raise Refused(f"it uses the name {short(name)!r}")

    def _call(self, function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]) -> None:
        self.calls += 1
        names = chain(function)
        match names:
            case ["torch", name]:
                self._operator("aten", name, f"torch.{name}")
            case ["ops", space, name]:
                self._operator(space, name, f"ops.{space}.{name}")
            case ["__torch__", *_]:
                self.callees += self._called(self._function_name(names))
            case [name] if name in self.aliases:
                self.callees += self._called(self.aliases[name])
            case ["getattr"]:
                self._looked_up(arguments, keywords)
                return
            case [name] if name in TYPED and arguments:
                self._typed(arguments)
                arguments = arguments[1:]
            case [name] if name in BUILTINS:
                pass
            case _:
                self._method(function)
        for argument in (*arguments, *(keyword.value for keyword in keywords)):
            self._value(argument)

    def _operator(self, space: str, name: str, written: str) -> None:
        if not (name in PRIM if space == "prim" else is_plain(space, name)):
            raise Refused(f"it would call {short(written)}")

    def _function_name(self, names: list[str]) -> str:
        name = ".".join(names)
        if name not in self.source.functions and name not in self.source.classes:
            raise Refused(f"it would call {short(name)}, which it does not hold")
        if name in self.source.classes and self.source.classes[name].kind != "NamedTuple":
            raise Refused(f"it would make a {short(name)}")
        return name

    def _called(self, name: str) -> list[str]:
        return [name] if name in self.source.functions else []

    def _looked_up(self, arguments: list[ast.expr], keywords: list[ast.keyword]) -> None:
        match arguments, keywords:
            case [owner, ast.Constant(str(name)) as literal], []:
                written = (literal.end_col_offset or 0) - literal.col_offset
                if not re.fullmatch(r"[^\\\\\"']+", name) or written != len(name) + 2:
                    raise Refused(f"it looks up {short(name)!r}")
                self._value(owner)
                self._attribute(name)
            case _:
                raise Refused("it looks up a name")

    def _typed(self, arguments: list[ast.expr]) -> None:
        type_name(arguments[0])

    def _method(self, function: ast.expr) -> None:
        """`(self.conv).forward(...)`: a method of a module whose class is known."""
        if not isinstance(function, ast.Attribute):
            raise Refused("it calls what has no name")
        self._value(function.value)
        owner = self._type_of(function.value)
        found = self.source.classes.get(owner)
        if found is None or function.attr not in found.methods:
            raise Refused(f"it would call {short(function.attr)!r} of what is no module")
        self.callees.append(f"{owner}.{function.attr}")

    def _type_of(self, node: ast.expr) -> str:
        """The type of a name or an attribute of a module; "" where it is not known."""
        match node:
            case ast.Name(name):
                return self.types.get(name, "")
            case ast.Attribute(owner, name) | ast.Call(ast.Name("getattr"), [owner, ast.Constant(str(name))]):
                found = self.source.classes.get(self._type_of(owner))
                return found.attributes.get(name, "") if found else ""
        return ""
