"""The code in a TorchScript archive, parsed before torch sees it and held to a list of what torch itself writes.

`torch.jit.load` compiles this code, evaluates operators of constants while it does, and runs `__setstate__`. Torch
writes code of few forms: operators as `torch.name(...)` and `ops.space.name(...)`, functions and classes by full name,
methods of modules. Whatever has another form (an alias of `torch`, a method of a tensor, an attribute by a computed
name) is refused, so no operator can be reached that is not seen here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from advisor.loading.archives import Archive
from advisor.loading.content import short
from advisor.loading.torchscript.definitions import Class, Refused, Source, type_name
from advisor.loading.torchscript.functions import FunctionCheck

MAX_NODES = 500_000  # calls of one function once every function in it is inlined, as torch does before it runs one
QUOTED = re.compile(r'"(?:[^"\\\n]|\\["\'nt])*"|\'(?:[^\'\\\n]|\\["\'nt])*\'')
ODD = re.compile(r"[^\x20-\x7e\n]|[\"'#\\;`@$?!&|^~%*/<>+]|\b\d+_|\b0[xXoObB]")
BESIDE = re.compile(r"\w\0|\0\0")  # a prefix before a text, or two texts in a row


def source_dangers(archive: Archive) -> Iterator[str]:
    """What in the archive's code torch would not have written, or would reach more than tensors; one reason each."""
    try:
        source = _read(archive)
        costs = _Costs(source)
        for name in source.functions:
            costs.of(name)
        for owner, found in source.classes.items():
            for method in found.methods:
                costs.of(f"{owner}.{method}")
    except Refused as refused:
        yield str(refused)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        yield f"its code cannot be read ({short(error)})"


def _read(archive: Archive) -> Source:
    source = Source()
    for name in archive.below("code/"):
        if name.endswith(".py"):
            place = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
            if not re.fullmatch(r"__torch__(\.\w+)*", place, re.ASCII):
                raise Refused(f"its code lies in {short(name)!r}")
            for statement in ast.parse(_plain(archive.read(name))).body:
                _define(source, place, statement)
    return source


def _plain(code: bytes) -> str:
    """Code that every lexer reads alike: ASCII, no comments, escapes or joined lines, plain strings and numbers."""
    text = code.decode("ascii", "replace")
    bare = QUOTED.sub("\0", text).replace(") -> ", ") = ")
    odd = ODD.search(bare.replace("\0", "Q")) or BESIDE.search(bare)
    if odd:
        start = bare.rfind("\n", 0, odd.start()) + 1
        raise Refused(f"its code holds {short(bare[start : odd.end()].strip() or odd[0], 60)!r}")
    return text


def _define(source: Source, place: str, statement: ast.stmt) -> None:
    match statement:
        case ast.FunctionDef(name):
            _new(f"{place}.{name}", source)
            source.functions[f"{place}.{name}"] = statement
        case ast.ClassDef(name, [ast.Name(("Module" | "NamedTuple") as kind)], [], body, []):
            _new(f"{place}.{name}", source)
            source.classes[f"{place}.{name}"] = made = Class(kind)
            for part in body:
                _member(made, part)
        case ast.ClassDef(name):
            raise Refused(f"it defines the class {short(name)!r}, which is no module")
        case _:
            raise Refused(f"its code holds a {type(statement).__name__}")


def _new(name: str, source: Source) -> None:
    if name in source.functions or name in source.classes:
        raise Refused(f"it defines {short(name)!r} twice")


def _member(made: Class, part: ast.stmt) -> None:
    match part:
        case ast.FunctionDef(name):
            if name == "__setstate__":
                raise Refused("it defines __setstate__, which runs when it is loaded")
            if name in made.methods:
                raise Refused(f"it defines {short(name)!r} twice")
            made.methods[name] = part
        case ast.Assign([ast.Name(name)], ast.List(items)) if name.startswith("__"):
            if not all(isinstance(item, ast.Constant) for item in items):
                raise Refused(f"its class holds a {name}")
        case ast.Assign([ast.Subscript(ast.Name("__annotations__"), ast.Constant(str(name)))], kind):
            made.attributes[name] = type_name(kind)
        case ast.AnnAssign(ast.Name(name), kind, value):
            made.attributes[name] = type_name(kind)
            if value is not None:
                _constant(value)
        case ast.Pass():
            pass
        case _:
            raise Refused(f"its class holds a {type(part).__name__}")


def _constant(value: ast.expr) -> None:
    for node in ast.walk(value):
        if not isinstance(node, ast.Constant | ast.Tuple | ast.List | ast.UnaryOp | ast.USub | ast.Load) and not (
            isinstance(node, ast.Name) and node.id in ("inf", "nan", "annotate", "List", "Tuple", "int", "float", "str")
        ):
            raise Refused(f"a constant of its class is a {type(node).__name__}")


class _Costs:
    """Calls of a function once all that it calls is inlined: what grows without end is never given to torch."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.known: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The calls of one function or method, found by its full name."""
        if name in self.known:
            if self.known[name] < 0:
                raise Refused(f"{short(name)!r} calls itself")
            return self.known[name]
        self.known[name] = -1
        owner, _, method = name.rpartition(".")
        body = self.source.functions.get(name) or self.source.classes[owner].methods[method]
        check = FunctionCheck(body, self.source)
        cost = check.calls + sum(self.of(callee) for callee in check.callees)
        if cost > MAX_NODES:
            raise Refused(f"{short(name)!r} grows to more than {MAX_NODES:,} calls")
        self.known[name] = cost
        return cost
