"""Samples where no data was given: from the model's own statistics, a prior of natural images, or its vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from advisor.cuts import TensorSpec
from advisor.natural import natural_images
from advisor.preserve import left_as_found
from advisor.samples import Samples, fingerprint

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph

Progress = Callable[[int, int], None]
Statistics = tuple[Tensor, Tensor]
"""Mean and variance per channel."""
Run = Callable[[Tensor, Callable[[Any, Tensor], None]], object]
"""Runs the model on a batch and hands over (key, input of that batch normalisation) for each."""

BUDGET = 900  # single-image forward passes for large images; a step costs three (forward and backward)
SMALL_BUDGET = 3000  # for images of at most 64 pixels, which cost next to nothing
MEMORY = 400 * 2**20  # bytes of activations that a step may keep
LEARNING_RATE = 0.05
BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")


def synthesise(graph: PartitionGraph, n: int = 64, seed: int = 0, progress: Progress | None = None) -> Samples:
    """Samples for a model without data; the description says what they are.

    One image: natural-image prior, refined to the model's BatchNorm statistics, where it has any. Token ids: uniform
    over the vocabulary. Other numbers: uniform noise in [0, 1]. The model and torch's global state are left as found.

    Args:
        graph: the traced model.
        n: number of samples, at least 2.
        seed: same seed, same samples.
        progress: called as (steps done, steps in all).
    """
    made = [_input(graph, i, spec, n, seed) for i, spec in enumerate(graph.inputs.tensors)]
    x: Any = made[0][0] if len(made) == 1 else tuple(value for value, _ in made)
    description = "; ".join(dict.fromkeys(what for _, what in made))
    statistics = batchnorm_statistics(graph)
    if len(made) == 1 and statistics and x.is_floating_point():
        x, fit = _refined(graph, x, statistics, seed, progress)
        description = f"{description}, {fit}"
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
                rows.append(int(graph.constant(user.all_input_nodes[0]).shape[0]))
            elif user not in seen and _keeps_ids(user):
                seen.add(user)
                stack.append(user)
    return min(rows, default=None)


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
    graph: PartitionGraph, x: Tensor, statistics: Mapping[fx.Node, Statistics], seed: int, progress: Progress | None
) -> tuple[Tensor, str]:
    image = is_image(graph.inputs.tensors[0])
    budget = BUDGET if image and max(x.shape[2:]) > 64 else SMALL_BUDGET
    steps = min(max(budget // (3 * len(x)), 1), 200)
    kept = 2 * sum(graph.value_bytes(node) for node in graph.data_nodes)
    batch = int(min(len(x), max(8, MEMORY // max(kept, 1))))

    def run(chunk: Tensor, at_input: Callable[[Any, Tensor], None]) -> None:
        def at_node(node: fx.Node, value: Any) -> None:
            if node in statistics:
                at_input(node, value)

        graph.run(graph.flat(chunk), at_node)

    with left_as_found(graph.module):
        fit = from_batchnorm_statistics(
            run, statistics, x, steps, seed=seed, batch=batch, bounds=(0.0, 1.0) if image else None, progress=progress
        )
    words = f"refined for {steps} steps to the statistics of {len(statistics)} BatchNorm layers"
    return fit.x, f"{words} (mismatch {fit.before:.3g} to {fit.after:.3g})"


@dataclass(frozen=True)
class Fit:
    """Refined samples `[N, ...]`, and the mismatch of their statistics before and after."""

    x: Tensor
    before: float
    after: float


def mismatch(value: Tensor, statistics: Statistics) -> Tensor:
    """‖mean − running mean‖₂ + ‖var − running var‖₂ over channels (dimension 1), as in DeepInversion's R_feature.

    Yin et al., "Dreaming to Distill", CVPR 2020, equation 4.
    """
    value = value.float()
    axes = [d for d in range(value.dim()) if d != 1]
    variance, mean = torch.var_mean(value, dim=axes, correction=0)
    distance: Tensor = torch.linalg.vector_norm(mean - statistics[0])
    distance += torch.linalg.vector_norm(variance - statistics[1])
    return distance


def from_batchnorm_statistics(
    run: Run,
    statistics: Mapping[Any, Statistics],
    x: Tensor,
    steps: int,
    *,
    seed: int = 0,
    batch: int = 16,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    progress: Progress | None = None,
) -> Fit:
    """Move samples so that the batch statistics before each BatchNorm match what the model saw in training.

    Adam on the pixels (Yin et al. 2020, with few steps from a prior instead of thousands from noise). Each batch is
    matched by itself; of each batch the best iterate is kept, so the mismatch never grows.

    Args:
        run: runs the model on a batch `[B, ...]` and hands over the input of each batch normalisation, by key.
        statistics: running mean and variance of each, by the same keys.
        x: starting samples `[N, ...]`, N of at least 2.
        steps: gradient steps per batch; each costs about three forward passes of the batch.
        seed: of the circular shifts that keep images free of grid artefacts.
        batch: samples that share one set of statistics; bounds the memory.
        bounds: range the samples are clamped to, or None.
        progress: called as (steps done, steps in all).
    """
    parts = list(torch.split(x, _even(len(x), batch)))
    before = after = 0.0
    for i, part in enumerate(parts):
        report = None if progress is None else lambda done, i=i: progress(i * steps + done, len(parts) * steps)
        generator = torch.Generator().manual_seed(seed + i)
        parts[i], first, last = _match(run, statistics, part, steps, bounds, generator, report)
        before, after = before + first * len(part) / len(x), after + last * len(part) / len(x)
    return Fit(torch.cat(parts), before, after)


def _even(n: int, batch: int) -> int:
    """A batch size that leaves no remainder of one sample, whose variance would mean nothing."""
    size = min(max(batch, 2), n)
    while size < n and n % size == 1:
        size += 1
    return size


def _match(
    run: Run,
    statistics: Mapping[Any, Statistics],
    start: Tensor,
    steps: int,
    bounds: tuple[float, float] | None,
    generator: torch.Generator,
    report: Callable[[int], None] | None,
) -> tuple[Tensor, float, float]:
    def loss_of(value: Tensor) -> Tensor:
        parts: list[Tensor] = []
        run(value, lambda key, seen: parts.append(mismatch(seen, statistics[key])))
        return torch.stack(parts).sum()

    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=LEARNING_RATE, betas=(0.5, 0.9))
    best, first, lowest = start, float("nan"), float("inf")
    for step in range(steps + 1):
        with torch.enable_grad():
            loss = loss_of(_shifted(x, generator) if step else x)
        value = float(loss.detach())
        first = value if step == 0 else first
        if value < lowest:
            best, lowest = x.detach().clone(), value
        if step == steps or not value < float("inf"):
            break
        (x.grad,) = torch.autograd.grad(loss, x)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / (steps + 1))
        optimiser.step()
        if bounds is not None:
            x.data.clamp_(*bounds)
        if report is not None:
            report(step + 1)
    return best, first, min(lowest, first)


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images rolled by up to two pixels; other samples as they are."""
    if x.dim() != 4 or min(x.shape[2:]) < 8:
        return x
    down, right = (int(s) for s in torch.randint(-2, 3, (2,), generator=generator))
    return x.roll((down, right), (2, 3))
