"""`advisor.profile` and `advisor.leakage`: the two halves of a Profile, measured on their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.columns import Profile
from advisor.graph import PartitionGraph

if TYPE_CHECKING:
    from advisor.sweep import Progress


def profile(
    graph: PartitionGraph,
    device: str = "jetson",
    link: str = "wifi",
    cloud: str = "t4",
    *,
    extra: str | Path | None = None,
    progress: Progress | None = None,
    limit: float | None = None,
    also: Sequence[str] = (),
) -> Profile:
    """Cost of every cut: `macs`, `params`, `bytes`, `edge_memory`, the latencies and `edge_energy`.

    Args:
        graph: the traced model.
        device: key `name[:runtime[:precision[@mode]]]`, an alias such as `jetson`, `local` (measured here) or
            `ssh://user@host[:port]` (measured there).
        link: preset, or `bandwidth=20Mbps,rtt=15ms`.
        cloud: as `device`.
        extra: a TOML file with your own devices and links.
        progress: called with the fraction done and what is being worked on.
        limit: seconds of timing where something is measured; None for the usual.
        also: your own profilers, each as `package.module:Name`.

    Raises:
        AdvisorError: on an unknown device or link; the message suggests the nearest names.
    """
    from advisor import profilers

    told = None if progress is None else lambda share: progress(share, "cost")
    return profilers.profile(graph, device, link, cloud, extra=extra, progress=told, limit=limit, also=also)


def leakage(
    graph: PartitionGraph,
    x: Any,
    y: Any = None,
    only: Sequence[str] | None = None,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Profile:
    """Leakage of every cut, measured in one forward pass over the samples.

    Args:
        graph: the traced model.
        x: a tensor `[N, ...]`, or a tuple or dict of them; images in [0, 1].
        y: `[N]` labels; None takes the model's own predictions.
        only: names of columns to measure, or `package.module:Name` of your own estimator; None measures all.
        seed: same seed, same answer.
        progress: called with the fraction done and the cut.

    Raises:
        DataError: when the samples do not fit the model.
        AdvisorError: on an unknown column.
    """
    from advisor.estimators.study.leakage_study import study

    return study(graph, x, y, only=only, seed=seed, progress=progress).profile
