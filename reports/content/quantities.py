"""How a quantity is called and written: three significant digits, its unit, its 90 % interval, or "not measured"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from advisor.estimate import Estimate
from advisor.units import (
    digits,
    scale,
    show_count,
    show_duration,
    show_energy,
    show_per_second,
    show_points,
    show_ratio,
    show_share,
    show_size,
    shown_in,
)  # fmt: skip

NOT_MEASURED = "not measured"
UNKNOWN_SPREAD = "±?"
TINY = 5e-4
"""Ratios below this are written as "<0.001": on a scale of 0 to 1 more digits say nothing."""
Kind = Literal["plain", "ratio", "count", "share", "points", "flag"]


@dataclass(frozen=True)
class Quantity:
    """Words for one column or one entry of `Plan.predicted`.

    Attributes:
        label: for headers; short.
        meaning: one sentence for footnotes and captions.
        kind: how its numbers are written when the unit alone does not tell.
    """

    label: str
    meaning: str = ""
    kind: Kind = "plain"


QUANTITIES: Mapping[str, Quantity] = {
    "macs": Quantity("MACs", "multiply-accumulates on the edge for one input", "count"),
    "params": Quantity("parameters", "parameters held by the edge half", "count"),
    "bytes": Quantity("sent", "bytes for one input: of a cut the activation's, of a plan the whole message's"),
    "edge_memory": Quantity("edge memory", "peak memory of the edge half: weights and live activations"),
    "edge_swap": Quantity("edge swap", "what of the edge memory the device does not have; 0 fits"),
    "edge_latency": Quantity("edge", "time of the edge half"),
    "link_latency": Quantity("link", "time on the network, there and back"),
    "cloud_latency": Quantity("cloud", "time of the cloud half"),
    "latency": Quantity("latency", "edge + link + cloud"),
    "throughput": Quantity("throughput", "inputs a second with edge, link and cloud working at once"),
    "edge_energy": Quantity("edge energy", "energy the edge spends on one input, radio included"),
    "accuracy": Quantity("accuracy", "share of inputs answered correctly", "share"),
    "accuracy_drop": Quantity("accuracy drop", "accuracy lost to the plan, in percentage points", "points"),
    "fisher": Quantity("Fisher", "Tr(JᵀJ)/d: sensitivity of the activation to the input"),
    "fisher_snr": Quantity("Fisher SNR", "Tr(JᵀJ)/‖z‖²: the same, free of the scale of z; lower is more private"),
    "mse_bound": Quantity("MSE bound", "no attacker's error per element is below this; 0 guarantees nothing"),
    "spectrum_bound": Quantity("spectrum bound", "as the MSE bound, along the directions in which inputs vary most"),
    "fsinfo": Quantity(
        "FSInfo", "Gaussian information on those directions at the wire's rounding; lower is more private"
    ),
    "rc2": Quantity("R_c²", "scatter of the activation around its class mean"),
    "rc2_per_dim": Quantity("R_c²/D", "class scatter per element that crosses"),
    "rc2_ratio": Quantity(
        "R_c² ratio", "class scatter over total variance; lower means inputs of a class look alike", "ratio"
    ),
    "rc2_drop": Quantity("R_c² drop", "relative fall of R_c² from the cut before: the published criterion", "ratio"),
    "entropy_bound": Quantity("H(X|Z) bound", "lower bound on what stays unknown of the input"),
    "mixture_bound": Quantity("mixture bound", "the same bound with several centres a class and noise as a floor"),
    "rate": Quantity("rate", "information the wire can carry at its own rounding"),
    "dcor": Quantity("dCor", "distance correlation of input and the activation; 0 is independent", "ratio"),
    "club": Quantity("CLUB", "upper estimate of the information on the input's leading components"),
    "info_nce": Quantity("InfoNCE", "lower bound of the information on the input's leading components"),
    "linear_nmse": Quantity(
        "linear NMSE", "error left to the best linear inversion; 1 is no better than the mean input", "ratio"
    ),
    "kernel_nmse": Quantity("kernel NMSE", "the same with a Gaussian kernel", "ratio"),
    "linear_gain": Quantity("linear gain", "linear NMSE with half of the attacker's samples minus with all", "ratio"),
    "ka_mse": Quantity("quick MSE", "per-element squared error of the quick inversion attack"),
    "ka_nmse": Quantity(
        "quick NMSE", "error left to the quick inversion attack; 1 is no better than the mean input", "ratio"
    ),
    "ka_ssim": Quantity("quick SSIM", "likeness of the quick attack's reconstructions; 1 is the original", "ratio"),
    "decoder_entropy": Quantity("H(X|Z) decoder", "upper bound of what stays unknown of an input element"),
    "label_leak": Quantity("label leak", "accuracy of guessing the label from the activation", "share"),
    "label_leak_few": Quantity("few labels", "the same for an attacker who knows four labels a class", "share"),
    "score": Quantity(
        "NMSE",
        "predicted NMSE left to a strong inversion attack: 0 gives the input away, 1 means it learnt nothing",
        "ratio",
    ),
    "score_ssim": Quantity(
        "SSIM", "predicted likeness of a strong attack's reconstructions; lower is more private", "ratio"
    ),
    "nmse": Quantity("NMSE", "error left to the attack that was run; 1 is no better than the mean input", "ratio"),
    "mse": Quantity("MSE", "per-element squared error of the attack that was run"),
    "ssim": Quantity("SSIM", "likeness of that attack's reconstructions; 1 is the original", "ratio"),
    "psnr": Quantity("PSNR", "peak signal-to-noise ratio of that attack's reconstructions"),
    "lpips": Quantity("LPIPS", "perceptual distance of that attack's reconstructions; 0 is the original", "ratio"),
    "reidentified": Quantity("re-identified", "reconstructions that the model classifies as the original", "share"),
    "ids_recovered": Quantity("ids recovered", "share that an attack gets back at its first guess", "share"),
    "top1": Quantity("top 1", "labels or ids guessed right", "share"),
    "top5": Quantity("top 5", "labels or ids among five guesses", "share"),
    "in_zone": Quantity("zone", "in the golden partition zone", "flag"),
    "in_gpz": Quantity("published", "in the zone of the published criterion", "flag"),
}


def quantity(name: str) -> Quantity:
    """Words for a column; one that this file does not know goes by its own name."""
    return QUANTITIES.get(name, Quantity(name))


def show(value: float, unit: str, name: str = "") -> str:
    """One number with its unit; NaN is "not measured"."""
    if not math.isfinite(value):
        return NOT_MEASURED
    kind = quantity(name).kind
    if kind == "flag":
        return "yes" if value else "no"
    if kind == "points":
        return show_points(value)
    if kind == "share":
        return show_share(value)
    if kind == "ratio" and 0 < abs(value) < TINY:
        return "<0.001"
    if kind in {"count", "ratio"}:
        return show_count(value) if kind == "count" else show_ratio(value)
    by_unit = {"s": show_duration, "B": show_size, "J": show_energy, "1/s": show_per_second}
    if unit in by_unit:
        return by_unit[unit](value)
    return digits(value) if unit in {"", "1"} else f"{digits(value)} {unit}"


def show_in(value: float, like: float, unit: str, name: str = "") -> str:
    """One number in the unit that suits another, so that a column of them compares: `0.149 ms` like 7 ms.

    Sizes keep their own units: 40 B is no 0.04 KiB.
    """
    if not (math.isfinite(value) and math.isfinite(like)) or unit not in ("s", "J"):
        return show(value, unit, name)
    return shown_in(value, *scale(like, unit))


def show_interval(estimate: Estimate, name: str = "", like: float = math.nan) -> str:
    """The 90 % interval such as `11.2–14.0 ms`; "" for an exact number, "±?" where the spread is not known.

    `like` is the number whose unit it is written in; NaN for the estimate's own.
    """
    if not math.isfinite(estimate.value) or (estimate.stderr == 0 and estimate.low == estimate.high):
        return ""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)) or estimate.low == estimate.high:
        return UNKNOWN_SPREAD
    low, high = (show_in(end, like, estimate.unit, name) for end in (estimate.low, estimate.high))
    if high == "<0.001":
        return ""
    shared = low.rpartition(" ")[2] if " " in low else ""
    if shared and high.endswith(f" {shared}"):
        low = low[: -len(shared) - 1]
    return f"{low} to {high}" if "-" in low + high else f"{low}–{high}"


def side(estimate: Estimate) -> str:
    """On which side of a bounded cost the truth lies: some of its parts nobody could count."""
    if estimate.source != "bounded" or not math.isfinite(estimate.value):
        return ""
    return {"s": "≥ ", "J": "≥ ", "1/s": "≤ "}.get(estimate.unit, "")


def show_estimate(estimate: Estimate | None, name: str = "") -> str:
    """Value and interval: `12.3 ms (11.2–14.0 ms)`; an absent or NaN estimate is "not measured"."""
    if estimate is None:
        return NOT_MEASURED
    interval = show_interval(estimate, name)
    value = side(estimate) + show(estimate.value, estimate.unit, name)
    if interval == UNKNOWN_SPREAD:
        return f"{value} {interval}"
    return f"{value} ({interval})" if interval else value
