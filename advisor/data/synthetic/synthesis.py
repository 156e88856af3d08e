"""Samples where no data was given: from the model's own statistics, a prior of natural images, or its vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from advisor.computing.regions import on_the_device
from advisor.cuts import TensorSpec
from advisor.data.samples import Samples, fingerprint
from advisor.data.synthetic.batchnorm import Statistics, from_batchnorm_statistics
from advisor.data.synthetic.natural import natural_images
from advisor.progress import Progress, silence
from advisor.support.preserve import left_as_found
from advisor.value_range import UNIT, ValueRange

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

BUDGET = 900  # single-image forward passes for large images; a step costs three (forward and backward)
SMALL_BUDGET = 3000  # for images of at most 64 pixels, which cost next to nothing
MEMORY = 400 * 2**20  # bytes of activations that a step may keep
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")


@on_the_device
def synthesise(
    graph: PartitionGraph, n: int = 64, seed: int = 0, progress: Progress = silence, steps: int | None = None,
    values: ValueRange = UNIT,
) -> Samples:  # fmt: skip
    """Samples for a model without data; the description says what they are.

    One image: natural-image prior, refined to the model's BatchNorm statistics, where it has any. Token ids: uniform
    over the vocabulary. Other numbers: uniform noise in [0, 1]. The model and torch's global state are left as found.

    Args:
        graph: the traced model.
        n: number of samples, at least 2.
        seed: same seed, same samples.
        progress: told the share of the steps that is done.
        steps: of the refinement to BatchNorm statistics; None: as many as a small budget pays for.
        values: between which values the model takes images to lie.
    """
    made = [_input(graph, i, spec, n, seed) for i, spec in enumerate(graph.inputs.tensors)]
    x: Any = made[0][0] if len(made) == 1 else tuple(value for value, _ in made)
    description = "; ".join(dict.fromkeys(what for _, what in made))
    statistics = batchnorm_statistics(graph)
    if len(made) == 1 and statistics and x.is_floating_point():
        x, fit = _refined(graph, x, statistics, seed, progress, steps, values)
        description = f"{description}, {fit}"
    if len(made) == 1 and is_image(graph.inputs.tensors[0]) and x.is_floating_point():
        x = values.from_unit(x)
    return Samples(x, None, f"{n} synthetic samples, no data given: {description}", fingerprint(x, None))


def _input(graph: PartitionGraph, index: int, spec: TensorSpec, n: int, seed: int) -> tuple[Tensor, str]:
    generator = torch.Generator().manual_seed(seed + index)
    if spec.dtype == "bool":
        return torch.ones(n, *spec.shape, dtype=torch.bool), "masks of ones"
    if "int" in spec.dtype:
        rows = vocabulary(graph, graph.placeholders[index])
        if rows is None:
            return torch.ones(
                n, *spec.shape, dtype=getattr(torch, spec.dtype)
            ), "integers of one (no embedding reads them)"
        ids = torch.randint(rows, (n, *spec.shape), generator=generator, dtype=getattr(torch, spec.dtype))
        return ids, f"random token ids below {rows:,}"
    if is_image(spec):
        return natural_images(
            (spec.shape[0], spec.shape[1], spec.shape[2]), n, seed + index
        ), "a natural-image prior (dead leaves, 1/f)"
    return torch.rand(n, *spec.shape, generator=generator), "uniform noise in [0, 1], since the input is no image"


def is_image(spec: TensorSpec) -> bool:
    """Whether an input is an image: one to four channels, at least 8 pixels high and wide."""
    return len(spec.shape) == 3 and spec.shape[0] <= 4 and min(spec.shape[1:]) >= 8


def vocabulary(graph: PartitionGraph, source: fx.Node) -> int | None:
    """Rows of the smallest embedding that an integer input indexes; None when it indexes none."""
    rows: list[int] = []
    seen, stack = {source}, [source]
    while stack:
        node = stack.pop()
        for user in node.users:
            if _operator(user) in ("embedding", "embedding_bag") and node in user.all_input_nodes[1:2]:
                rows.append(_rows_of(graph, user.all_input_nodes[0]))
            elif user not in seen and _keeps_ids(user):
                seen.add(user)
                stack.append(user)
    return min(rows, default=None)


def _rows_of(graph: PartitionGraph, table: fx.Node) -> int:
    """Of an embedding's table, also where the forward computes it."""
    return int((graph.constant(table) if table.op == "get_attr" else table.meta["val"]).shape[0])


def _keeps_ids(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and not value.is_floating_point()


def _operator(node: fx.Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).split("::")[-1]


# ---- BatchNorm statistics --------------------------------------------------------------------------------------------


def batchnorm_statistics(graph: PartitionGraph) -> dict[fx.Node, Statistics]:
    """Running mean and variance by the node that feeds a batch normalisation.

    Statistics still at (0, 1) were never trained and do not count; nor do those that do not see the input.
    """
    found: dict[fx.Node, Statistics] = {}
    data = set(graph.data_nodes)
    for node in graph.data_nodes:
        if _operator(node) not in BATCH_NORMS or node.args[0] not in data:
            continue
        mean, variance = node.args[3], node.args[4]
        if not (isinstance(mean, fx.Node) and isinstance(variance, fx.Node) and mean.op == variance.op == "get_attr"):
            continue
        statistics = graph.constant(mean).detach(), graph.constant(variance).detach()
        if not (bool((statistics[0] == 0).all()) and bool((statistics[1] == 1).all())):
            found[node.args[0]] = statistics  # type: ignore[index]
    return found


def _refined(
    graph: PartitionGraph, x: Tensor, statistics: Mapping[fx.Node, Statistics], seed: int,
    progress: Progress, wanted: int | None, values: ValueRange,
) -> tuple[Tensor, str]:  # fmt: skip
    image = is_image(graph.inputs.tensors[0])
    budget = BUDGET if image and max(x.shape[2:]) > 64 else SMALL_BUDGET
    steps = min(max(budget // (3 * len(x)), 1), 200) if wanted is None else wanted
    kept = 2 * sum(graph.value_bytes(node) for node in graph.data_nodes)
    batch = int(min(len(x), max(8, MEMORY // max(kept, 1))))

    def run(chunk: Tensor, at_input: Callable[[Any, Tensor], None]) -> None:
        def at_node(node: fx.Node, value: Any) -> None:
            if node in statistics:
                at_input(node, value)

        graph.run(graph.flat(values.from_unit(chunk) if image else chunk), at_node)

    with left_as_found(graph.module):
        fit = from_batchnorm_statistics(
            run, statistics, x, steps, seed=seed, batch=batch, bounds=(0.0, 1.0) if image else None, progress=progress
        )
    words = f"refined for {steps} steps to the statistics of {len(statistics)} BatchNorm layers"
    return fit.x, f"{words} (mismatch {fit.before:.3g} to {fit.after:.3g})"
