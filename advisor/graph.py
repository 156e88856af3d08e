"""PartitionGraph: the traced model, its legal cuts, one walk that lets others listen, and exact halves."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from advisor.cuts import Cut, TensorSpec
from advisor.errors import CutError, DataError, TraceError
from advisor.halves import Grouped, group, subgraph, with_structure
from advisor.inputs import InputSpec, arguments, leaves
from advisor.naming import Names
from advisor.normalise import is_view
from advisor.symbols import expression, is_symbolic

AtNode = Callable[[fx.Node, Any], None]


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
    """

    module: fx.GraphModule
    example_inputs: tuple[Tensor, ...]
    inputs: InputSpec
    fixed_batch: int | None
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    notes: tuple[str, ...] = ()

    # ---- what the graph is made of -------------------------------------------------------------------------------

    @cached_property
    def placeholders(self) -> tuple[fx.Node, ...]:
        """All inputs, in order."""
        return tuple(n for n in self.module.graph.nodes if n.op == "placeholder")

    @cached_property
    def results(self) -> tuple[Any, ...]:
        """Flat outputs: nodes, or constants."""
        return tuple(self.module.graph.output_node().args[0])

    @cached_property
    def data_nodes(self) -> tuple[fx.Node, ...]:
        """Nodes whose value depends on the input's values and that some output needs, in execution order."""
        ahead: set[fx.Node] = set()
        for node in self.module.graph.nodes:
            if node.op == "placeholder" or (
                node.op == "call_function" and not is_symbolic(node) and any(s in ahead for s in node.all_input_nodes)
            ):
                ahead.add(node)
        live: set[fx.Node] = {r for r in self.results if isinstance(r, fx.Node)}
        for node in reversed(self.module.graph.nodes):
            if node in live and not is_symbolic(node):
                live.update(node.all_input_nodes)
        return tuple(n for n in self.module.graph.nodes if n in ahead and n in live)

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

    # ---- cuts ----------------------------------------------------------------------------------------------------

    @cached_property
    def crossings(self) -> tuple[tuple[fx.Node, ...], ...]:
        """For each cut, the nodes whose values cross it."""
        inner = [(n,) for n in self._bottlenecks() if self.spec(n) is not None]
        sent = tuple(dict.fromkeys(r for r in self.results if r in set(self.data_nodes)))
        if not sent:
            raise TraceError("No output of this model depends on its input.", "There is nothing to split.")
        first = tuple(p for p in self.placeholders if p in set(self.data_nodes))
        return (first, *(c for c in inner if c not in (first, sent)), sent)

    def _bottlenecks(self) -> list[fx.Node]:
        """Nodes on every path from input to output: no edge of the DAG jumps over them in topological order."""
        nodes = self.data_nodes
        position = {node: i for i, node in enumerate(nodes)}
        results = {r for r in self.results if isinstance(r, fx.Node)}
        reach = max((position[p] for p in self.placeholders if p in position), default=-1)
        found = []
        for i, node in enumerate(nodes):
            if reach <= i:
                found.append(node)
            last = max((position[u] for u in node.users if u in position), default=i)
            reach = max(reach, len(nodes) if node in results else last)
        return found

    @cached_property
    def names(self) -> Names:
        """Names of all computed tensors."""
        return Names([n for n in self.data_nodes if n.op == "call_function"])

    @cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """Every legal cut, from the raw input to the output."""
        last = len(self.crossings) - 1
        cuts = []
        for index, nodes in enumerate(self.crossings):
            if index in (0, last):
                name, block = ("input", "output")[index == last], ""
            else:
                name, block = self.names[nodes[0]], self.names.closes(nodes[0])
            specs = tuple(s for n in nodes for s in [self.spec(n, strict=False)] if s is not None)
            cuts.append(Cut(index, name, specs, block))
        return tuple(cuts)

    def cut(self, wanted: Cut | int | str) -> Cut:
        """Find a cut by itself, its index, its name, or a module path under which exactly one cut lies.

        Raises:
            CutError: when there is none, or several; the message lists the candidates.
        """
        if isinstance(wanted, Cut):
            wanted = wanted.name
        if isinstance(wanted, int):
            if not -len(self.cuts) <= wanted < len(self.cuts):
                raise CutError(f"There is no cut {wanted}.", f"Cuts are numbered 0 to {len(self.cuts) - 1}.")
            return self.cuts[wanted]
        for cut in self.cuts:
            if cut.name == wanted:
                return cut
        return self._cut_below(wanted)

    def _cut_below(self, path: str) -> Cut:
        own = {cut.name: cut for cut in self.cuts}
        last = self.crossings[-1][-1]
        if last.op == "call_function":
            own[self.names[last]] = self.cuts[-1]
        found = [
            cut for name, cut in own.items() if name == path or name.startswith((f"{path}.", f"{path}/", f"{path}#"))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(cut.name for cut in found)
            raise CutError(f"The name {path!r} fits several cuts: {listed}.", "Name one of them.")
        near = difflib.get_close_matches(path, list(own), n=3, cutoff=0.4)
        raise CutError(
            f"There is no legal cut {path!r}.",
            f"Nearest: {', '.join(near)}." if near else f"Legal cuts: {', '.join(own)}.",
        )

    # ---- sizes ---------------------------------------------------------------------------------------------------

    def spec(self, node: fx.Node, strict: bool = True) -> TensorSpec | None:
        """Shape without batch and dtype of a node's value.

        None for what is no tensor and, when `strict`, for a tensor whose first dimension is not the batch.
        """
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            return None
        rows = self._rows()
        leading = value.dim() > 0 and bool(expression(value.shape[0]) == rows)
        if strict and not leading:
            return None
        shape = value.shape[1:] if leading else value.shape
        return TensorSpec(tuple(self._concrete(s) for s in shape), str(value.dtype).removeprefix("torch."))

    def value_bytes(self, node: fx.Node) -> float:
        """Bytes that a node's output adds to memory for one sample; 0 for views and sizes."""
        if node.op != "call_function" or is_symbolic(node) or is_view(node):
            return 0.0
        leaves_ = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        return sum(math.prod(self._concrete(s) for s in v.shape) * v.element_size() for v in leaves_) / self.batch

    def _rows(self) -> Any:
        return expression(self.placeholders[0].meta["val"].shape[0])

    def _concrete(self, size: Any) -> int:
        value = expression(size)
        return int(value.subs(dict.fromkeys(value.free_symbols, self.batch)))

    # ---- the parts of a split ------------------------------------------------------------------------------------

    def edge_nodes(self, cut: Cut | int | str) -> tuple[fx.Node, ...]:
        """Operations the edge runs when cutting there, in execution order."""
        return tuple(n for n in self.module.graph.nodes if n in self._ancestors(self.cut(cut).index))

    def piece_nodes(self, index: int) -> tuple[fx.Node, ...]:
        """Operations between cut `index - 1` and cut `index`."""
        before = self._ancestors(index - 1)
        return tuple(n for n in self.edge_nodes(index) if n not in before)

    def _ancestors(self, index: int) -> set[fx.Node]:
        return self._ancestor_sets[index]

    @cached_property
    def _ancestor_sets(self) -> list[set[fx.Node]]:
        sets: list[set[fx.Node]] = []
        known: set[fx.Node] = set()
        for nodes in self.crossings:
            stack, known = list(nodes), set(known)
            while stack:
                node = stack.pop()
                if node not in known:
                    known.add(node)
                    stack.extend(node.all_input_nodes)
            sets.append({n for n in known})
        return [{n for n in s if n.op == "call_function"} for s in sets]

    def edge_parameters(self, cut: Cut | int | str) -> dict[str, Tensor]:
        """Parameters and buffers the edge half holds; shared ones once."""
        used = {source for n in self.edge_nodes(cut) for source in n.all_input_nodes if source.op == "get_attr"}
        unique: dict[int, tuple[str, Tensor]] = {}
        for node in used:
            value = self.constant(node)
            unique.setdefault(id(value), (str(node.target), value))
        return dict(sorted(unique.values()))

    def piece(self, index: int) -> nn.Module:
        """The model between cut `index - 1` and cut `index`: flat crossing tensors in, crossing tensors out."""
        inputs, outputs = self.crossings[index - 1], self.crossings[index]
        names = [n.name for n in inputs]
        return self._runnable(with_structure(subgraph(self.module, inputs, outputs), names, None, None))

    def split(self, cut: Cut | int | str, tail: Cut | int | str | None = None) -> tuple[nn.Module, ...]:
        """Two modules, `cloud(edge(x)) == model(x)`; with `tail`, three: edge head, cloud body, edge tail.

        A half holds its own parameters only, shared with the model, takes any batch size and never writes to its input.

        Raises:
            CutError: when a name fits no cut or several, or `tail` does not lie behind `cut`.
        """
        indices = [self.cut(cut).index] + ([] if tail is None else [self.cut(tail).index])
        if len(indices) == 2 and indices[0] >= indices[1]:
            raise CutError(f"The tail {self.cuts[indices[1]].name!r} does not lie behind the head.", "Swap them.")
        ends = [self.placeholders, *(self.crossings[i] for i in indices), self.results]
        parts = []
        for i, (start, stop) in enumerate(zip(ends, ends[1:], strict=False)):
            first, final = i == 0, i == len(ends) - 2
            body = subgraph(self.module, start, stop)
            spec_in, spec_out = (self.in_spec if first else None), (self.out_spec if final else None)
            parts.append(self._runnable(with_structure(body, [n.name for n in start], spec_in, spec_out)))
        return tuple(parts)

    def _runnable(self, body: fx.GraphModule) -> nn.Module:
        return body.eval() if self.fixed_batch is None else Grouped(body, self.fixed_batch).eval()

    # ---- the walk ------------------------------------------------------------------------------------------------

    def flat(self, x: Any) -> tuple[Tensor, ...]:
        """The user's inputs as flat tensors, checked against the traced shapes.

        Raises:
            DataError: on another number of inputs, shape or kind of number.
        """
        args, kwargs = arguments(x)
        tensors = leaves(args, {k: kwargs[k] for k in self.inputs.keywords if k in kwargs} or kwargs)
        if len(tensors) != len(self.inputs.tensors):
            raise DataError(f"The model takes {len(self.inputs.tensors)} inputs, the data has {len(tensors)}.")
        for tensor, spec in zip(tensors, self.inputs.tensors, strict=True):
            _check_against(tensor, spec)
        return tuple(t.to(getattr(torch, s.dtype)) for t, s in zip(tensors, self.inputs.tensors, strict=True))

    def run(self, inputs: Sequence[Tensor], at_node: AtNode | None = None) -> tuple[Any, ...]:
        """Run the model node by node, handing each computed value to `at_node`, and free what is no longer needed.

        Args:
            inputs: flat tensors `[N, ...]`, any N.
            at_node: called as `at_node(node, value)` after each placeholder and operation.

        Returns:
            The flat outputs.
        """
        rows, values = inputs[0].shape[0], {}
        for node, value in zip(self.placeholders, inputs, strict=True):
            values[node] = value if self.fixed_batch is None else group(value, self.fixed_batch)
            if at_node:
                at_node(node, value)
        left = dict(self._uses)
        for node in self._schedule:
            values[node] = self._evaluate(node, values)
            if at_node and node.op == "call_function":
                at_node(node, self._ungrouped(node, values[node], rows))
            for source in node.all_input_nodes:
                left[source] -= 1
                if not left[source]:
                    del values[source]
        return tuple(self._ungrouped(r, values[r], rows) if isinstance(r, fx.Node) else r for r in self.results)

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

    def _evaluate(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return self.constant(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values[n])
        if self.fixed_batch is None or node not in self._data:
            return node.target(*args, **kwargs)  # type: ignore[operator]
        return grouped_call(node, args, kwargs, self._data)

    def _ungrouped(self, node: fx.Node, value: Any, rows: int) -> Any:
        if self.fixed_batch is None or node not in self._data:
            return value
        return pytree.tree_map_only(Tensor, lambda t: t.flatten(0, 1)[:rows], value)

    def __call__(self, x: Any) -> Any:
        """The model's own output for user inputs `x`, without gradients."""
        with torch.no_grad():
            flat = self.run(self.flat(x))
        return pytree.tree_unflatten(list(flat), self.out_spec)

    def like(self, model: nn.Module | str) -> PartitionGraph:
        """Trace another model (the same architecture, say freshly loaded) the way this one was."""
        from advisor.tracing import trace

        return trace(model, self.inputs)


def grouped_call(node: fx.Node, args: Any, kwargs: Any, data: frozenset[fx.Node]) -> Any:
    """One operation under vmap over groups: data arguments carry a leading group dimension, constants do not."""
    flat_nodes, structure = pytree.tree_flatten((node.args, node.kwargs))
    flat_values = pytree.tree_leaves((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, Tensor))
    values = [v if isinstance(n, fx.Node) else n for n, v in zip(flat_nodes, flat_values, strict=True)]
    moving = [i for i, n in enumerate(flat_nodes) if isinstance(n, fx.Node) and n in data]

    def call(*moved: Tensor) -> Any:
        merged = list(values)
        for i, value in zip(moving, moved, strict=True):
            merged[i] = value
        inner_args, inner_kwargs = pytree.tree_unflatten(merged, structure)
        return node.target(*inner_args, **inner_kwargs)  # type: ignore[operator]

    return torch.vmap(call)(*(values[i] for i in moving))


def _check_against(tensor: Tensor, spec: TensorSpec) -> None:
    expected = getattr(torch, spec.dtype)
    if tuple(tensor.shape[1:]) != spec.shape:
        raise DataError(
            f"The data has shape {tuple(tensor.shape[1:])} a sample, the model takes {spec.shape}.",
            "Resize it (--resize), or pass data of the model's shape.",
        )
    if expected.is_floating_point != tensor.dtype.is_floating_point:
        raise DataError(f"The data is {tensor.dtype}, the model takes {expected}.", "Convert the data first.")
