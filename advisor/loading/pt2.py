"""torch.export archives (.pt2), checked member by member before torch opens them.

`torch.export.load` runs code from a file in many ways: it falls back to unrestricted pickle for sample inputs, weights and
constants; it loads compiled libraries; it hands symbolic expressions to `sympify`, which evaluates Python; it resolves a
node's target by attribute access from `torch` (`torch.os.system` is one); it pastes node names and guards into generated
code; and its tree specs import modules. Each is held to an allow-list here.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.loading.archives import Archive
from advisor.loading.pickles import Trust, foreign, permit
from advisor.loading.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
ATTRIBUTE = re.compile(r"[\w.\-:/]*")
PLAIN_CALL = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|lt|le|eq|ne|ge|gt|and_|or_|not_|xor|lshift|rshift|trunc)"
    r"|torch\._?sym_\w+|math\.(trunc|ceil|floor|sqrt|pow|log|log2|exp)"
    r"|torch\._C\._set_grad_enabled|torch\.amp\.autocast_mode\._(enter|exit)_autocast"
)
NAMESPACES = frozenset({"aten", "prims", "torchvision", "quantized", "quantized_decomposed", "torchao"})
HIGHER_ORDER = frozenset(
    "cond switch map_impl while_loop scan associative_scan flex_attention invoke_subgraph strict_mode out_dtype "
    "wrap_with_set_grad_enabled wrap_with_autocast".split()
)
EXPRESSION = re.compile(r"[\w\s+\-*/%(),.<>=!&|~]{1,10000}")
NO_EXPRESSION = re.compile(r"\.\s*[A-Za-z_]|__|\)\s*\(|!(?!=)|\d{21}|\*\*(?!\s*\(?-?\d\b)|(\*\*.*){5}")
FUNCTIONS = frozenset(
    "FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural FloatPow "
    "FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat Identity "
    "Max Min Abs Eq Ne Lt Le Gt Ge And Or Not floor ceiling sqrt Piecewise True False oo int_oo zoo nan".split()
)
VARIABLE = re.compile(r"[a-z]{1,6}\d+")
REFUSED_TREES = frozenset({"collections.defaultdict", "NO_SERIALIZED_TYPE_NAME_FOUND"})
COMPILED = ("data/aotinductor/", "data/executorch/", "data/mtia/")
CONFIGS = {"data/weights/": "_weights_config.json", "data/constants/": "_constants_config.json"}


def load_program(archive: Archive, trust: Trust) -> ExportedProgram:
    """Load a `.pt2` whose every member was checked, or which the user trusts.

    Raises:
        UnsafeFileError: when it would run code and is not trusted.
        AdvisorError: when it is damaged, compiled, or of another torch.
    """
    import torch

    compiled = [name for name in archive.sizes if name.startswith(COMPILED)]
    if compiled:
        raise AdvisorError(
            f"{archive.path} holds a compiled model ({compiled[0]}), which cannot be cut.",
            "Pass the torch.export program it was compiled from.",
        )
    if "models/model.json" not in archive:
        raise AdvisorError(f"{archive.path} holds no exported program (models/model.json).", "Save it with torch.export.save.")
    reasons = list(dangers(archive))
    if reasons:
        permit(archive.path, reasons[0], trust)
    try:
        with open(archive.path, "rb") as file, quiet():
            program = torch.export.load(io.BytesIO(file.read()))
    except Exception as error:  # noqa: BLE001 - torch raises any kind here; the cause is kept
        line = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise AdvisorError(
            f"{archive.path} cannot be loaded by torch {torch.__version__}: {line}.", "Export and save it with this torch."
        ) from error
    if hasattr(program, "_guards_code"):
        program._guards_code = []  # strings from the file that would become code; input shapes are checked by us
    return program


def dangers(archive: Archive) -> Iterator[str]:
    """Every way in which loading or running this archive would run code from it, each as one reason."""
    for name in archive.below("models/"):
        yield from program_dangers(archive.json(name))
    for folder, suffix in CONFIGS.items():
        for name in archive.below(folder):
            if name.endswith(suffix):
                yield from _payload_dangers(archive, folder, archive.json(name))
    pickled = archive.below("data/sample_inputs/")
    pickled += [n for f in CONFIGS for n in archive.below(f) if n.endswith(".pt")]
    for name in pickled:
        yield from _pickle_dangers(archive, name)


def _payload_dangers(archive: Archive, folder: str, config: Any) -> Iterator[str]:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise AdvisorError(f"{archive.path} is damaged: its list of weights makes no sense.", "Save the model again.")
    for key, entry in entries.items():
        member = f"{folder}{entry.get('path_name')}"
        if member not in archive:
            raise AdvisorError(f"{archive.path} is damaged: {key!r} names {member!r}, which it lacks.", "Save it again.")
        if entry["path_name"].startswith(("custom_obj", "opaque_obj")):
            yield f"its constant {key!r} is a pickled object"
        elif entry.get("use_pickle"):
            yield from _pickle_dangers(archive, member)
        else:
            _check_size(archive, key, member, entry.get("tensor_meta") or {})
            yield from program_dangers(entry)


def _check_size(archive: Archive, key: str, member: str, meta: dict[str, Any]) -> None:
    """An empty record is filled with zeros of the declared size: a few bytes could ask for all memory."""
    sizes = [s.get("as_int") for s in meta.get("sizes", ()) if isinstance(s, dict)]
    whole = all(isinstance(s, int) and s >= 0 for s in sizes)
    if not whole or math.prod(int(s or 0) for s in sizes) > archive.sizes[member]:
        raise AdvisorError(
            f"{archive.path} is refused: {key!r} declares the size {sizes}, its record has {archive.sizes[member]} bytes.",
            "It was not written by torch; get the model from its source.",
        )


def _pickle_dangers(archive: Archive, name: str) -> Iterator[str]:
    """Torch's restricted reader must take the member: then torch.export never falls back to the unrestricted one."""
    import torch

    data = archive.read(name)
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # noqa: BLE001 - whatever the restricted reader refuses is refused
        named = foreign(_inner_pickle(data))
        line = str(error).strip().split("\n")[0][:120]
        yield f"its member {name} would import {', '.join(named[:3])}" if named else f"its member {name} is no plain tensor file ({line})"


def _inner_pickle(data: bytes) -> bytes:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            inner = [n for n in file.namelist() if n.endswith("data.pkl")]
            return file.read(inner[0]) if inner else data
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return data


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
        return len(parts) == 4 and parts[3] in HIGHER_ORDER
    if len(parts) != 5 or parts[2] not in NAMESPACES:
        return False
    overloads = getattr(getattr(torch.ops, parts[2]), parts[3], None)
    operator = getattr(overloads, parts[4], None)
    if not isinstance(operator, torch._ops.OpOverload):
        return False
    return all(argument.name not in ("filename", "path") for argument in operator._schema.arguments)


def plain_expression(text: str) -> bool:
    """Whether a symbolic size is arithmetic over size variables (`s0`, `u1`) and torch's own functions."""
    if not EXPRESSION.fullmatch(text) or NO_EXPRESSION.search(text):
        return False
    return all(w in FUNCTIONS or VARIABLE.fullmatch(w) for w in re.findall(r"[A-Za-z_]\w*", text))


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
