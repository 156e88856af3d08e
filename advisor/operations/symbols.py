"""Symbolic batch sizes: recomputed from the batch of the activation, so that they never count as crossing."""

from __future__ import annotations

import operator
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import fx
from torch.utils._sympy.functions import FloorDiv, Mod, PythonMod
from torch.utils._sympy.symbol import SymT, symbol_is_type

from advisor.errors import TraceError

SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
_READ = (SymT.UNBACKED_INT, SymT.UNBACKED_FLOAT)
_BINARY = {FloorDiv: operator.floordiv, Mod: operator.mod, PythonMod: operator.mod}


def expression(value: Any) -> sympy.Expr:
    """The sympy expression of an int or SymInt."""
    return value.node.expr if isinstance(value, SYMBOLIC) else sympy.sympify(value)


def symbols_of(value: Any) -> set[sympy.Symbol]:
    """The symbols in a size; none where it is a number."""
    return set(value.node.expr.free_symbols) if isinstance(value, SYMBOLIC) else set()


def frozen_size(value: Any) -> int | None:
    """The number that a size is or was specialised to while tracing; None where it is free."""
    known = expression(value)
    return int(known) if known.is_Integer else None


def is_symbolic(node: fx.Node) -> bool:
    """Whether the node computes a size that follows from the batch; a number read out of a tensor is data."""
    value = node.meta.get("val")
    return isinstance(value, SYMBOLIC) and not any(symbol_is_type(s, _READ) for s in symbols_of(value))


def emit(graph: fx.Graph, value: sympy.Expr, batch: fx.Node) -> Any:
    """Nodes that compute `value` from the batch size `batch`; a plain int where it is constant."""
    if value.is_Integer:
        return int(value)
    if value.is_Symbol:
        return batch
    if isinstance(value, sympy.Add | sympy.Mul):
        function = operator.add if isinstance(value, sympy.Add) else operator.mul
        result = emit(graph, value.args[0], batch)
        for term in value.args[1:]:
            result = graph.call_function(function, (result, emit(graph, term, batch)))
        return result
    if type(value) in _BINARY:
        left, right = (emit(graph, part, batch) for part in value.args)
        return graph.call_function(_BINARY[type(value)], (left, right))
    if isinstance(value, sympy.Pow) and value.exp.is_Integer:
        return graph.call_function(operator.pow, (emit(graph, value.base, batch), int(value.exp)))
    raise TraceError(f"The model computes a size as {value}, which cannot be rebuilt after a cut.")
