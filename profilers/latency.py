"""Latency of every cut: edge half, link, cloud half, and their sum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.columns import Column
from advisor.estimate import Estimate
from advisor.profilers.halves.half_latency import Halves, total
from advisor.profilers.support.context import ProfilingContext
from advisor.profilers.transmission.transfer import transfer_time


def columns(context: ProfilingContext) -> tuple[Column, ...]:
    """`edge_latency`, `link_latency`, `cloud_latency` and `latency`, in seconds for one sample."""
    edge, cloud = context.on_device, context.on_cloud
    link = link_times(context)
    whole = [total(parts) for parts in zip(edge.edge, link, cloud.cloud, strict=True)]
    return (
        _column("edge_latency", edge.edge, edge),
        _column("link_latency", link, Halves((), ())),
        _column("cloud_latency", cloud.cloud, cloud),
        _column("latency", whole, *(half for half in (edge, cloud))),
    )


def link_times(context: ProfilingContext) -> list[Estimate]:
    """The activation goes up and the output comes down, whole messages; with all on the edge nothing is sent."""
    cuts = context.graph.cuts
    answer = cuts[-1].message_bytes
    sent = [float(cut.message_bytes) for cut in cuts[:-1]]
    return [
        transfer_time(context.link, count, answer if count else 0.0, context.device.copy_rate) for count in (*sent, 0.0)
    ]


def _column(name: str, values: Sequence[Estimate], *halves: Halves) -> Column:
    why = "; ".join(dict.fromkeys(half.why for half in halves if half.why))
    reasons = [why if math.isnan(estimate.value) else "" for estimate in values]
    if name == "latency":
        column = Column.of_estimates(name, "low", values, reasons)
        bound = "; a lower bound, as its parts are" if column.source == "bounded" else ""
        return _with_method(column, f"edge + link + cloud; their errors are taken as independent{bound}")
    return _with_method(Column.of_estimates(name, "low", values, reasons), _method(values))


def _method(values: Sequence[Estimate]) -> str:
    return max((estimate.method for estimate in values), key=len)


def _with_method(column: Column, method: str) -> Column:
    import dataclasses

    return dataclasses.replace(column, method=method)
