"""Which of a model's outputs is its answer: asked for by name or number, else told by names, labels and the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.data.tensors import shown
from advisor.errors import AdvisorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, fx

    from advisor.graph import PartitionGraph

ANSWERS = ("logits", "scores", "probs", "probabilities", "predictions", "prediction", "out", "output")
"""Names that people give to the output that counts."""


@dataclass(frozen=True)
class Output:
    """One floating-point output that depends on the input.

    Attributes:
        name: its key or attribute, else its number.
        index: its number among all outputs.
        position: its number among the tensors of the last cut.
        shape: of one sample.
    """

    name: str
    index: int
    position: int
    shape: tuple[int, ...]


def outputs_of(graph: PartitionGraph) -> list[Output]:
    """The outputs that may be the answer, in the model's order."""
    found: list[Output] = []
    names = _names(graph)
    for index, result in enumerate(graph.results):
        if result not in graph.returned:
            continue
        position = graph.returned.index(result)
        spec = graph.cuts[-1].tensors[position] if position < len(graph.cuts[-1].tensors) else None
        if spec is not None and spec.is_floating and all(o.position != position for o in found):
            found.append(Output(names[index], index, position, spec.shape))
    return found


def _names(graph: PartitionGraph) -> list[str]:
    from torch.utils import _pytree as pytree

    count = len(graph.results)
    try:
        paths = pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(count)), graph.out_spec))[0]
    except (ValueError, TypeError, KeyError):  # a type of the user's own that names no fields
        return [str(index) for index in range(count)]
    keys = [path[-1] if path else None for path, _ in paths]
    return [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", i)))) for i, key in enumerate(keys)]


def answer_of(
    graph: PartitionGraph, wanted: str | int | None, values: Sequence[Tensor], y: Tensor | None
) -> tuple[int, str]:
    """Position of the output that counts among the tensors of the last cut, and a sentence where that was a choice.

    Args:
        graph: the traced model.
        wanted: name or number among the model's outputs; None chooses.
        values: the tensors of the last cut `[n, ...]` for some samples.
        y: labels of these samples, or None.

    Raises:
        AdvisorError: when no output is named so.
    """
    outputs = outputs_of(graph)
    if wanted is not None:
        match = [o for o in outputs if str(wanted) in (o.name, str(o.index))]
        if not match:
            listed = ", ".join(f"{o.name} ({shown(o.shape)})" for o in outputs) or "none of real numbers"
            raise AdvisorError(f"The model has no output {wanted!r}.", f"It has: {listed}.")
        return match[0].position, f"Output {match[0].name} is read as the answer, as asked."
    if len(outputs) < 2:
        return (outputs[0].position if outputs else 0), ""
    chosen, why = _chosen(graph, outputs, values, y)
    listed = ", ".join(f"{o.name} ({shown(o.shape)})" for o in outputs)
    return (
        chosen.position,
        f"Of the outputs {listed}, {chosen.name} is read as the scores: {why}; --scores names another.",
    )


def _chosen(
    graph: PartitionGraph, outputs: list[Output], values: Sequence[Tensor], y: Tensor | None
) -> tuple[Output, str]:
    for name in ANSWERS:
        for output in outputs:
            if output.name.lower() == name:
                return output, "its name says so"
    if y is not None and y.dim() == 1 and not y.is_floating_point():
        fits = [o for o in outputs if len(o.shape) == 1 and o.shape[0] > max(1, int(y.max()))]
        if fits:
            right = [float((values[o.position].argmax(1) == y).double().mean()) for o in fits]
            best = max(range(len(fits)), key=lambda i: right[i])
            return fits[best], f"it agrees with the labels best, in {right[best]:.0%} of {len(y):,} samples"
    if y is not None:
        alike = [o for o in outputs if o.shape == tuple(y.shape[1:])]
        if alike:
            return alike[0], "it has the shape of the labels"
    deepest = [o for o in outputs if _depends_on_others(graph, o, outputs)]
    if deepest:
        return deepest[-1], "it is computed from another"
    return outputs[0], "it is the first"


def _depends_on_others(graph: PartitionGraph, output: Output, outputs: list[Output]) -> bool:
    others = {graph.returned[o.position] for o in outputs if o is not output}
    seen: set[fx.Node] = set()
    stack = list(graph.returned[output.position].all_input_nodes)
    while stack:
        node = stack.pop()
        if node in others:
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return False
