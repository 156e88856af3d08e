"""Why a model cannot be traced, in one line that names the line of the user's own code."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import fx, nn

from advisor.errors import TraceError

_TRACING = Path(__file__).parent
_OURS = (f"{_TRACING}{os.sep}", str(_TRACING.with_name("preserve.py")))
_NOT_THE_USERS = (
    *(f"{Path(module.__file__ or '').parent}{os.sep}" for module in (torch, sympy)),
    *_OURS,
    str(_TRACING.with_name("loading")),
    sysconfig.get_paths()["stdlib"] + "/contextlib",
    "<",
)
_QUOTED = re.compile(r'File "([^"]+)", line (\d+), in .*\n\s*(.+)')  # torch quotes the user's stack in its message
_RECORDED = re.compile(r'File "([^"]+)", line (\d+), in .*\n\s*(.*)')
_ABSENT = ("cuda", "nvidia", "hip ", "rocm", "mps", "xpu", "privateuse")
_GRADIENTS = {"backward", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "hessian"}
_BY_VALUE = "data-dependent"


def refuse_detectors(model: nn.Module) -> None:
    """Refuse torchvision's detectors at once, also inside a wrapper: to trace one, or to try which inputs it takes,
    lasts minutes before torch says why it cannot.

    Raises:
        TraceError: for a detector; its backbone is traced like any model.
    """
    for path, module in model.named_modules():
        if type(module).__module__.startswith("torchvision.models.detection.") and hasattr(module, "backbone"):
            name = ".".join(filter(None, ("model", path, "backbone")))
            raise TraceError(
                f"{type(module).__name__} is a detector: how many boxes there are depends on the image.",
                f"Trace its backbone, {name}: its feature maps are the cuts, and all that follows runs in the "
                "cloud (docs/models.md).",
            )  # fmt: skip


def explained(model: nn.Module, error: Exception) -> TraceError:
    """What torch said of a model, with the innermost line that is the user's own, and what to do about it."""
    name, place = type(model).__name__, line_of_error(error)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
    if any(word in reason.lower() for word in _ABSENT) and not torch.cuda.is_available():
        return TraceError(
            f"torch.export cannot trace {name}{place}: it needs a device that is absent here ({reason}).",
            "Move the model and its tensors to the CPU, or trace it where the device is.",
        )
    if _packs(error):
        return TraceError(
            f"torch.export cannot trace {name}{place}: it packs sequences, whose lengths are values of the input.",
            "Pad them, and mask what lies beyond the end.",
        )
    if quantised := _quantised(model):
        return TraceError(
            f"torch.export cannot trace {name}: its module {quantised} holds quantised weights that no tensor shows.",
            "Pass the model as it was before it was quantised; a defense can quantise what is sent.",
        )
    if takes_gradients(model):
        return TraceError(
            f"torch.export cannot trace {name}{place}: its forward takes a gradient, which is no operation of a graph.",
            "Write the derivative out in operations of tensors.",
        )
    if _BY_VALUE in str(error):
        return by_value(name, place)
    return TraceError(
        f"torch.export cannot trace {name}{place}: {reason}.",
        "Export it yourself with torch.export.export and pass the .pt2, or change that line.",
    )


def _packs(error: Exception) -> bool:
    """Whether a packed sequence was at hand where an error arose."""
    packed = torch.nn.utils.rnn.PackedSequence
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        frame.f_code.co_name.startswith(("pack_padded", "pad_packed"))
        or any(isinstance(value, packed) for value in frame.f_locals.values())
        for frame in frames
    )


def _quantised(model: nn.Module) -> str:
    """The first module of torch's own quantisation: its path and class, or ""."""
    found = ((path, type(m)) for path, m in model.named_modules() if type(m).__module__.startswith("torch.ao.nn."))
    return next((f"{path or 'model'} ({kind.__module__.removeprefix('torch.ao.')}.{kind.__name__})"
                 for path, kind in found if "quantized" in kind.__module__), "")  # fmt: skip


def takes_gradients(model: nn.Module) -> bool:
    """Whether a forward of the model, or a function of the user's that it names, takes a gradient."""
    named = [set(code.co_names) for module in model.modules() for code in _codes(module)]
    return any({"autograd", "grad"} <= names or names & _GRADIENTS or {"func", "grad"} <= names for names in named)


def _codes(module: nn.Module) -> Iterator[CodeType]:
    """Code of a module's forward, of what is defined within it, and of the user's functions and methods it names."""
    stack: list[Any] = [getattr(type(module), "forward", None)]
    seen = set[CodeType]()
    while stack:
        function = stack.pop()
        scope = getattr(function, "__globals__", {})
        codes = [getattr(function, "__code__", None)]
        while codes:
            code = codes.pop()
            if not isinstance(code, CodeType) or code in seen or not is_users(code.co_filename):
                continue
            seen.add(code)
            yield code
            codes += code.co_consts
            for name in code.co_names:
                stack += (scope.get(name), getattr(type(module), name, None), vars(module).get(name))


def by_value(name: str, place: str) -> TraceError:
    """A model whose control flow follows the values of its input: one graph cannot stand for it."""
    return TraceError(
        f"torch.export cannot trace {name}{place}: what it does next depends on the values of the input.",
        "Compute both ways and choose for each sample, with torch.where over a mask of shape [N, 1, ...].",
    )


def unknown_size(node: fx.Node, of_values: bool) -> TraceError:
    """A size that cannot be told from the batch: computed from values of the input, or from its shape in a way that
    torch does not follow."""
    place = line_of_node(node)
    if of_values:
        return TraceError(
            f"The size of what {node.name!r} returns depends on the values of the input{place}.",
            "Such a model has no fixed tensors that could cross; compute a mask instead.",
        )
    return TraceError(
        f"The size of what {node.name!r} returns is computed from the shape of the input as a tensor{place}, "
        "which torch cannot follow.",
        "Compute it with Python numbers; of a TorchScript file, save a .pt2 from the Python model instead.",
    )


def line_of_error(error: Exception) -> str:
    """` at file.py:12 (the code)`: the innermost line of the user's that an error passed through, or ""."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_users(frame.filename) and frame.line:
            place = described(frame.filename, frame.lineno, frame.line)
    quoted = [found for found in _QUOTED.findall(str(error)) if is_users(found[0])]
    return place or (described(*quoted[-1]) if quoted else "")


def line_of_node(node: fx.Node) -> str:
    """Where in the user's code an operation was written, as torch recorded it, or ""."""
    found = [place for place in _RECORDED.findall(str(node.meta.get("stack_trace") or "")) if is_users(place[0])]
    return described(*found[-1]) if found else ""


def described(filename: str, number: Any, code: str) -> str:
    """A place as refusals and notes write it."""
    return f" at {Path(filename).name}:{number} ({code.strip()})"


def is_users(filename: str) -> bool:
    """Whether a file is neither torch's nor part of the tracing here."""
    return not filename.startswith(_NOT_THE_USERS)


def users_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The user's frames, innermost first, out to where this package called the model."""
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        if is_users(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back
