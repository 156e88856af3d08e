"""Serialised programs, checked string by string: what torch would evaluate, import or paste into code must be plain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from advisor.loading.allowed_operators import is_plain
from advisor.loading.content import short
from advisor.loading.exported_programs.expressions import plain_expression

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
ATTRIBUTE = re.compile(r"[\w.\-:/]*")
PYTHON_CALL = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|lt|le|eq|ne|ge|gt|and_|or_|not_|xor|lshift|rshift|trunc)"
    r"|torch\._?sym_\w+|math\.(trunc|ceil|floor|sqrt|pow|log|log2|exp)"
    r"|torch\._functorch\.predispatch\.(_(vmap_increment_nesting|vmap_decrement_nesting|add_batch_dim|remove_batch_dim"
    r"|jvp_increment_nesting|jvp_decrement_nesting|enter_dual_level|exit_dual_level|make_dual|unpack_dual|unwrap_for_grad)"
    r"|lazy_load_decompositions)|torch\._C\._set_grad_enabled|torch\.amp\.autocast_mode\._(enter|exit)_autocast"
)
HIGHER_ORDER = re.compile(
    r"cond|switch|map|map_impl|while_loop|scan|associative_scan|flex_attention|invoke_subgraph|strict_mode|out_dtype"
    r"|wrap|wrap_with_set_grad_enabled|wrap_with_autocast|tag_activation_checkpoint|hints_wrapper|with_effects"
)
GROWING = re.compile(r"_operator\.(pow|lshift)|math\.(pow|exp)|torch\._?sym_\w*pow\w*")
MAX_EXPONENT = 64
IMPORTING = re.compile(r"__enum__|\\")  # torch imports the class that such a context names; escapes could hide it
REFUSED_TREES = frozenset({"collections.defaultdict", "NO_SERIALIZED_TYPE_NAME_FOUND"})


def program_dangers(value: Any) -> Iterator[str]:
    """Walk a serialised program; every string that torch evaluates, imports or pastes into code must be plain."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            yield from _object_dangers(key, value)
            stack.extend((str(k), v) for k, v in value.items())
        elif isinstance(value, list):
            stack.extend((key, v) for v in value)
        elif isinstance(value, str):
            reason = _string_danger(key, value)
            if reason:
                yield reason


def _object_dangers(key: str, value: dict[str, Any]) -> Iterator[str]:
    """What is wrong with keys that torch takes as names, and with numbers that would grow beyond all memory."""
    if key == "range_constraints":
        for name in value:
            if not plain_expression(str(name)):
                yield f"a size in it is the code {short(name, 60)!r}"
    if GROWING.fullmatch(str(value.get("target"))):
        for argument in value.get("inputs") or []:
            number = argument.get("arg", {}).get("as_int") if isinstance(argument, dict) else None
            if isinstance(number, int) and number > MAX_EXPONENT:
                yield f"a number in it would be raised or shifted by {str(number)[:20]}"


def _string_danger(key: str, value: str) -> str:
    shown = repr(short(value, 60))
    if key in ("target", "as_operator") and not plain_operator(value):
        return f"an operation of it would call {shown}"
    if key == "expr_str" and not plain_expression(value):
        return f"a size in it is the code {shown}"
    if key in ("name", "as_name", "forward_arg_names", "user_input_name") and not IDENTIFIER.fullmatch(value or "_"):
        return f"a name in it is the code {shown}"
    if key in ("parameter_name", "buffer_name", "tensor_constant_name", "fqn") and not ATTRIBUTE.fullmatch(value):
        return f"a name in it is the code {shown}"
    if key in ("in_spec", "out_spec") and not plain_tree(value, inputs=key == "in_spec"):
        return f"its inputs or outputs have the type {shown}"
    if key in ("class_fqn", "custom_obj_name"):
        return f"it holds an object of class {shown}"
    return ""


def plain_operator(target: str) -> bool:
    """Whether a node's target is an operator that only computes."""
    import torch

    parts = target.split(".")
    if parts[:2] != ["torch", "ops"]:
        return bool(PYTHON_CALL.fullmatch(target))
    if parts[2:3] == ["higher_order"]:
        return len(parts) == 4 and bool(HIGHER_ORDER.fullmatch(parts[3]))
    if len(parts) != 5 or not is_plain(parts[2], parts[3]):
        return False
    overloads = getattr(getattr(torch.ops, parts[2]), parts[3], None)
    return isinstance(getattr(overloads, parts[4], None), torch._ops.OpOverload)


def plain_tree(text: str, inputs: bool) -> bool:
    """Whether a tree spec holds only types that this process has registered, and keywords that are names."""
    from torch.utils import _pytree as pytree

    known = {None, *pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE} - REFUSED_TREES
    try:
        root = json.loads(text)[1]
        stack, keywords = [root], json.loads(root["children_spec"][1]["context"] or "[]") if inputs else []
        while stack:
            node = stack.pop()
            if node["type"] not in known or IMPORTING.search(str(node["context"])):
                return False
            stack.extend(node["children_spec"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return False
    return all(isinstance(k, str) and IDENTIFIER.fullmatch(k) for k in keywords)
