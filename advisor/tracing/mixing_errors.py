"""How it is said that a model does not compute sample by sample, or not the same twice."""

from __future__ import annotations

from collections.abc import Sequence
from operator import getitem

from torch import fx

from advisor.errors import TraceError
from advisor.graph import PartitionGraph
from advisor.tracing.refusals import line_of_node


class NotBySampleError(TraceError):
    """The model does not compute sample by sample, or not the same twice; no other way of tracing would change that."""


def mixes(graph: PartitionGraph, node: fx.Node) -> NotBySampleError:
    """The error of an operation that mixes samples."""
    if node.target is getitem:
        node = node.all_input_nodes[0]
    kind = operation_name(node)
    if "norm" in kind:
        step = (
            "Keep running statistics (track_running_stats=True), and call model.eval() before it is saved or exported."
        )
    elif kind in ("lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"):
        step = "Pass batch_first=True and inputs [N, T, ...], or transpose inside the forward."
    else:
        step = "Dimension 0 of every input must be the sample; where it is time, transpose inside the forward."
    return NotBySampleError(
        f"What the model gives for a sample depends on the others of its batch: "
        f"{named(graph, node)} mixes them{line_of_node(node)}.",
        step,
    )


def decides(graph: PartitionGraph, node: fx.Node) -> NotBySampleError:
    """The error of one yes or no for all samples."""
    return NotBySampleError(
        f"What the model gives for a sample depends on the others of its batch: {named(graph, node)} is one yes or no "
        f"for all of them{line_of_node(node)}.",
        "Decide for each sample apart, with torch.where over a mask of shape [N, 1, ...].",
    )


def draws(graph: PartitionGraph, node: fx.Node) -> NotBySampleError:
    """The error of an operation that draws random numbers."""
    step = "Pass the random numbers as an input, or leave them out when the model is not training."
    if "dropout" in operation_name(node):
        step = "Write F.dropout(x, p, self.training), and call model.eval() before the model is saved or exported."
    return NotBySampleError(
        f"The model is random, two runs on the same input differ: {named(graph, node)} draws{line_of_node(node)}.",
        step,
    )


def unsteady(name: str, writes: Sequence[str]) -> NotBySampleError:
    """The error of a model whose runs on the same input differ, though no operation draws."""
    if writes:
        return NotBySampleError(
            f"What {name} computes depends on the calls before: its forward writes to {', '.join(writes)}.",
            "Write there only while training (if self.training:), or pass the state as an input and return it.",
        )
    return NotBySampleError(
        f"Two runs of {name} on the same input differ, although no operation of its graph draws.",
        "It draws in Python or keeps something from call to call: leave that out when it is not training.",
    )


def named(graph: PartitionGraph, node: fx.Node) -> str:
    """An operation, and where it stands."""
    kind = operation_name(node)
    place = graph.names[node] if node in graph.data_nodes else node.name
    return kind if place.split("/")[-1].split("#")[0] == kind == place else f"{kind} ({place})"


def operation_name(node: fx.Node) -> str:
    """`aten.batch_norm.default` -> `batch_norm`."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).split("::")[-1] if schema else str(getattr(node.target, "__name__", node.target))
