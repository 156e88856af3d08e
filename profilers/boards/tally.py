"""What the agent timed, as halves with their intervals and a sentence on what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

from advisor.errors import AdvisorError
from advisor.estimate import NORMAL_90, Estimate
from advisor.profilers.halves.half_latency import Halves

EXPLAINED_GAP = 0.05
RUNTIMES = {"pytorch-eager": "eager PyTorch", "torch-compile": "torch.compile", "onnxruntime": "ONNX Runtime"}


def halves(result: Mapping[str, Any], cuts: int, facts: Mapping[str, Any], where: str) -> Halves:
    """Halves of a result in the agent's form.

    Args:
        result: `times` (name -> median, low, high in seconds), `pieces` (of their sum a round), `rounds`.
        cuts: of the model.
        facts: of the machine, kept with the profile.
        where: what to call the machine.

    Raises:
        AdvisorError: when a half is missing, as in a result of an agent that did not finish.
    """
    times = result.get("times", {})
    wanted = ["whole", *(f"{half}:{i}" for i in range(1, cuts - 1) for half in ("edge", "cloud"))]
    if missing := [name for name in wanted if name not in times]:
        timed = len(wanted) - len(missing)
        raise AdvisorError(f"{where} timed no more than {timed} of {len(wanted)} halves.", "Measure again.")
    method = _method(result, facts, where)
    nothing, whole = Estimate.exact(0.0, "s", "measured", method), estimate(times["whole"], method)
    edge = [nothing, *(estimate(times[f"edge:{i}"], method) for i in range(1, cuts - 1)), whole]
    cloud = [whole, *(estimate(times[f"cloud:{i}"], method) for i in range(1, cuts - 1)), nothing]
    notes = (f"{method}; {result['rounds']} rounds; {_gaps(result, edge, cloud)}",)
    edge, cloud = nested(edge), nested(cloud[::-1])[::-1]
    return Halves(tuple(edge), tuple(cloud), notes, "", {**facts, "where": where})


def nested(times: Sequence[Estimate]) -> list[Estimate]:
    """Times of parts that contain each other, smallest first: where noise put them out of order, the mean of the run.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955), of the ends of the intervals alike.
    """
    runs: list[list[Estimate]] = []
    for time in times:
        runs.append([time])
        while len(runs) > 1 and _mean(runs[-2]).value > _mean(runs[-1]).value:
            runs[-2:] = [runs[-2] + runs[-1]]
    return [_mean(run) for run in runs for _ in run]


def _mean(run: Sequence[Estimate]) -> Estimate:
    value, stderr, low, high = (
        sum(getattr(time, name) for time in run) / len(run) for name in ("value", "stderr", "low", "high")
    )
    return replace(run[0], value=value, stderr=stderr, low=low, high=high)


def estimate(found: Sequence[float], method: str = "") -> Estimate:
    """Median with its 90 % interval, in seconds."""
    value, low, high = (float(seconds) for seconds in found)
    return Estimate(value, (high - low) / (2 * NORMAL_90), low, high, "s", "measured", method)


def _method(result: Mapping[str, Any], facts: Mapping[str, Any], where: str) -> str:
    named = RUNTIMES.get(facts["runtime"], facts["runtime"])
    board = f" ({facts['board']})" if facts.get("board") else ""
    text = (
        f"measured in {named} {facts['version']} on {where}{board}, {facts['on']}, {facts['threads']} threads, batch 1"
    )
    clocks = [hertz for key in ("started", "ended") for hertz in result.get(key, ())]
    if clocks:
        text += f", cores at {min(clocks) / 1e9:.2f} to {max(clocks) / 1e9:.2f} GHz"
    return text + (f" ({result['governor']})" if result.get("governor") else "")


def _gaps(result: Mapping[str, Any], edge: Sequence[Estimate], cloud: Sequence[Estimate]) -> str:
    """What halves and pieces add up to, beside the whole model."""
    whole = edge[-1].value
    gaps = [e.value + c.value - whole for e, c in zip(edge[1:-1], cloud[1:-1], strict=True)]
    at = max(range(len(gaps)), key=lambda i: abs(gaps[i]), default=-1)
    worst = gaps[at] / whole if gaps else 0.0
    pieces = float(result["pieces"][0]) / whole - 1
    text = f"edge + cloud deviates from the whole model by at most {100 * worst:+.1f} %"
    if abs(worst) > EXPLAINED_GAP:
        text += f" ({_explained(gaps, at, (edge[at + 1], cloud[at + 1], edge[-1]))})"
    text += f", the pieces run one by one by {100 * pieces:+.1f} %"
    if abs(pieces) > EXPLAINED_GAP:
        text += " (each finds other data in the caches than inside the model; the clocks may have moved)"
    return text


def _explained(gaps: Sequence[float], at: int, medians: Sequence[Estimate]) -> str:
    """Whether the medians' own intervals reach as far as the gap, which is the widest of all (Bonferroni)."""
    one, all_of_them = (NormalDist().inv_cdf(1 - 0.05 / count) for count in (1, len(gaps)))
    reach = math.hypot(*(max(e.high - e.value, e.value - e.low) for e in medians)) * all_of_them / one
    text = f"at cut {at + 1}, where noise alone may reach ±{100 * reach / medians[-1].value:.1f} %: "
    if abs(gaps[at]) <= reach:
        return f"{text}the machine was not steady"
    return f"{text}each half pays for its own call and finds other data in the caches; the clocks may have moved"
