"""A machine's own calibration: a roofline a kind of operator, corrected by operators alike, learnt in minutes.

Each kind has t = a + MACs/E + bytes/B + weights/W, fitted in relative error, times a Gaussian process over the
operator's shape; what it predicts of a model is the sum over its operators. It holds for one machine, runtime and
number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.errors import AdvisorError
from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.calibration.operators import KINDS, Operator, operators
from advisor.profilers.facts import read
from advisor.profilers.halves.half_latency import Halves, bounded
from advisor.support.documents import parse_toml

if TYPE_CHECKING:
    from advisor.graph import PartitionGraph
    from advisor.profilers.calibration.microbenchmarks import Timed

LENGTHS, SPREAD, NOISES = (0.5, 0.75, 1.0, 1.5, 2.5, 4.0), 0.5, (0.1, 0.2, 0.35)
"""Of the Gaussian process over `Operator.point`: length scales, of which each kind takes the one that errs least, and
standard deviations in ln(measured / roofline)."""

POINT = 8
"""Numbers of `Operator.point`."""

SMALLEST = 12
"""Micro-benchmarks a kind must have."""

_KIN = {
    "conv": "conv_gemm", "conv_gemm": "conv", "grouped": "conv", "depthwise": "conv", "row": "linear", "clamp": "pass",
    "chunk": "view",
}  # fmt: skip
"""What stands in for a kind with too few, as where PyTorch lacks a library for convolutions; else a pass over data."""


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of operator.

    Attributes:
        roofline: `[6]`, seconds for each factor of `Operator.row`: a call, a multiply-add, a byte of activations (which
            are mostly in the caches), a byte of weights (which mostly are not), a call whose code has left the caches
            since it last ran, and a call after an operator that filled them.
        points: `[benchmarks, 8]`, see `Operator.point`.
        coefficients: `[benchmarks]` of the Gaussian process.
        log_sd: of ln(measured / predicted), each benchmark left out once.
        length: scale of the Gaussian process.
    """

    roofline: np.ndarray
    points: np.ndarray
    coefficients: np.ndarray
    log_sd: float
    length: float

    def seconds(self, operator: Operator) -> float:
        """Of one operator."""
        alike = _likeness(np.array([operator.point()]), self.points, self.length)[0]
        return float(self.roofline @ operator.row()) * math.exp(float(alike @ self.coefficients))


def fit(timed: Sequence[Timed]) -> dict[str, Kind]:
    """Parameters of every kind that was measured often enough."""
    found = {}
    for kind in KINDS:
        members = [(operator, seconds) for operator, seconds in timed if operator.kind == kind]
        if len(members) >= SMALLEST:
            found[kind] = _fit([operator for operator, _ in members], np.array([seconds for _, seconds in members]))
    return found


def _fit(members: Sequence[Operator], seconds: np.ndarray) -> Kind:
    from advisor.profilers.published.least_squares import solve

    rows, points = np.array([o.row() for o in members]), np.array([o.point() for o in members])
    parameters = solve(rows, seconds)
    residual = np.log(seconds / np.maximum(rows @ parameters, 1e-9))
    level = float(residual.mean())  # what relative squares underestimate
    tried = (_process(points, residual - level, length, noise) for length in LENGTHS for noise in NOISES)
    weights, error, length = min(tried, key=lambda found: found[1])
    return Kind(parameters * math.exp(level), points, SPREAD**2 * weights, error, length)


def _process(points: np.ndarray, residual: np.ndarray, length: float, noise: float) -> tuple[np.ndarray, float, float]:
    """Weights of the Gaussian process, and its root mean square error with each point left out once."""
    inverse = np.linalg.inv(SPREAD**2 * _likeness(points, points, length) + noise**2 * np.eye(len(points)))
    weights = inverse @ residual
    left_out = weights / np.diag(inverse)  # Rasmussen & Williams 2006, eq. 5.12
    return weights, float(np.sqrt(np.mean(left_out**2))), length


def _likeness(one: np.ndarray, other: np.ndarray, length: float) -> np.ndarray:
    squares = ((one[:, None, :] - other[None, :, :]) ** 2).sum(-1)
    result: np.ndarray = np.exp(-0.5 * squares / length**2)
    return result


def halves(graph: PartitionGraph, path: str, name: str, bound: str = "") -> Halves:
    """Estimated times of both halves at every cut, on the machine that was calibrated.

    Args:
        graph: the traced model.
        path, name: of the device file, and of the device in it.
        bound: what makes the multiply-adds, and with them the times, lower bounds; "" where nothing does.

    Raises:
        AdvisorError: when the file holds no calibration.
    """
    kinds = load(path, name)
    with _threads(read(path)["calibrations"][name].get("threads", 0)):
        pieces = [_piece(members, kinds) for members in operators(graph)]
    seconds, errors = ([piece[j] for piece in pieces] for j in (0, 1))
    basis = f"calibrated on this machine's operators ({sum(len(k.points) for k in kinds.values())} micro-benchmarks)"
    edge = [
        bounded(_estimate(t, e, basis), bound) for t, e in zip(accumulate(seconds), accumulate(errors), strict=True)
    ]
    later = [list(accumulate(reversed(values[1:]), initial=0.0))[::-1] for values in (seconds, errors)]
    cloud = [bounded(_estimate(t, e, basis), bound) for t, e in zip(*later, strict=True)]
    return Halves(tuple(edge), tuple(cloud), (f"{name}: {basis}",))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """What PyTorch hands a convolution to depends on its number of threads: the one that was calibrated counts."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _piece(members: Sequence[Operator], kinds: Mapping[str, Kind]) -> tuple[float, float]:
    """Seconds and their standard error; operators of one kind err together, which overstates it rather than not."""
    alike = [next(kinds[k] for k in (o.kind, _KIN.get(o.kind, ""), "pass", *kinds) if k in kinds) for o in members]
    times = [(kind.seconds(o), kind.log_sd) for kind, o in zip(alike, members, strict=True)]
    return math.fsum(t for t, _ in times), math.fsum(t * sd for t, sd in times)


def _estimate(seconds: float, error: float, basis: str) -> Estimate:
    wide = math.exp(NORMAL_90 * error / seconds) if seconds else 1.0
    return Estimate(seconds, error, seconds / wide, seconds * wide, "s", "estimated", basis)


# ---- the device file -----------------------------------------------------------------------------------------------


HEAD = "# Written by `advisor calibrate`: a device that `--device FILE.toml` and `--extra FILE.toml` take."


def is_device_file(data: bytes) -> bool:
    """Whether a file is one that `toml` made and nobody added another device to: such a one may be replaced."""
    if not data.startswith(HEAD.encode()):
        return False
    try:
        found = parse_toml(data, "it")
    except AdvisorError:
        return False
    devices, calibrations = found.get("devices"), found.get("calibrations")
    if not isinstance(devices, dict) or not isinstance(calibrations, dict):
        return False
    return found.keys() == {"devices", "calibrations"} and len(devices) == 1 == len(calibrations)


def toml(name: str, kinds: Mapping[str, Kind], facts: Mapping[str, Any], threads: int = 0, pace: float = 0.0) -> str:
    """A device file: a row of the catalog's form, and the calibration it rests on.

    Args:
        name: of the device.
        kinds: as fitted.
        facts: of the catalog's row.
        threads: that were used; 0: not told.
        pace: seconds of `microbenchmarks.Pace` at the time; 0: not told.
    """
    lines = [
        HEAD,
        "",
        f"[devices.{name}]",
        *(f"{key} = {_value(value)}" for key, value in facts.items()),
        *["", f"[calibrations.{name}]", f"threads = {threads}", f"pace = {pace:.6g}"],
    ]
    for kind, found in kinds.items():
        lines += ["", f"[calibrations.{name}.{kind}]"]
        numbers = (*found.roofline.tolist(), found.log_sd, found.length)
        lines += [f"{key} = {value:.6g}" for key, value in zip(_NUMBERS, numbers, strict=True)]
        rows = np.column_stack([found.points, found.coefficients])
        lines += ["points = [", *(f"  [{', '.join(f'{v:.4g}' for v in row)}]," for row in rows), "]"]
    return "\n".join(lines) + "\n"


_ROOFLINE = (
    "seconds_per_op", "seconds_per_mac", "seconds_per_byte", "seconds_per_weight_byte", "seconds_per_cold_op",
    "seconds_per_chilled_op",
)  # fmt: skip
_NUMBERS = (*_ROOFLINE, "log_sd", "length")


def _value(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:.6g}"


@cache
def load(path: str, name: str) -> dict[str, Kind]:
    """The calibration of a device file.

    Raises:
        AdvisorError: when it has none, or a figure is no positive number.
    """
    rows = read(path).get("calibrations", {}).get(name)
    if not rows:
        raise AdvisorError(f"{path} holds no calibration of {name}.", "Write it with `advisor calibrate`.")
    return {kind: _kind(path, kind, row) for kind, row in rows.items() if kind not in ("threads", "pace")}


def _kind(path: str, kind: str, row: Mapping[str, Any]) -> Kind:
    try:
        table = np.array(row["points"], dtype=float)
        *roofline, log_sd, length = numbers = [float(row[key]) for key in _NUMBERS]
    except (KeyError, TypeError, ValueError) as error:
        raise AdvisorError(
            f"{path}: the calibration of {kind} is damaged: {error}.", "Run `advisor calibrate`."
        ) from None
    plausible = all(math.isfinite(v) and v >= 0 for v in numbers) and np.isfinite(table).all() and sum(roofline) > 0
    if not plausible or table.ndim != 2 or table.shape[1] != POINT + 1 or numbers[0] > 10 or not length:
        raise AdvisorError(f"{path}: the calibration of {kind} has absurd figures.", "Run `advisor calibrate` again.")
    return Kind(np.array(roofline), table[:, :POINT], table[:, POINT], log_sd, length)
