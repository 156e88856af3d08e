"""What a variant is made of beside its base: encoder and decoder as operations, and the weights that changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from torch import Tensor, fx

from advisor.graph import PartitionGraph
from advisor.operations.dag import flat_results

Change = Literal["app", "cloud weights", "edge weights"]
"""What somebody must change for a variant to be deployed; "app" stands for encoder and decoder."""
CHANGES: tuple[Change, ...] = ("edge weights", "cloud weights", "app")


@dataclass(frozen=True, eq=False)
class Part:
    """Encoder or decoder: operations from flat tensors to flat tensors.

    Attributes:
        graph: its operations.
        constants: parameters and buffers, by the target of the node that reads them.
    """

    graph: fx.Graph
    constants: Mapping[str, Any]

    @classmethod
    def of(cls, traced: PartitionGraph) -> Part:
        """The operations of a traced module."""
        graph = traced.module.graph
        return cls(graph, {str(n.target): traced.constant(n) for n in graph.nodes if n.op == "get_attr"})

    @cached_property
    def placeholders(self) -> tuple[fx.Node, ...]:
        """What it takes, in order."""
        return tuple(node for node in self.graph.nodes if node.op == "placeholder")

    @cached_property
    def results(self) -> tuple[Any, ...]:
        """What it returns, in order."""
        return flat_results(self.graph)

    @property
    def passes(self) -> bool:
        """Whether it returns what it takes, and computes nothing."""
        return self.results == self.placeholders


@dataclass(frozen=True, eq=False)
class VariantParts:
    """All that a variant holds and its base does not.

    Attributes:
        encoder, decoder: what runs on the edge after the cut, and in the cloud before what reads it.
        edge_weights, cloud_weights: of the base, by their names in its graph, that a half has others of.
        answers: whether the decoder gives the model's outputs, and the base's cloud half is not run.
    """

    encoder: Part
    decoder: Part
    edge_weights: Mapping[str, Tensor] = field(default_factory=dict)
    cloud_weights: Mapping[str, Tensor] = field(default_factory=dict)
    answers: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """Who must change what: weights of the edge half, of the cloud half, the app that holds them."""
        app = not (self.encoder.passes and self.decoder.passes)
        found = (bool(self.edge_weights), bool(self.cloud_weights), app)
        return tuple(change for change, needed in zip(CHANGES, found, strict=True) if needed)
