"""A half as an ONNX file, and as ONNX Runtime runs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from advisor.errors import AdvisorError
from advisor.exporting.parts import Part
from advisor.support.quiet import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

INLINE_BYTES = 1_500_000_000
"""Weights beyond this go to a file of their own: a protobuf message ends at 2 GiB."""
BATCH = "batch"
_OPERATOR = re.compile(r"OpOverload\(op='([\w.]+)'|No ONNX function found for.*?([a-z_]+\.[\w.]+)")


def write(program: ExportedProgram, part: Part, path: Path) -> None:
    """Convert a program and write it.

    Raises:
        AdvisorError: when ONNX lacks an operator of it; the message names the operator.
    """
    try:
        made = _converted(program, part)
    except Exception as error:
        raise AdvisorError(
            f"ONNX cannot express the {part.name} part: {_reason(error)}.", "Use --format pt2, or cut elsewhere."
        ) from error
    if made is None:
        raise AdvisorError(f"torch.onnx wrote nothing for the {part.name} part.", "Use --format pt2.")
    _forget_origins(made.model)
    _name_batch(made.model)
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    with quiet():
        made.save(str(path), external_data=size > INLINE_BYTES)


def _converted(program: ExportedProgram, part: Part) -> Any:
    """As an ONNX program, tidied by the exporter where its optimiser takes it; each file is run beside the part."""
    from onnx_ir.passes import PassError

    names = {"input_names": [t.name for t in part.inputs], "output_names": [t.name for t in part.outputs]}
    with quiet(), torch.no_grad():
        try:
            return torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
        except PassError:  # it was converted; what it leaves half tidied is of no use
            return torch.onnx.export(program, dynamo=True, verbose=False, optimize=False, **names)  # type: ignore[arg-type]


def _forget_origins(model: Any) -> None:
    """Drop what the exporter notes of each operation's origin: stack traces with paths on the exporting computer."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for function in model.functions.values():
        function.metadata_props.clear()
        for node in function:
            node.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()


def _name_batch(model: Any) -> None:
    """Call the batch axis by its name, where the exporter has a size variable such as `s33`."""
    first = {str(value.shape[0]) for value in model.graph.inputs if value.shape and not isinstance(value.shape[0], int)}
    if not first:
        return  # frozen
    variable = re.compile(rf"\b(?:{'|'.join(map(re.escape, first))})\b")
    for value in (*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)):
        if value.shape is not None:
            sizes = [size if isinstance(size, int) else size.value for size in value.shape]
            value.shape = type(value.shape)(variable.sub(BATCH, n) if isinstance(n, str) else n for n in sizes)


def _reason(error: BaseException) -> str:
    """The operator that is missing, else the innermost message in one line."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None:
        chain.append(str(current))
        current = current.__cause__ or current.__context__
    for text in reversed(chain):
        if found := _OPERATOR.search(text):
            return f"it has no operator for {found[1] or found[2]}"
    return next((t.strip().split("\n")[0] for t in reversed(chain) if t.strip()), type(error).__name__)[:300]


class Session:
    """One file in ONNX Runtime on the CPU.

    Raises:
        AdvisorError: when the runtime refuses the file or cannot run it.
    """

    def __init__(self, path: Path, part: Part) -> None:
        import onnxruntime

        self.part = part
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = self._run(onnxruntime.InferenceSession, str(path), options, providers=["CPUExecutionProvider"])
        self._taken = {i.name for i in self._session.get_inputs()}

    def __call__(self, flat: Sequence[Tensor]) -> list[Tensor]:
        """Flat tensors in, flat tensors out."""
        feeds = {t.name: v.numpy() for t, v in zip(self.part.inputs, flat, strict=True) if t.name in self._taken}
        found = self._run(self._session.run, [t.name for t in self.part.outputs], feeds)
        return [torch.from_numpy(np.array(value)) for value in found]

    def _run(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            line = " ".join(str(error).split())[:300]
            raise AdvisorError(
                f"ONNX Runtime cannot run the {self.part.name} part: {line}.",
                "Use --format pt2, or convert the model to float32 first.",
            ) from error
