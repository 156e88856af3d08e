"""Throughput when edge, link and cloud work on different inputs at once, and what batches change."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.columns import Column
from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.published.features import Work
from advisor.profilers.published.fits import Fit
from advisor.profilers.support.context import ProfilingContext
from advisor.profilers.transmission.network import Link
from advisor.profilers.transmission.transfer import COPY_RATE, download, serialisation, upload

METHOD = "edge, link and cloud as a pipeline: the slowest stage sets the pace; a round trip delays but does not occupy"


def columns(context: ProfilingContext) -> tuple[Column]:
    """`throughput`: inputs a second at each cut, with as many under way as the pipeline holds."""
    edge, cloud, cuts = context.on_device, context.on_cloud, context.graph.cuts
    values, why = [], []
    for cut, on_edge, in_cloud in zip(cuts, edge.edge, cloud.cloud, strict=True):
        sent = 0.0 if cut is cuts[-1] else float(cut.message_bytes)
        wire = on_wire(context.link, sent, float(cuts[-1].message_bytes), context.device.copy_rate)
        values.append(pipeline((on_edge, wire, in_cloud)))
        unknown = math.isnan(values[-1].value)
        why.append((edge.why or cloud.why or "a stage has no known time") if unknown else "")
    return (Column.of_estimates("throughput", "high", values, why),)


def on_wire(link: Link, count: float, answer: float = 0.0, copy_rate: float = COPY_RATE) -> Estimate:
    """Seconds for which one exchange occupies the link: the longer of its two directions, and packing."""
    if count == 0:
        return Estimate.exact(0.0, "s", "estimated", "nothing is sent")
    busy = max(upload(link, count), download(link, answer), serialisation(count + answer, copy_rate))
    return Estimate.exact(busy, "s", "estimated", METHOD)


def pipeline(stages: Sequence[Estimate]) -> Estimate:
    """Inputs a second when every stage works at the same time: 1 / max; NaN where a stage is unknown."""
    if any(math.isnan(stage.value) for stage in stages):
        return Estimate(math.nan, unit="1/s", source="estimated", method=METHOD)
    slowest, low, high = (max(getattr(stage, name) for stage in stages) for name in ("value", "low", "high"))
    if slowest == 0:
        return Estimate(math.nan, unit="1/s", source="estimated", method="no stage takes any time")
    fast, slow = 1 / low if low else math.inf, 1 / high if high else math.inf
    spread = (fast - slow) / (2 * NORMAL_90)
    if any(stage.source == "bounded" for stage in stages):
        method = f"{METHOD}; an upper bound, as times are lower ones"
        return Estimate(1 / slowest, spread, slow, fast, "1/s", "bounded", method)
    return Estimate(1 / slowest, spread, slow, fast, "1/s", "estimated", METHOD)


def batched(fit: Fit, work: Work, batch: int) -> tuple[float, float]:
    """Latency of a batch in seconds, and inputs a second: calls and weights are paid for once, the rest by input.

    Args:
        fit: of a machine, see `fits.fit_for`.
        work: of one input.
        batch: inputs that are computed together, 1 or more.
    """
    seconds = fit.seconds(work, batch)
    return seconds, batch / seconds if seconds else math.inf
