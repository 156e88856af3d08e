"""PartitionGraph: the traced model, its legal cuts, and exact halves."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, Self

from torch import Tensor, fx, nn

from advisor.cuts import Cut, TensorSpec, find_cut
from advisor.cutting.naming import CUT_NAME, Names
from advisor.errors import CutError, TraceError
from advisor.operations.dag import levels, live_sets
from advisor.operations.flat_model import FlatModel
from advisor.operations.grouping import Grouped
from advisor.operations.rows import not_by_row
from advisor.operations.subgraphs import Calling, spread, subgraph
from advisor.task import Task

Granularity = Literal["op", "layer", "block"]


@dataclass(frozen=True, eq=False)
class PartitionGraph(FlatModel):
    """The traced model, its cuts and its halves.

    Attributes:
        max_tensors: how many tensors may cross a cut.
        granularity: where cuts are looked for: after every operation, every module's call, or every block of modules.
        task: what its output means, where that is known; else the first vector of numbers is read as class scores.
    """

    max_tensors: int = 1
    granularity: Granularity = "op"
    task: Task | None = None

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
        """The activation at the last cut: the outputs that depend on the input, one row a sample."""
        returned = tuple(r for r in self._answers if self.spec(r) is not None)
        return returned or self._answers

    @cached_property
    def _answers(self) -> tuple[fx.Node, ...]:
        """The outputs that depend on the input; one may be a number for the whole batch, such as a loss."""
        answers = tuple(dict.fromkeys(r for r in self.results if r in self._data))
        if not answers:
            raise TraceError("No output of this model depends on its input.", "There is nothing to split.")
        return answers

    @cached_property
    def _live_sets(self) -> list[tuple[fx.Node, ...]]:
        """What is alive after each step of one topological order."""
        from advisor.cutting.ordering import order_through_hull

        order = self.data_nodes if self.max_tensors == 1 else order_through_hull(self, self.returned, self.sendable)
        return live_sets(order, self.results, self.max_tensors)

    def _ends_a_unit(self, node: fx.Node) -> bool:
        if self.granularity == "op" or node.op == "placeholder" or CUT_NAME in node.meta:
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
            cuts.append(Cut(index, name, specs, block, self.digest))
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

    # ---- the parts of a split ------------------------------------------------------------------------------------

    def edge_nodes(self, cut: Cut | int | str) -> tuple[fx.Node, ...]:
        """Operations the edge runs when cutting there, in execution order."""
        index = self.cut(cut).index
        return tuple(n for n in self.schedule if n.op == "call_function" and self._levels.get(n, index + 1) <= index)

    def piece_nodes(self, index: int) -> tuple[fx.Node, ...]:
        """Operations between cut `index - 1` and cut `index`."""
        return self._pieces[index]

    @cached_property
    def _levels(self) -> dict[fx.Node, int]:
        return levels(self.activation_nodes)

    @cached_property
    def _pieces(self) -> list[tuple[fx.Node, ...]]:
        pieces: list[list[fx.Node]] = [[] for _ in self.activation_nodes]
        for node in self.schedule:
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
        for node in self.schedule:
            value = self.constant(node) if node.op == "get_attr" and node in self._levels else None
            if isinstance(value, Tensor):
                name, _, level = unique.get(id(value), (str(node.target), value, len(self.activation_nodes)))
                unique[id(value)] = (name, value, min(level, self._levels[node]))
        return list(unique.values())

    def piece(self, stop: int, start: int | None = None) -> nn.Module:
        """The model between cut `start` (by default the one before) and `stop`: flat activations in and out."""
        inputs, outputs = self.activation_nodes[stop - 1 if start is None else start], self.activation_nodes[stop]
        return self._runnable(subgraph(self.module, inputs, outputs, Calling([n.name for n in inputs])))

    def made_for(self, cut: Cut) -> str:
        """Name of the defense without which a cut's activation means nothing; "" of a model's own."""
        return ""

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
        last = len(self.activation_nodes) - 1
        crossing = (self._answers if i == last else self.activation_nodes[i] for i in indices)
        ends = [self.placeholders, *crossing, self.results]
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

    # ---- the task ------------------------------------------------------------------------------------------------

    @property
    def scores_classes(self) -> bool:
        """Whether its output may be read as one score a class."""
        return self.task is None or self.task.kind == "classes"

    def with_task(self, task: Task) -> Self:
        """The same graph and cuts, knowing what its output means."""
        graph = dataclasses.replace(self, task=task)
        fields = {field.name for field in dataclasses.fields(self)}
        graph.__dict__.update({name: value for name, value in self.__dict__.items() if name not in fields})
        return graph
