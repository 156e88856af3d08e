"""The traced model as operations: flat tensors in, flat values out, one forward pass that lets others listen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from advisor.cuts import TensorSpec
from advisor.inputs import InputSpec, checked, flattened
from advisor.operations.dag import data_nodes, flat_results, levels
from advisor.operations.digest import digest_of
from advisor.operations.grouping import Batching
from advisor.operations.symbols import expression, frozen_size, is_symbolic
from advisor.operations.views import copies, is_view

AtNode = Callable[[fx.Node, Any], None]


@dataclass(frozen=True, eq=False)
class FlatModel:
    """The traced model, normalised.

    Attributes:
        module: the normalised graph: flat tensors in, flat values out, parameters shared with the user's model.
        example_inputs: flat example tensors, batch of `batch`.
        inputs: recorded input shapes, enough to trace the same model again.
        fixed_batch: batch size frozen into the program by its owner (it then runs in groups under vmap), else None.
        in_spec, out_spec: the model's own input and output structure.
        notes: what was assumed while tracing.
        writes: buffers that the model's forward writes to, with the line of each; nothing here writes to them.
    """

    module: fx.GraphModule
    example_inputs: tuple[Tensor, ...]
    inputs: InputSpec
    fixed_batch: int | None
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    notes: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @cached_property
    def placeholders(self) -> tuple[fx.Node, ...]:
        """All inputs, in order."""
        return tuple(n for n in self.module.graph.nodes if n.op == "placeholder")

    @cached_property
    def results(self) -> tuple[Any, ...]:
        """Flat outputs: nodes, or constants."""
        return flat_results(self.module.graph)

    @cached_property
    def data_nodes(self) -> tuple[fx.Node, ...]:
        """Nodes whose value depends on the input's values and that some output needs, in execution order."""
        return data_nodes(self.module.graph, self.results)

    @cached_property
    def alive(self) -> frozenset[fx.Node]:
        """Nodes that some output needs, constants included."""
        return frozenset(levels([[r for r in self.results if isinstance(r, fx.Node)]]))

    @cached_property
    def batch(self) -> int:
        """Batch size of the example inputs."""
        return int(self.example_inputs[0].shape[0])

    def is_data(self, node: fx.Node) -> bool:
        """Whether a node's value depends on the input's values and some output needs it."""
        return node in self._data

    def constant(self, node: fx.Node) -> Tensor:
        """The parameter or buffer that a `get_attr` node reads."""
        value: Any = self.module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value  # type: ignore[no-any-return]

    @property
    def digest(self) -> str:
        """SHA-256 of operations, shapes and weights; of what the weights are now, counted anew once one was written.

        A module and its `.pt2` have the same; names of weights and the choice of cuts play no part.
        """
        if self._digests.get("written") != self._written:
            self.has_digest(digest_of(self.placeholders, self.results, self.constant, self.fixed_batch))
        return str(self._digests["found"])

    def has_digest(self, found: str) -> None:
        """Take this for the digest of the weights as they are now."""
        self._digests.update(written=self._written, found=found)

    @property
    def _written(self) -> tuple[tuple[int, int], ...]:
        held = [self.constant(n) for n in self.module.graph.nodes if n.op == "get_attr"]
        return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in held if isinstance(t, Tensor))

    @cached_property
    def _digests(self) -> dict[str, Any]:
        return {}

    # ---- sizes ---------------------------------------------------------------------------------------------------

    def spec(self, node: fx.Node, strict: bool = True) -> TensorSpec | None:
        """Shape without batch and dtype of a node's value.

        None for what is no tensor and, when `strict`, for a tensor whose first dimension is not the batch.
        """
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            return None
        leading = value.dim() > 0 and expression(value.shape[0]) in self._rows
        if strict and not leading:
            return None
        shape = value.shape[1:] if leading else value.shape
        return TensorSpec(tuple(self.size_of(s, self.batch) for s in shape), str(value.dtype).removeprefix("torch."))

    def axis_of(self, value: Any) -> int | None:
        """Which dimension of a traced value is the batch; None where none is it by itself."""
        if not isinstance(value, Tensor):
            return None
        if self.fixed_batch is not None:
            return 0 if value.dim() and frozen_size(value.shape[0]) == self.fixed_batch else None
        return next((i for i, size in enumerate(value.shape) if expression(size) in self._rows), None)

    def value_bytes(self, node: fx.Node) -> float:
        """Bytes that a node's output adds to memory for one sample; 0 for views and sizes."""
        if node.op != "call_function" or is_symbolic(node) or (is_view(node) and not copies(node)):
            return 0.0
        rows = self.batch
        leaves_ = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        return sum(math.prod(self.size_of(s, rows) for s in v.shape) * v.element_size() for v in leaves_) / rows

    @cached_property
    def _rows(self) -> frozenset[Any]:
        """The batch size as the inputs name it: inputs that never meet have a symbol each."""
        return frozenset(expression(p.meta["val"].shape[0]) for p in self.placeholders)

    def size_of(self, size: Any, rows: int) -> int:
        """A traced size for so many samples."""
        if isinstance(size, int):
            return size
        value = expression(size)
        return int(value.subs(dict.fromkeys(value.free_symbols, rows)))

    # ---- the forward pass ----------------------------------------------------------------------------------------

    @cached_property
    def argument_names(self) -> list[str]:
        """Names of the model's own arguments, nested ones once."""
        codegen: Any = self.module.graph._codegen
        return list(codegen.pytree_info.orig_args)

    def flat(self, x: Any) -> tuple[Tensor, ...]:
        """The user's inputs as flat tensors, checked against the traced shapes.

        Raises:
            DataError: on another number or nesting of inputs, another shape or kind of number.
        """
        return checked(flattened(x, self.in_spec, self.argument_names), self.inputs)

    def run(self, inputs: Sequence[Tensor], at_node: AtNode | None = None, strict: bool = True) -> tuple[Any, ...]:
        """Run the model node by node, handing each computed value to `at_node`, and free what is no longer needed.

        Args:
            inputs: flat tensors `[N, ...]`, any N.
            at_node: called as `at_node(node, value)` after each placeholder and operation.
            strict: refuse an output that does not lead with a frozen batch; else it comes as the operations gave it.

        Returns:
            The flat outputs.

        Raises:
            DataError: when a program of frozen batch gets other than that, and an output does not lead with the batch.
        """
        batching = self.batching(inputs[0].shape[0])

        def listen(node: fx.Node, value: Any) -> None:
            if at_node:
                at_node(node, batching.leave(node, value))

        flat = self.interpret(inputs, batching, listen)
        return tuple(
            batching.leave(r, v, strict) if isinstance(r, fx.Node) else v
            for r, v in zip(self.results, flat, strict=True)
        )

    def batching(self, rows: int, always_group: bool = False) -> Batching:
        """How a run of `rows` samples goes through the operations."""
        return Batching(self.fixed_batch, rows, self._data, always_group)

    def interpret(self, inputs: Sequence[Tensor], batching: Batching, at_node: AtNode) -> tuple[Any, ...]:
        """`run` in the layout of `batching`: values are handed over and returned as the operations see them."""
        values: dict[fx.Node, Any] = {}
        for node, value in zip(self.placeholders, inputs, strict=True):
            values[node] = batching.enter(value)
            at_node(node, values[node])
        left = dict(self.uses)
        for node in self.schedule:
            values[node] = self.evaluate(node, values, batching)
            if node.op == "call_function":
                at_node(node, values[node])
            for source in node.all_input_nodes:
                left[source] -= 1
                if not left[source]:
                    del values[source]
        return tuple(values[r] if isinstance(r, fx.Node) else r for r in self.results)

    def evaluate(self, node: fx.Node, values: Mapping[fx.Node, Any], batching: Batching) -> Any:
        """The value of one node of the schedule, given those that it reads."""
        if node.op == "get_attr":
            return self.constant(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values[n])
        return batching.call(node, args, kwargs)

    @cached_property
    def schedule(self) -> tuple[fx.Node, ...]:
        """Reads of weights and operations, in execution order."""
        return tuple(n for n in self.module.graph.nodes if n.op in ("get_attr", "call_function"))

    @cached_property
    def uses(self) -> Counter[fx.Node]:
        """How often each value is read: by operations, and as a result."""
        uses = Counter(source for node in self.schedule for source in node.all_input_nodes)
        uses.update(r for r in self.results if isinstance(r, fx.Node))
        return uses

    @cached_property
    def _data(self) -> frozenset[fx.Node]:
        return frozenset(self.data_nodes)

    def __call__(self, x: Any) -> Any:
        """The model's own output for user inputs `x`, without gradients."""
        with torch.no_grad():
            flat = self.run(self.flat(x))
        return pytree.tree_unflatten(list(flat), self.out_spec)
