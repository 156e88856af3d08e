"""Published latencies with the work behind each, and how they are grouped by machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.profilers.facts import shipped
from advisor.profilers.machines.catalog import PRECISION_CLASS, device, runtime_facts
from advisor.profilers.published.features import ITEM_SIZE, Work
from advisor.profilers.published.fits import kin_runtime

MIN_NETWORKS = 4
"""One more than the model has parameters: fewer say nothing of its error."""

SAME_NETWORK = {"mobilenet_v3_large?": "mobilenet_v3_large", "inception_v1": "googlenet"}
"""Published name -> the torchvision network whose work stands for it; `?` marks the publisher's silence on the size."""

KINSHIP = ("runtime", "precision", "unit", "kind")
UNITS = {"cpu-big": "cpu", "gpu-vulkan": "gpu", "2xdla": "dla"}


@dataclass(frozen=True)
class Point:
    """One published latency with the work behind it."""

    device: str
    runtime: str
    precision: str
    unit: str
    network: str
    shape: str
    batch: int
    work: Work
    seconds: float

    def demands(self) -> tuple[float, ...]:
        """What the machine has a rate for, in the order of `DEMANDS`."""
        item = ITEM_SIZE[PRECISION_CLASS[self.precision]]
        return self.work.demands(item, runtime_facts(self.runtime)["fused"], self.batch)

    def row(self) -> tuple[float, float, float]:
        """ops, MACs and bytes, for machines that borrow."""
        item = ITEM_SIZE[PRECISION_CLASS[self.precision]]
        traffic = self.work.traffic(item, runtime_facts(self.runtime)["fused"], self.batch)
        return self.work.ops, self.batch * self.work.macs, traffic


def points() -> list[Point]:
    """Every published latency of a network whose work is known (`features.toml`)."""
    works = {(name, shape): Work(*numbers) for name, shape, *numbers in shipped("features.toml")["networks"]}
    found = []
    for series in shipped("latencies.toml")["series"]:
        unit = UNITS.get(series["unit"], series["unit"])
        for name, shape, batch, milliseconds in series["points"]:
            name, shape = SAME_NETWORK.get(name, name), shape.rstrip("?")
            if (name, shape) in works:
                context = (series["device"], series["runtime"], series["precision"], unit)
                found.append(Point(*context, name, shape, batch, works[name, shape], milliseconds * 1e-3))
    return found


def rows(group: Sequence[Point]) -> np.ndarray:
    """`[points, 3]`: ops, MACs and bytes of each."""
    return np.array([p.row() for p in group], dtype=float)


def setting(point: Point) -> tuple[str, ...]:
    """Device, runtime, precision and unit: what has a fit of its own."""
    return point.device, point.runtime, point.precision, point.unit


def kinship(point: Point) -> tuple[str, ...]:
    """What devices that borrow of each other share, in the order of `KINSHIP`."""
    kind = device(f"{point.device}:{point.runtime}:{point.precision}").kind
    return kin_runtime(point.runtime), PRECISION_CLASS[point.precision], point.unit, kind


def grouped(all_points: list[Point], key: Callable[[Point], tuple[str, ...]]) -> Iterator[list[Point]]:
    """Points of one key together, in the order of the keys."""
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in all_points:
        groups.setdefault(key(point), []).append(point)
    for name in sorted(groups):
        yield groups[name]
