"""Variant: what a trained defense makes of a graph and a cut, a PartitionGraph again.

The encoder runs on the edge after the cut's activation, the decoder in the cloud before what reads it; between them
lies the payload, a cut like any other. Cost, leakage, accuracy, attack, split and export take a variant like any graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher

from advisor.cuts import Cut
from advisor.cutting.naming import CUT_NAME
from advisor.errors import CutError
from advisor.graph import PartitionGraph
from advisor.operations.symbols import frozen_size, is_symbolic
from advisor.tracing.tracer import trace
from advisor.variant_parts import CHANGES, Change, Part, VariantParts

ENCODER, PAYLOAD, DECODER = "encoder", "payload", "decoder"
ROLE, SENT = "variant_role", "variant_payload"
"""Keys of a node's `meta`: which part it was added for, and whether its value is sent."""


@dataclass(frozen=True, eq=False)
class Variant(PartitionGraph):
    """A graph with an encoder and a decoder at one of its cuts; the cuts of the base keep their names.

    Attributes:
        base: the graph that it was made of.
        at: name of the cut of the base after which the encoder runs.
        recipe: how encoder and decoder were made; plain JSON values.
        parts: all that it holds and its base does not.
    """

    base: PartitionGraph = None  # type: ignore[assignment]  # a dataclass's defaults come last; `spliced` sets these
    at: str = ""
    recipe: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    parts: VariantParts = None  # type: ignore[assignment]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Who must change what for it to be deployed: "edge weights", "cloud weights", "app" (encoder and decoder).

        In a U-shaped plan the weights after the tail are the edge's.
        """
        found, tail = set(self.parts.changes), self.recipe.get("tail")
        if tail is not None and self.parts.cloud_weights:
            cloud = set(self.base.edge_parameters(tail))
            names = set(self.parts.cloud_weights)
            found = (found - {"cloud weights"}) | ({"cloud weights"} if names & cloud else set())
            found |= {"edge weights"} if names - cloud else set()
        return tuple(change for change in CHANGES if change in found)

    @property
    def answers(self) -> bool:
        """Whether the payload is the model's answer, so that the cloud has nothing to compute."""
        return self.parts.answers

    def made_for(self, cut: Cut) -> str:
        """Of a payload that is drawn from what the encoder gives: `reparam`; noise on a payload may be left out."""
        drawn = self.recipe.get("chain") == "reparam" and cut.index == self.payload.index
        return "reparam" if drawn else ""

    @cached_property
    def payload(self) -> Cut:
        """What is sent: the cut between encoder and decoder."""
        index = next(i for i, nodes in enumerate(self.activation_nodes) if all(SENT in node.meta for node in nodes))
        return self.cuts[index]

    @cached_property
    def added(self) -> dict[str, frozenset[fx.Node]]:
        """The operations of encoder and decoder, by role."""
        roles: dict[str, set[fx.Node]] = {ENCODER: set(), DECODER: set()}
        for node in self.module.graph.nodes:
            if node.op == "call_function" and (role := node.meta.get(ROLE)):
                roles[role].add(node)
        return {role: frozenset(nodes) for role, nodes in roles.items()}


def variant_of(
    base: PartitionGraph, cut: Cut | int | str, encoder: nn.Module, decoder: nn.Module,
    recipe: Mapping[str, Any] | None = None, *, edge_weights: Mapping[str, Tensor] | None = None,
    cloud_weights: Mapping[str, Tensor] | None = None, answers: bool = False,
) -> Variant:  # fmt: skip
    """The base with `decoder(encoder(z))` in the place of the activation z of a cut.

    Args:
        base: the traced model; no variant itself.
        cut: where; not the raw input of integers, nor the output.
        encoder: takes the cut's tensors `[N, ...]`, returns the payload: a tensor, or a tuple of them. One that it
            returns as it came (a mask) is sent as it is.
        decoder: takes the payload, returns what the cloud half reads: as many tensors as the cut has, of their shapes
            and dtypes. Both are deterministic, traced like any model, and work on each sample for itself.
        recipe: recorded.
        edge_weights, cloud_weights: of the base, by their names in its graph, that a half has others of; the base and
            the other half keep theirs.
        answers: the decoder returns the model's outputs, and nothing of the base runs after it.

    Raises:
        CutError: on a variant of a variant, a cut without numbers to encode, or modules that do not fit the cut.
        TraceError: when encoder or decoder cannot be traced.
    """
    found = base.cut(cut)
    check_place(base, found)
    example = tuple(_zeros(spec.shape, spec.dtype, base.batch) for spec in found.tensors)
    with torch.no_grad():
        sent = _tuple(encoder(*example))
    front, back = Part.of(trace(encoder.eval(), example)), Part.of(trace(decoder.eval(), sent))
    edge, cloud = (differing(base, changed or {}) for changed in (edge_weights, cloud_weights))
    return spliced(base, found, VariantParts(front, back, edge, cloud, answers), recipe)


def spliced(base: PartitionGraph, cut: Cut, parts: VariantParts, recipe: Mapping[str, Any] | None = None) -> Variant:
    """The base with parts that were made, or loaded, before; see `variant_of`.

    Raises:
        CutError: as `variant_of`.
    """
    check_place(base, cut)
    return _Splice(base, cut, parts).variant(recipe or {})


def check_place(base: PartitionGraph, cut: Cut) -> None:
    """Refuse a place where nothing can be encoded.

    Raises:
        CutError: on a variant of a variant, the output, or a cut without numbers to encode.
    """
    if isinstance(base, Variant):
        raise CutError("A variant of a variant is not supported.", f"Fit one defense on the base, at {base.at!r}.")
    if cut.index == len(base.cuts) - 1:
        raise CutError("After the output nothing is sent: there is nothing to defend.", "Cut earlier.")
    if not any(spec.is_floating for spec in cut.tensors):
        held = ", ".join(spec.dtype for spec in cut.tensors)
        raise CutError(f"The activation at {cut.name!r} is {held}: there is nothing to encode.", "Cut later.")


def differing(base: PartitionGraph, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that are not the base's own, bit for bit."""
    own = {str(n.target): base.constant(n) for n in base.module.graph.nodes if n.op == "get_attr"}
    for name, value in weights.items():
        held = own.get(name)
        if not isinstance(held, Tensor) or (held.shape, held.dtype) != (value.shape, value.dtype):
            raise CutError(f"The model has no weight {name!r} of this shape.", "Name weights as its graph does.")
    return {name: value for name, value in weights.items() if not torch.equal(value, own[name])}


def _zeros(shape: Sequence[int], dtype: str, batch: int) -> Tensor:
    return torch.zeros((batch, *shape), dtype=getattr(torch, dtype))


def _tuple(value: Any) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)


class _Splice:
    """Copies the base into a new graph: what the edge runs, the encoder, the decoder, then the rest."""

    def __init__(self, base: PartitionGraph, cut: Cut, parts: VariantParts) -> None:
        self.base, self.cut, self.parts = base, cut, parts
        self.weights = {"edge": parts.edge_weights, "cloud": parts.cloud_weights}
        self.graph = fx.Graph()
        self.held: dict[str, Any] = {}
        self.copied: dict[fx.Node, fx.Node] = {}
        self.activation = base.activation_nodes[cut.index]
        self.fake = self.activation[0].meta["val"].fake_mode

    def variant(self, recipe: Mapping[str, Any]) -> Variant:
        """The whole graph again."""
        later = self._later()
        nodes = [node for node in self.base.module.graph.nodes if node.op != "output"]
        for node in nodes:
            if node not in later:
                self._copy(node, self.copied, "edge")
        edge = [self.copied[node] for node in self.activation]
        sent = self._insert(self.parts.encoder, edge, ENCODER)
        self._name_payload(sent, edge)
        received = self._insert(self.parts.decoder, sent, DECODER)
        replaced = self.base.returned if self.parts.answers else self.activation
        self._check_fit(received, replaced)
        seen = self.copied | dict(zip(replaced, received, strict=True))
        for node in nodes if not self.parts.answers else ():
            if node in later or (node.op == "get_attr" and str(node.target) in self.weights["cloud"]):
                self._copy(node, seen, "cloud")
        self.graph.output(tuple(seen[r] if isinstance(r, fx.Node) else r for r in self.base.results))
        self.graph.set_codegen(self.base.module.graph._codegen)
        self.graph.eliminate_dead_code()
        self._check_batch()
        module = fx.GraphModule(self.held, self.graph).eval()
        base = self.base
        return Variant(
            module, base.example_inputs, base.inputs, base.fixed_batch, base.in_spec, base.out_spec, base.notes,
            base.writes,
            max(base.max_tensors, len(sent)), base.granularity, base.task, base, self.cut.name,
            MappingProxyType(dict(recipe)), self.parts,
        )  # fmt: skip

    def _later(self) -> set[fx.Node]:
        """Nodes that run after the decoder: all operations that are not the edge's, and what needs them."""
        edge, data = set(self.base.edge_nodes(self.cut)), set(self.base.data_nodes)
        later: set[fx.Node] = set()
        for node in self.base.module.graph.nodes:
            computed = node.op == "call_function" and not is_symbolic(node)
            reads = not later.isdisjoint(node.all_input_nodes)
            if reads or (computed and node in data and node not in edge):
                later.add(node)
        return later

    def _copy(self, node: fx.Node, seen: dict[fx.Node, fx.Node], half: str) -> None:
        made = self.graph.node_copy(node, lambda n: seen[n])
        if node.op == "get_attr":
            name = str(node.target)
            changed = self.weights[half].get(name)
            if changed is not None:
                made.target = f"variant.{half}.{name}"
            self.held[str(made.target)] = self.base.constant(node) if changed is None else nn.Parameter(changed, False)
        self.copied[node] = seen[node] = made

    def _insert(self, part: Part, entering: Sequence[fx.Node], role: str) -> list[fx.Node]:
        """The operations of encoder or decoder after the given nodes; returns what they return."""
        seen = dict(zip(part.placeholders, entering, strict=True))
        for node in part.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            made = self.graph.node_copy(node, lambda n: seen[n])
            if node.op == "get_attr":
                made.target = f"variant.{role}.{node.target}"
                self.held[str(made.target)] = part.constants[str(node.target)]
            made.meta = self._meta(made, node, role)
            seen[node] = made
        return [seen[r] for r in part.results]

    def _meta(self, made: fx.Node, node: fx.Node, role: str) -> dict[str, Any]:
        """The value under the base's own symbols, and the module path under the cut's name."""
        meta = dict(node.meta) | {ROLE: role, "val": self._value(made)}
        path = f"{self.cut.name}/{role}"
        stack = node.meta.get("nn_module_stack") or {}
        inner = {f"{path}@{key}": (f"{path}.{name}" if name else path, kind) for key, (name, kind) in stack.items()}
        meta["nn_module_stack"] = {path: (path, nn.Module), **inner}
        return meta

    def _value(self, made: fx.Node) -> Any:
        if made.op == "get_attr":
            held = self.held[str(made.target)]
            return self.fake.from_tensor(held, static_shapes=True) if isinstance(held, Tensor) else held
        args, kwargs = fx.map_arg((made.args, made.kwargs), lambda n: n.meta["val"])
        with self.fake, enable_python_dispatcher(), torch.no_grad():  # without it some operations freeze the batch
            return made.target(*args, **kwargs)  # type: ignore[operator]  # an operation of the encoder

    def _name_payload(self, sent: list[fx.Node], edge: Sequence[fx.Node]) -> None:
        """Name what the encoder returns; one that returns what it got gets an operation of its own."""
        if all(node in edge for node in sent):
            first = self.graph.call_function(torch.ops.aten.clone.default, (sent[0],))
            first.meta = {ROLE: ENCODER, "val": self._value(first)}
            sent[0] = first
        for node in sent:
            node.meta[SENT] = True
            if node not in edge:
                node.meta[CUT_NAME] = f"{self.cut.name}/{PAYLOAD}"

    def _check_batch(self) -> None:
        """An operation that takes one batch size alone has frozen it in all of the graph."""
        if self.base.fixed_batch is None and any(frozen_size(node.meta["val"].shape[0]) for node in self.activation):
            raise CutError(
                "Encoder or decoder compute with the number of samples as a number.", "Use x.shape[0] as it is."
            )

    def _check_fit(self, received: Sequence[fx.Node], replaced: Sequence[fx.Node]) -> None:
        found = [node.meta["val"] for node in received]
        wanted = [node.meta["val"] for node in replaced]
        same = len(found) == len(wanted) and all(
            f.shape[1:] == w.shape[1:] and f.dtype == w.dtype for f, w in zip(found, wanted, strict=True)
        )
        if not same:
            told = ", ".join(f"{str(v.dtype).removeprefix('torch.')}{list(map(str, v.shape[1:]))}" for v in found)
            meant = "what the model returns" if self.parts.answers else f"the activation at {self.cut.name!r}"
            raise CutError(
                f"The decoder returns {told}, which is not {meant}.",
                "Return as many tensors as there are, of their shapes and dtypes.",
            )
