"""Serialised programs, checked string by string: what torch would evaluate, import or paste into code must be plain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
ATTRIBUTE = re.compile(r"[\w.\-:/]*")
PLAIN_CALL = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|lt|le|eq|ne|ge|gt|and_|or_|not_|xor|lshift|rshift|trunc)"
    r"|torch\._?sym_\w+|math\.(trunc|ceil|floor|sqrt|pow|log|log2|exp)"
    r"|torch\._C\._set_grad_enabled|torch\.amp\.autocast_mode\._(enter|exit)_autocast"
)
NAMESPACES = frozenset({"aten", "prims", "torchvision", "quantized", "quantized_decomposed", "torchao"})
HIGHER_ORDER = re.compile(
    r"cond|switch|map_impl|while_loop|scan|associative_scan|flex_attention|invoke_subgraph|strict_mode|out_dtype"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast"
)
EXPRESSION = re.compile(r"[\w\s+\-*/%(),.<>=!&|~]{1,10000}")
NO_EXPRESSION = re.compile(r"\.\s*[A-Za-z_]|__|\)\s*\(|!(?!=)|\d{21}|\b[a-z]{1,6}\d+\s*\(")
POWER = re.compile(r"\*\*|\w*Pow\w*")
QUOTED = re.compile(
    r"Symbol\('([A-Za-z]\w*)'(?:, *[a-z]+=(?:True|False))*\)|Float\('([\d.e+-]+)'(?:, *precision=\d{1,3})?\)"
)
FUNCTION = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow"
    r"|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat"
    r"|Identity|Add|Mul|Pow|Integer|Rational|Equality|Unequality|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan"
    r"|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|floor|ceiling|sqrt|Piecewise|True|False|oo|int_oo|zoo|nan"
)
VARIABLE = re.compile(r"[a-z]{1,6}\d+")
REFUSED_TREES = frozenset({"collections.defaultdict", "NO_SERIALIZED_TYPE_NAME_FOUND"})


def program_dangers(value: Any) -> Iterator[str]:
    """Walk a serialised program; every string that torch evaluates, imports or pastes into code must be plain."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack.extend((str(k), v) for k, v in value.items())
        elif isinstance(value, list):
            stack.extend((key, v) for v in value)
        elif isinstance(value, str):
            reason = _string_danger(key, value)
            if reason:
                yield reason


def _string_danger(key: str, value: str) -> str:
    shown = repr(value[:60])
    if key in ("target", "as_operator") and not plain_operator(value):
        return f"an operation of it would call {shown}"
    if key == "expr_str" and not plain_expression(value):
        return f"a size in it is the code {shown}"
    if key in ("name", "as_name", "forward_arg_names", "user_input_name") and not IDENTIFIER.fullmatch(value):
        return f"a name in it is the code {shown}"
    if key in ("parameter_name", "buffer_name", "tensor_constant_name", "fqn") and not ATTRIBUTE.fullmatch(value):
        return f"a name in it is the code {shown}"
    if key in ("in_spec", "out_spec") and not plain_tree(value, inputs=key == "in_spec"):
        return f"its inputs or outputs have the type {shown}"
    if key in ("class_fqn", "custom_obj_name"):
        return f"it holds an object of class {shown}"
    return ""


def plain_operator(target: str) -> bool:
    """Whether a node's target is an operator of torch's own that touches no file."""
    import torch

    parts = target.split(".")
    if parts[:2] != ["torch", "ops"]:
        return bool(PLAIN_CALL.fullmatch(target))
    if parts[2:3] == ["higher_order"]:
        return len(parts) == 4 and bool(HIGHER_ORDER.fullmatch(parts[3]))
    if len(parts) != 5 or parts[2] not in NAMESPACES:
        return False
    overloads = getattr(getattr(torch.ops, parts[2]), parts[3], None)
    operator = getattr(overloads, parts[4], None)
    if not isinstance(operator, torch._ops.OpOverload):
        return False
    return all(argument.name not in ("filename", "path") for argument in operator._schema.arguments)


def plain_expression(text: str) -> bool:
    """Whether a symbolic size is arithmetic over size variables (`s0`, `u1`) and torch's own functions."""
    text = QUOTED.sub("s0", text)
    powers = len(POWER.findall(text))
    if powers > 2 or (powers and any(int(n) > 1024 for n in re.findall(r"\d+", text))):
        return False  # a tower of powers would fill all memory
    if not EXPRESSION.fullmatch(text) or NO_EXPRESSION.search(text):
        return False
    return all(FUNCTION.fullmatch(w) or VARIABLE.fullmatch(w) for w in re.findall(r"[A-Za-z_]\w*", text))


def plain_tree(text: str, inputs: bool) -> bool:
    """Whether a tree spec holds only types that this process has registered, and keywords that are names."""
    from torch.utils import _pytree as pytree

    known = {None, *pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE} - REFUSED_TREES
    try:
        root = json.loads(text)[1]
        stack, keywords = [root], json.loads(root["children_spec"][1]["context"] or "[]") if inputs else []
        while stack:
            node = stack.pop()
            if node["type"] not in known or "__enum__" in str(node["context"]):
                return False
            stack.extend(node["children_spec"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return False
    return all(isinstance(k, str) and IDENTIFIER.fullmatch(k) for k in keywords)
