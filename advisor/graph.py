"""PartitionGraph: the traced model, its legal cuts, one forward pass that lets others listen, and exact halves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from advisor.cuts import Cut, TensorSpec, find_cut
from advisor.cutting.grouping import Batching, Grouped, not_by_row
from advisor.cutting.halves import Calling, spread, subgraph
from advisor.cutting.naming import Names
from advisor.errors import CutError, TraceError
from advisor.operations.digest import digest_of
from advisor.tracing.dag import data_nodes, flat_results, levels, live_sets
from advisor.tracing.inputs import InputSpec, checked, flattened
from advisor.tracing.normalise import copies, is_view
from advisor.tracing.symbols import expression, is_symbolic

AtNode = Callable[[fx.Node, Any], None]
Granularity = Literal["op", "layer", "block"]


@dataclass(frozen=True, eq=False)
class PartitionGraph:
    """The traced model.

    Attributes:
        module: the normalised graph: flat tensors in, flat values out, parameters shared with the user's model.
        example_inputs: flat example tensors, batch of `batch`.
        inputs: recorded input shapes, enough to trace the same model again.
        fixed_batch: batch size frozen into the program by its owner (it then runs in groups under vmap), else None.
        in_spec, out_spec: the model's own input and output structure.
        notes: what was assumed while tracing.
        max_tensors: how many tensors may cross a cut.
        granularity: where cuts are looked for: after every operation, every module's call, or every block of modules.
    """

    module: fx.GraphModule
    example_inputs: tuple[Tensor, ...]
    inputs: InputSpec
    fixed_batch: int | None
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    notes: tuple[str, ...] = ()
    max_tensors: int = 1
    granularity: Granularity = "op"

    # ---- what the graph is made of -------------------------------------------------------------------------------

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
    def batch(self) -> int:
        """Batch size of the example inputs."""
        return int(self.example_inputs[0].shape[0])

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
        held = [self.constant(n) for n in self.module.graph.nodes if n.op == "get_attr"]
        written = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in held if isinstance(t, Tensor))
        if self._digests.get("written") != written:
            found = digest_of(self.placeholders, self.results, self.constant, self.fixed_batch)
            self._digests.update(written=written, found=found)
        return str(self._digests["found"])

    @cached_property
    def _digests(self) -> dict[str, Any]:
        return {}

    # ---- cuts ----------------------------------------------------------------------------------------------------

    @cached_property
    def activation_nodes(self) -> tuple[tuple[fx.Node, ...], ...]:
        """For each cut, the nodes whose values cross it, the newest last."""
        first = tuple(p for p in self.placeholders if p in self._data)
        inner = [n for n in self._live_sets if self._ends_a_unit(n[-1]) and all(map(self.sendable, n))]
        ends = {frozenset(first), frozenset(self.returned)}
        return (first, *(nodes for nodes in inner if frozenset(nodes) not in ends), self.returned)

    @cached_property
    def returned(self) -> tuple[fx.Node, ...]:
        """The activation at the last cut: the outputs that depend on the input."""
        returned = tuple(dict.fromkeys(r for r in self.results if r in self._data))
        if not returned:
            raise TraceError("No output of this model depends on its input.", "There is nothing to split.")
        return returned

    @cached_property
    def _live_sets(self) -> list[tuple[fx.Node, ...]]:
        """What is alive after each step of one topological order."""
        from advisor.cutting.ordering import order_through_hull

        order = self.data_nodes if self.max_tensors == 1 else order_through_hull(self)
        return live_sets(order, self.results, self.max_tensors)

    def _ends_a_unit(self, node: fx.Node) -> bool:
        if self.granularity == "op" or node.op == "placeholder":
            return True
        return bool(self.names.closes(node, leaves=self.granularity == "layer"))

    def sendable(self, node: fx.Node) -> TensorSpec | None:
        """What is sent where this node's value does; None for what must not: its rows are not the samples."""
        return None if node in self.mixed else self.spec(node)

    @cached_property
    def mixed(self) -> frozenset[fx.Node]:
        """In a program of frozen batch, nodes whose first dimension has the batch's size but is not the batch.

        Where the batch is dynamic, its symbol tells; a group of one sample is a sample, whatever leads.
        """
        if self.fixed_batch in (None, 1):
            return frozenset()
        return not_by_row(self, self.data_nodes)

    @cached_property
    def names(self) -> Names:
        """Names of all computed tensors."""
        return Names([n for n in self.data_nodes if n.op == "call_function"])

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every legal cut, from the raw input to the output."""
        last = len(self.activation_nodes) - 1
        cuts = []
        for index, nodes in enumerate(self.activation_nodes):
            if index in (0, last):
                name, block = ("input", "output")[index == last], ""
            else:
                name, block = "+".join(map(self._name, nodes)), self.names.closes(nodes[-1])
            specs = tuple(s for n in nodes for s in [self.spec(n, strict=False)] if s is not None)
            cuts.append(Cut(index, name, specs, block))
        return tuple(cuts)

    def _name(self, node: fx.Node) -> str:
        return self.names[node] if node.op == "call_function" else node.name

    def cut(self, wanted: Cut | int | str) -> Cut:
        """Find a cut by itself, its index, its name, or a module path under which exactly one cut lies.

        Raises:
            CutError: when there is none, or several; the message lists the candidates.
        """
        last = self.returned[-1]
        return find_cut(self.cuts, wanted, self.names[last] if last.op == "call_function" else "output")

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
        return TensorSpec(tuple(self._concrete(s) for s in shape), str(value.dtype).removeprefix("torch."))

    def value_bytes(self, node: fx.Node) -> float:
        """Bytes that a node's output adds to memory for one sample; 0 for views and sizes."""
        if node.op != "call_function" or is_symbolic(node) or (is_view(node) and not copies(node)):
            return 0.0
        leaves_ = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        return sum(math.prod(self._concrete(s) for s in v.shape) * v.element_size() for v in leaves_) / self.batch

    @cached_property
    def _rows(self) -> frozenset[Any]:
        """The batch size as the inputs name it: inputs that never meet have a symbol each."""
        return frozenset(expression(p.meta["val"].shape[0]) for p in self.placeholders)

    def _concrete(self, size: Any) -> int:
        value = expression(size)
        return int(value.subs(dict.fromkeys(value.free_symbols, self.batch)))

    # ---- the parts of a split ------------------------------------------------------------------------------------

    def edge_nodes(self, cut: Cut | int | str) -> tuple[fx.Node, ...]:
        """Operations the edge runs when cutting there, in execution order."""
        index = self.cut(cut).index
        return tuple(n for n in self._schedule if n.op == "call_function" and self._levels.get(n, index + 1) <= index)

    def piece_nodes(self, index: int) -> tuple[fx.Node, ...]:
        """Operations between cut `index - 1` and cut `index`."""
        return self._pieces[index]

    @cached_property
    def _levels(self) -> dict[fx.Node, int]:
        return levels(self.activation_nodes)

    @cached_property
    def _pieces(self) -> list[tuple[fx.Node, ...]]:
        pieces: list[list[fx.Node]] = [[] for _ in self.activation_nodes]
        for node in self._schedule:
            if node.op == "call_function" and node in self._levels:
                pieces[self._levels[node]].append(node)
        return [tuple(nodes) for nodes in pieces]

    def edge_parameters(self, cut: Cut | int | str) -> dict[str, Tensor]:
        """Parameters and buffers the edge half holds; shared ones once, under the first name the model has for them."""
        index = self.cut(cut).index
        return {name: value for name, value, level in self._holdings if level <= index}

    @cached_property
    def _holdings(self) -> list[tuple[str, Tensor, int]]:
        """(name, value, first cut whose edge half needs it) of each parameter and buffer that is used."""
        unique: dict[int, tuple[str, Tensor, int]] = {}
        for node in self._schedule:
            value = self.constant(node) if node.op == "get_attr" and node in self._levels else None
            if isinstance(value, Tensor):
                name, _, level = unique.get(id(value), (str(node.target), value, len(self.activation_nodes)))
                unique[id(value)] = (name, value, min(level, self._levels[node]))
        return list(unique.values())

    def piece(self, stop: int, start: int | None = None) -> nn.Module:
        """The model between cut `start` (by default the one before) and `stop`: flat activations in and out."""
        inputs, outputs = self.activation_nodes[stop - 1 if start is None else start], self.activation_nodes[stop]
        return self._runnable(subgraph(self.module, inputs, outputs, Calling([n.name for n in inputs])))

    def split(self, cut: Cut | int | str, tail: Cut | int | str | None = None) -> tuple[nn.Module, ...]:
        """Two modules, `cloud(edge(x)) == model(x)`; with `tail`, three: edge head, cloud body, edge tail.

        A half holds its own parameters only, shared with the model, takes any batch size and never writes to its input.
        Where several tensors cross, a half returns a tuple of them, and the next takes that tuple, or them one by one.

        Raises:
            CutError: when a name fits no cut or several, or `tail` does not lie after `cut`.
        """
        indices = [self.cut(cut).index] + ([] if tail is None else [self.cut(tail).index])
        if len(indices) == 2 and indices[0] >= indices[1]:
            raise CutError(f"The tail {self.cuts[indices[1]].name!r} does not lie after the head.", "Swap them.")
        ends = [self.placeholders, *(self.activation_nodes[i] for i in indices), self.results]
        parts = []
        for i, (start, stop) in enumerate(pairwise(ends)):
            names, spec_in = [n.name for n in start], None
            if i == 0:
                names, spec_in = self.argument_names, self.in_spec
            spec_out = self.out_spec if i == len(ends) - 2 else None
            part = self._runnable(subgraph(self.module, start, stop, Calling(names, spec_in, spec_out)))
            if i and len(start) > 1:
                part.register_forward_pre_hook(spread)
            parts.append(part)
        return tuple(parts)

    def _runnable(self, body: fx.GraphModule) -> nn.Module:
        return body.eval() if self.fixed_batch is None else Grouped(body, self.fixed_batch).eval()

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

    def run(self, inputs: Sequence[Tensor], at_node: AtNode | None = None) -> tuple[Any, ...]:
        """Run the model node by node, handing each computed value to `at_node`, and free what is no longer needed.

        Args:
            inputs: flat tensors `[N, ...]`, any N.
            at_node: called as `at_node(node, value)` after each placeholder and operation.

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
            batching.leave(r, v, strict=True) if isinstance(r, fx.Node) else v
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
        left = dict(self._uses)
        for node in self._schedule:
            values[node] = self._evaluate(node, values, batching)
            if node.op == "call_function":
                at_node(node, values[node])
            for source in node.all_input_nodes:
                left[source] -= 1
                if not left[source]:
                    del values[source]
        return tuple(values[r] if isinstance(r, fx.Node) else r for r in self.results)

    def _evaluate(self, node: fx.Node, values: dict[fx.Node, Any], batching: Batching) -> Any:
        if node.op == "get_attr":
            return self.constant(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values[n])
        return batching.call(node, args, kwargs)

    @cached_property
    def _schedule(self) -> tuple[fx.Node, ...]:
        return tuple(n for n in self.module.graph.nodes if n.op in ("get_attr", "call_function"))

    @cached_property
    def _uses(self) -> Counter[fx.Node]:
        uses = Counter(source for node in self._schedule for source in node.all_input_nodes)
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

    def like(self, model: nn.Module | str) -> PartitionGraph:
        """Trace another model (the same architecture, say freshly loaded) the way this one was."""
        from advisor.tracing.tracer import trace

        return trace(model, self.inputs, max_tensors=self.max_tensors, granularity=self.granularity)
