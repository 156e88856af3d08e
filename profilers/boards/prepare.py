"""Halves in a form that old boards load: TorchScript pieces for PyTorch from 1.13, ONNX halves for ONNX Runtime."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import AdvisorError
from advisor.support.preserve import left_as_found

if TYPE_CHECKING:
    from torch import Tensor, nn

    from advisor.graph import PartitionGraph

OPSET, IR_VERSION = 18, 8
"""What ONNX Runtime has read since 1.14, of early 2023."""

Values = tuple[Any, ...]


def prepare(graph: PartitionGraph, runtime: str, folder: Path, fused_attention: bool = True) -> dict[str, Any]:
    """Write the files that the agent times, each weight once, and return its job.

    Args:
        graph: the traced model.
        runtime: "pytorch-eager", "torch-compile" or "onnxruntime".
        folder: an empty folder.
        fused_attention: whether the target's PyTorch knows scaled dot-product attention as one operator (from 2.0).

    Raises:
        AdvisorError: when a part of the model cannot be written in that form; the message names the cut.
    """
    writers = {"pytorch-eager": _torchscript, "torch-compile": _source, "onnxruntime": _onnx}
    if runtime not in writers:
        raise AdvisorError(f"The agent has no runtime {runtime!r}.", f"It has {', '.join(writers)}.")
    inputs = one_sample(graph)
    sent = inputs if runtime == "onnxruntime" else entering(graph, inputs)
    with left_as_found(), _quiet():
        job = writers[runtime](graph, sent, folder, fused_attention)
    job |= {"runtime": runtime, "inputs": [_spec(tensor) for tensor in entering(graph, inputs)]}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return job


def one_sample(graph: PartitionGraph) -> tuple[Tensor, ...]:
    """One sample of uniform noise for numbers, zeros (always a valid index) for integers."""
    import torch

    noise = torch.Generator().manual_seed(0)
    return tuple(
        torch.rand(x[:1].shape, generator=noise).to(x.dtype) if x.is_floating_point() else torch.zeros_like(x[:1])
        for x in graph.example_inputs
    )


def entering(graph: PartitionGraph, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of all inputs those that cross at cut 0: an input that nothing reads does not."""
    first = graph.activation_nodes[0]
    return tuple(x for node, x in zip(graph.placeholders, inputs, strict=True) if node in first)


def _spec(tensor: Tensor) -> dict[str, Any]:
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}


@contextmanager
def _quiet() -> Iterator[None]:
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# ---- TorchScript ---------------------------------------------------------------------------------------------------


def _torchscript(graph: PartitionGraph, inputs: Values, folder: Path, fused_attention: bool) -> dict[str, Any]:
    import torch

    names, carried = [], inputs
    with torch.no_grad():
        for i in range(1, len(graph.cuts)):
            piece = graph.piece(i) if fused_attention else _plain_attention(graph.piece(i))
            names.append(f"piece_{i:03}.pt")
            try:
                traced = torch.jit.trace(piece, carried, check_trace=False)  # type: ignore[no-untyped-call]
            except (RuntimeError, TypeError, ValueError) as error:
                raise _refused(graph, i, "TorchScript", error) from None
            buffer = io.BytesIO()  # torch's own writer aborts on a full disk
            torch.jit.save(traced, buffer)
            (folder / names[-1]).write_bytes(buffer.getbuffer())
            carried = _several(piece(*carried))
    return {"pieces": names}


def _several(value: Any) -> Values:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _plain_attention(module: nn.Module) -> nn.Module:
    """Attention as matrix products and a softmax, where the target has no operator for it."""
    import torch
    from torch import fx

    fused = torch.ops.aten.scaled_dot_product_attention.default
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            for node in part.graph.find_nodes(op="call_function", target=fused):
                node.target = attention
            part.recompile()
    return module


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q·Kᵀ·scale + mask)·V in operators that PyTorch 1.13 has; no dropout, as nothing is trained here."""
    import torch

    if enable_gqa:
        shared = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(shared, -3), value.repeat_interleave(shared, -3)
    logits = torch.matmul(query, key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        above = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(above, float("-inf"))
    if attn_mask is not None:
        boolean = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, float("-inf")) if boolean else logits + attn_mask
    return torch.matmul(torch.softmax(logits, -1), value)


# ---- Python source -------------------------------------------------------------------------------------------------

_PORTABLE = {"torch", "device", "inf", "nan", "NoneType", "math", "operator", "_operator"}
"""Names that generated source may use: those that any PyTorch 2 has."""

_HEAD = """import math
import operator
import _operator
from math import inf, nan

import torch
from torch import device

NoneType = type(None)

"""


def _source(graph: PartitionGraph, _inputs: Values, folder: Path, _fused_attention: bool) -> dict[str, Any]:
    """Pieces as functions of Python source, which the target's own torch.compile takes, unlike TorchScript."""
    import torch
    from torch import fx

    texts, weights = [_HEAD], {}
    for i in range(1, len(graph.cuts)):
        piece = graph.piece(i)
        if not isinstance(piece, fx.GraphModule):
            raise _refused(graph, i, "source for torch.compile", ValueError("it was exported for a fixed batch"))
        piece.graph.set_codegen(fx.graph.CodeGen())
        code = piece.graph.python_code("self")
        used = [name for name in code.globals if re.search(rf"\b{re.escape(name)}\b", code.src)]
        foreign = {name.split(".")[0] for name in used} - _PORTABLE
        if foreign:
            raise _refused(graph, i, "source for torch.compile", ValueError(f"it uses {', '.join(sorted(foreign))}"))
        texts.append(code.src.replace("def forward(", f"def piece_{i:03}(", 1) + "\n")
        for node in piece.graph.find_nodes(op="get_attr"):
            weights[str(node.target)] = graph.constant(node).detach()
    (folder / "pieces.py").write_text("\n".join(texts), encoding="utf-8")
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    (folder / "weights.pt").write_bytes(buffer.getbuffer())
    return {
        "source": "pieces.py", "weights": "weights.pt", "pieces": [f"piece_{i:03}" for i in range(1, len(graph.cuts))]
    }  # fmt: skip


# ---- ONNX ----------------------------------------------------------------------------------------------------------


def _onnx(graph: PartitionGraph, inputs: Values, folder: Path, _fused_attention: bool) -> dict[str, Any]:
    """One export of the chain with every activation as an output, then one extract a half."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise AdvisorError(
            f"Halves for ONNX Runtime need the package {error.name}.", "Run: pip install 'partition-advisor[onnx]'"
        ) from None
    model, names = _exported(graph, inputs)
    model.ir_version = IR_VERSION
    onnx.save_model(model, str(folder / "all.onnx"), save_as_external_data=True, location="weights.bin")
    extractor = onnx.utils.Extractor(onnx.load_model(str(folder / "all.onnx"), load_external_data=False))

    def part(name: str, start: int, stop: int) -> str:
        onnx.save_model(extractor.extract_model(list(names[start]), list(names[stop])), str(folder / name))
        return name

    last = len(names) - 1
    job = {
        "whole": part("whole.onnx", 0, last),
        "halves": {i: [part(f"edge_{i:03}.onnx", 0, i), part(f"cloud_{i:03}.onnx", i, last)] for i in range(1, last)},
        "pieces": [part(f"piece_{i:03}.onnx", i - 1, i) for i in range(1, last + 1)],
    }
    (folder / "all.onnx").unlink()
    return job


def _exported(graph: PartitionGraph, inputs: Values) -> tuple[Any, list[list[str]]]:
    """The model with the activations of every cut as outputs, and their names cut by cut."""
    import torch

    from advisor.operations.subgraphs import Calling, subgraph

    flat = [node for nodes in graph.activation_nodes[1:] for node in nodes]
    outputs = list(dict.fromkeys(flat))
    body = subgraph(graph.module, graph.placeholders, outputs, Calling([n.name for n in graph.placeholders]))
    label = {node: f"crossing_{i}" for i, node in enumerate(outputs)}
    given = [f"input_{i}" for i in range(len(graph.placeholders))]
    try:
        program = torch.onnx.export(
            _plain_attention(body.eval()), inputs, dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
            input_names=given, output_names=[label[node] for node in outputs],
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - the exporter raises whatever its passes raise
        raise _refused(graph, len(graph.cuts) - 1, "ONNX", error) from None
    first = [name for node, name in zip(graph.placeholders, given, strict=True) if node in graph.activation_nodes[0]]
    return program.model_proto, [first, *([label[node] for node in nodes] for nodes in graph.activation_nodes[1:])]  # type: ignore[union-attr]


def _refused(graph: PartitionGraph, index: int, form: str, error: BaseException) -> AdvisorError:
    lines = str(error.__cause__ or error).strip().splitlines()
    reason = lines[0][:200] if lines else type(error).__name__
    return AdvisorError(
        f"The part before {graph.cuts[index].name!r} cannot be written as {form}: {reason}.",
        "Choose the other runtime, or a device of the catalog.",
    )
