"""What a graph computes, as one number: the same for a module and its `.pt2`, another one for another weight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.operations.dag import flat_results
from advisor.operations.symbols import SYMBOLIC, expression, is_symbolic

_BATCH = sympy.Symbol("batch", integer=True, positive=True)
_PLACES = ("size", "shape")
"""Arguments that follow from the shape of the result; a frozen batch is written out in them."""


def digest_of(
    inputs: Sequence[fx.Node], results: Sequence[Any], constant: Callable[[fx.Node], Any], frozen: int | None
) -> str:
    """SHA-256, in hex, over operations, shapes and the bytes of all parameters and buffers that a result needs.

    Names play no part, nor does the order in which independent operations were written down or how memory is laid
    out. A program of frozen batch has its model's digest unless the batch stands elsewhere than first in some tensor.

    Args:
        inputs: the placeholders, in order.
        results: nodes, or constants.
        constant: what a `get_attr` node reads.
        frozen: the batch that is frozen into the program, None where it is dynamic.
    """
    sizes = _Sizes(inputs, frozen)
    number: dict[fx.Node, int] = {}
    weights: dict[int, str] = {}
    total = hashlib.sha256()

    def tell(what: str) -> None:
        total.update(f"{what}\n".encode())

    for node in inputs:
        number[node] = len(number)
        tell(f"input {_shaped(node.meta.get('val'), sizes)}")
    for node in _in_order(results, number):
        number[node] = len(number)
        if node.op == "get_attr":
            tell(f"constant {_content(constant(node), weights)}")
        else:
            tell(_operation(node, number, sizes))
    tell(f"results {_told(tuple(results), number, sizes)}")
    return total.hexdigest()


class _Sizes:
    """Sizes as they are written where the batch is free: `batch`, `16*batch`."""

    def __init__(self, inputs: Sequence[fx.Node], frozen: int | None) -> None:
        self._frozen = frozen
        rows = [expression(v.shape[0]) for n in inputs if isinstance(v := n.meta.get("val"), Tensor) and v.dim()]
        self._rows = {row: _BATCH for row in rows if not row.is_Integer}

    def of(self, value: Any) -> str:
        """A size anywhere."""
        return str(expression(value).subs(self._rows))

    def shape(self, value: Tensor) -> str:
        """A shape; in a program of frozen batch, a first dimension that it divides is taken to follow it."""
        leading = [self._leading(size) for size in value.shape[:1]]
        return ",".join([*leading, *map(self.of, value.shape[1:])])

    def _leading(self, size: Any) -> str:
        known = expression(size)
        if self._frozen is None or not known.is_Integer or int(known) % self._frozen:
            return self.of(size)
        return str(int(known) // self._frozen * _BATCH)


def _in_order(results: Sequence[Any], known: Mapping[fx.Node, int]) -> Iterator[fx.Node]:
    """What the results need, each node after those that it reads, in an order that only the structure decides."""
    seen = set(known)
    stack = [(r, False) for r in reversed(results) if isinstance(r, fx.Node)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen and not is_symbolic(node):
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.all_input_nodes))


def _operation(node: fx.Node, number: Mapping[fx.Node, int], sizes: _Sizes) -> str:
    """Operator, arguments and shape of the result."""
    schema = getattr(node.target, "_schema", None)
    names = [] if schema is None else [a.name for a in schema.arguments]
    value = node.meta.get("val")
    args = [
        "" if i < len(names) and names[i] in _PLACES and isinstance(value, Tensor) else _told(argument, number, sizes)
        for i, argument in enumerate(node.args)
    ]
    kwargs = [f"{key}={_told(node.kwargs[key], number, sizes)}" for key in sorted(node.kwargs)]
    kind = node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))
    return f"{schema.name if schema else ''} {kind}({', '.join([*args, *kwargs])}) -> {_shaped(value, sizes)}"


def _told(argument: Any, number: Mapping[fx.Node, int], sizes: _Sizes) -> str:
    """An argument: the number of the node that computes it, a size, or what it is."""
    if isinstance(argument, fx.Node):
        return sizes.of(argument.meta["val"]) if argument not in number else f"%{number[argument]}"
    if isinstance(argument, tuple | list):
        return f"[{', '.join(_told(part, number, sizes) for part in argument)}]"
    if isinstance(argument, dict):
        return f"{{{', '.join(f'{key}: {_told(part, number, sizes)}' for key, part in argument.items())}}}"
    if isinstance(argument, slice):
        return _told((argument.start, argument.stop, argument.step), number, sizes)
    return sizes.of(argument) if isinstance(argument, SYMBOLIC) else repr(argument)


def _shaped(value: Any, sizes: _Sizes) -> str:
    leaves = [v for v in pytree.tree_leaves(value) if isinstance(v, Tensor)]
    return " ".join(f"{v.dtype}[{sizes.shape(v)}]" for v in leaves)


def _content(value: Any, known: dict[int, str]) -> str:
    """Of a parameter or buffer: dtype, shape and bytes; of the body of a branch: its operations and its own content."""
    if id(value) not in known:
        known[id(value)] = _bytes_of(value) if isinstance(value, Tensor) else _body(value)
    return known[id(value)]


def _body(module: Any) -> str:
    inner = module.graph
    inputs = [n for n in inner.nodes if n.op == "placeholder"]
    return digest_of(inputs, flat_results(inner), lambda node: attrgetter(str(node.target))(module), None)


def _bytes_of(value: Tensor) -> str:
    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
    flat = plain.reshape(-1).view(torch.uint8).numpy()
    return f"{value.dtype}{tuple(value.shape)} {hashlib.sha256(flat.data).hexdigest()}"
