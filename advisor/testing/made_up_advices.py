"""Made-up advices that look like real ones, for the tests of every report; their numbers are arithmetic."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from advisor.advice import Advice, Gallery
from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.defenses.payload.base import Defense
from advisor.estimate import Estimate
from advisor.plans import Evidence, Picture, Plan
from advisor.requirements import Budgets

HOSTILE = (
    "</svg><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "[bold red]markup[/] :smile: {{ 7*7 }} {% raw %}",
    "$\\frac{1}{0}$",
    "esc\x1b[2J\x1b]0;owned\x07",
    "rtl\u202egnp.exe",
    "lone\ud800surrogate",
    "pipe|tick`` ` @team #1 https://evil.example/x",
    "line\nbreak\tand\x00nul",
)


def picture(pixels: np.ndarray) -> str:
    """A PNG data URI of an image [H, W] in [0, 1]."""
    buffer = io.BytesIO()
    Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def cuts_of(names: Sequence[str], side: int = 32, channels: int = 16) -> tuple[Cut, ...]:
    """Cuts whose maps halve in side and double in channels every third of the model."""
    last, found = len(names) - 1, []
    for i, name in enumerate(names):
        stage = 3 * i // (last + 1)
        shape: tuple[int, ...] = (channels << stage, max(1, side >> stage), max(1, side >> stage))
        shape = (3, side, side) if i == 0 else (10,) if i == last else shape
        found.append(Cut(i, name, (TensorSpec(shape, "float32"),)))
    return tuple(found)


def profile_of(cuts: tuple[Cut, ...]) -> Profile:
    """Every column that the reports know best; the energy of no cut was measured, nor the probes of the two ends."""
    n = len(cuts)
    depth = np.arange(n) / (n - 1)
    sent = np.array([cut.bytes for cut in cuts], dtype=float)
    edge, cloud = 0.002 + 0.02 * depth, 0.004 * (1 - depth)
    edge[0] = cloud[-1] = 0.0
    link = np.where(np.arange(n) == n - 1, 0.0, 0.005 + 8 * sent / 40e6)
    score = np.clip(1.15 * depth**1.6, 0, 1)
    ends = np.isin(np.arange(n), (0, n - 1))
    probe = np.where(ends, np.nan, 40 * (1 - depth) + 3)
    why = tuple("no Jacobian is taken at the ends of the model" if end else "" for end in ends)
    rough: dict[str, Any] = {"low": np.clip(score - 0.09, 0, 1), "high": np.clip(score + 0.07, 0, 1)}
    quick = np.clip(score + 0.04, 0, 1.1)
    total = edge + link + cloud
    fit, wire = "three-parameter fit, leave-one-out error", "bytes over bandwidth plus round trip"
    columns = [
        Column.of("macs", "MAC", "low", 41e6 * depth, "measured", method="fvcore"),
        Column.of("params", "1", "low", 270e3 * depth**2, "measured"),
        Column.of("bytes", "B", "low", sent, "measured", method="shape and dtype of the activation"),
        Column.of("edge_memory", "B", "low", 2e6 + 1e6 * depth, "estimated", method="liveness"),
        Column.of("edge_latency", "s", "low", edge, "estimated", stderr=0.08 * edge, method=fit),
        Column.of("link_latency", "s", "low", link, "estimated", stderr=0.1 * link, method=wire),
        Column.of("cloud_latency", "s", "low", cloud, "estimated", stderr=0.1 * cloud),
        Column.of("latency", "s", "low", total, "estimated", stderr=0.07 * total),
        Column.of("edge_energy", "J", "low", np.full(n, np.nan), "estimated", why=("no sourced power figure",) * n),
        Column.of("fisher_snr", "1", "low", probe, "measured", stderr=0.05 * probe, why=why),
        Column.of("rc2_ratio", "1", "low", 0.9 - 0.7 * depth, "measured", stderr=np.full(n, 0.01)),
        Column.of("ka_nmse", "1", "high", quick, "measured", stderr=np.full(n, 0.015), method="48 inputs"),
        Column.of("score", "1", "high", score, "estimated", **rough),
        Column.of("score_ssim", "1", "low", 1 - 0.8 * score, "estimated", stderr=np.full(n, math.nan)),
        Column.of("in_zone", "1", "high", (score - 0.09 > 0.6) & ~ends, "estimated"),
        Column.of("in_gpz", "1", "high", np.arange(n) == int(0.6 * n), "measured"),
    ]  # fmt: skip
    return Profile(cuts, {column.name: column for column in columns})


def plan_of(profile: Profile, cut: int, defense: Defense, budgets: Budgets, verified: bool = False) -> Plan:
    """A plan with the profile's predictions, changed a little by its defense."""
    names = ("edge_latency", "link_latency", "cloud_latency", "latency", "edge_memory", "score", "score_ssim")
    predicted = {name: profile[name].at(cut) for name in names}
    here = profile.cuts[cut]
    predicted["bytes"] = Estimate.exact(defense.message_bytes(here), "B")
    hidden = min(1.0, predicted["score"].value + (0.2 if defense.name == "gaussian" else 0.0))
    predicted["score"] = Estimate(
        hidden, 0.04, max(0, hidden - 0.09), min(1, hidden + 0.07), "1", "estimated", "leakage score"
    )
    lost = {"none": 0.0, "int8": 0.004, "gaussian": 0.013}[defense.name]
    predicted["accuracy_drop"] = Estimate(
        lost, 0.004, lost - 0.007, lost + 0.007, "1", "measured", "agreement with the undefended model on 500 inputs"
    )
    found = {}
    if verified:
        found["nmse"] = Estimate(
            hidden + 0.01, 0.02, hidden - 0.03, hidden + 0.04, "1", "measured", "quick KA decoder, 48 held-out inputs"
        )
        found["ssim"] = Estimate(0.21, 0.03, 0.16, 0.26, "1", "measured", "quick KA decoder")
    return Plan((here,), defense, predicted, found, budgets.excess(predicted))


def baselines_of(profile: Profile) -> tuple[Plan, ...]:
    """All-cloud and all-edge, whose leakage is that of the input and of nothing."""
    last = len(profile.cuts) - 1
    plans = []
    for cut, kind in ((0, "all-cloud"), (last, "all-edge")):
        predicted = {name: profile[name].at(cut) for name in ("latency", "edge_memory", "score")}
        plans.append(Plan((profile.cuts[cut],), NoDefense(), predicted, kind=kind))  # type: ignore[arg-type]
    return tuple(plans)


def gallery_of(cuts: tuple[Cut, ...], count: int = 6) -> Gallery:
    """Digits, and the same ever more like their mean."""
    images = load_digits().images / 16.0
    mean, shown = images.mean(axis=0), images[:count]
    blend = {
        cut.name: tuple(picture((1 - w) * image + w * mean) for image in shown)
        for cut in cuts[1:-1]
        for w in [cut.index / (len(cuts) - 1)]
    }
    return Gallery(tuple(map(picture, shown)), blend, "Quick attack, 8×8 pixels, images it was not trained on.")


PROVENANCE = {
    "made": "2026-11-30 08:00 UTC",
    "command": "advisor recommend model.pt --device jetson --data digits --max-latency 40ms --seed 0",
    "versions": {"partition-advisor": "0.1.0", "torch": "2.10.0"},
    "seed": 0,
    "model": {"path": "model.pt", "sha256": "ab" * 32, "weights": "file"},
    "data": {"description": "scikit-learn digits, 359 held-out images", "samples": 359, "labels": True},
    "device": {
        "key": "jetson", "stands_for": "Jetson Orin Nano Super, TensorRT fp16",
        "loads": ["edge.onnx"], "source": "data sheet",
        "name": "jetson", "runtime": "trt", "precision": "fp16", "copy_rate": 8e9, "memory": 8e9, "active_power": 15.0,
    },
    "link": {
        "key": "wifi", "stands_for": "home Wi-Fi, 40 Mbit/s up", "name": "wifi", "up": 40e6, "down": 40e6,
        "rtt": 0.005, "rtt_low": 0.005, "rtt_high": 0.005, "assumed": ["no rate down given: the rate up was taken"],
    },
    "cloud": {"key": "t4", "stands_for": "NVIDIA T4"},
    "stages": {"trace": 0.8, "sweep": 11.2, "search": 3.4},
    "wall_time_s": 16.1,
    "zone": {"thresholds": {"nmse": 0.7, "ssim_gap": 0.25}, "edge": "layer3", "published": ["layer2"]},
}  # fmt: skip


def advice_of(names: Sequence[str], budgets: Budgets, chosen: int, side: int = 32) -> Advice:
    """A feasible advice over `names` that takes cut `chosen`, quantised."""
    profile = profile_of(cuts_of(names, side))
    members = [NoDefense(), Quantize8(), GaussianNoise(0.3, 5.0)]
    front = tuple(
        plan_of(profile, cut, defense, budgets)
        for cut in sorted({1, len(names) // 3, len(names) // 2, chosen, len(names) - 2})
        for defense in members
    )
    best = plan_of(profile, chosen, Quantize8(), budgets, verified=True)
    zone = tuple(profile.cuts[i].name for i in np.flatnonzero(profile["in_zone"].values))
    return Advice(
        headline=f"Cut at {names[chosen]}, quantised to 8 bits: 21 ms, a strong attacker is left with NMSE 0.8.",
        best=best,
        feasible=True,
        reasons=("It is the fastest plan inside every budget.", f"{names[chosen]} lies in the golden zone."),
        zone=zone,
        pareto=front,
        nearest=(),
        baselines=baselines_of(profile),
        next_best=front[:3],
        profile=profile,
        budgets=budgets,
        unmeasured=("Edge energy: no sourced power figure for this device.",),
        assumptions=("One input at a time.", f"The cloud half of {names[chosen]} runs alone on its device."),
        gallery=gallery_of(profile.cuts),
        provenance=PROVENANCE,
    )


def digits() -> Advice:
    """Ten cuts, all budgets set."""
    names = ["input", *(f"features.{i}" for i in range(5)), "pool", "classifier.0", "classifier.2", "output"]
    return advice_of(names, Budgets(0.04, 0.02, 0.6, 0.7, 64e6), 7, side=8)


def plan_with(**changes: object) -> Plan:
    """The plan that `digits` chose, with some of its fields replaced."""
    best = digits().best
    assert best is not None
    return dataclasses.replace(best, **changes)  # type: ignore[arg-type]


def resnet() -> Advice:
    """Thirty cuts, and a latency budget that the interval crosses."""
    blocks = [f"layer{s}.{b}{op}" for s in (1, 2, 3) for b in (0, 1, 2) for op in ("/relu", "/add", ".conv2")]
    advice = advice_of(["input", "conv1", *blocks, "output"], Budgets(max_latency=0.0275, max_accuracy_drop=0.02), 22)
    return dataclasses.replace(advice, evidence=(evidence_of("rmle", "layer1.0/add"),))


def evidence_of(attack: str, cut: str, uri: str | None = None) -> Evidence:
    """An attack that found something, with its pictures, and without an LPIPS network at hand."""
    shown = picture(np.full((8, 8), 0.5)) if uri is None else uri
    scores = {"nmse": Estimate(0.25, 0.01, 0.23, 0.27), "lpips": Estimate(math.nan, method="no network at hand")}
    pictures = tuple(Picture(which, shown, shown, "squared error 0.1") for which in ("best", "median", "worst"))
    return Evidence(
        attack, f"knows {attack}", "quick", cut, attack, scores, 40, 4, (f"practised on {attack}",), pictures
    )


def long_model(cuts: int = 200) -> Advice:
    """Many cuts."""
    names = [
        "input",
        *(f"encoder.layers.{i // 2}.{'mlp' if i % 2 else 'self_attention'}/add" for i in range(cuts - 2)),
        "output",
    ]
    return advice_of(names, Budgets(max_latency=0.05), 4 * cuts // 5)


def infeasible() -> Advice:
    """No plan meets the latency budget; one could not be checked at all."""
    advice, budgets = digits(), Budgets(max_latency=0.001, max_accuracy_drop=0.02, min_nmse=0.7)
    near = [plan_of(advice.profile, cut, Quantize8(), budgets) for cut in (8, 7)]
    unknown = dataclasses.replace(
        near[1], excess={"max_latency": 0.0123, "max_accuracy_drop": math.nan, "min_nmse": 0.08}
    )
    return dataclasses.replace(
        advice, feasible=False, best=near[0], nearest=(near[0], unknown), pareto=(), budgets=budgets,
        headline="No plan meets the budgets; the nearest is over the latency budget.",
        reasons=("The round trip of the link alone takes 5 ms.",),
    )  # fmt: skip


def no_split() -> Advice:
    """Nothing to choose, no zone, no provenance, no pictures, no columns but the bytes."""
    cuts = cuts_of(["input", "output"])
    profile = Profile(cuts, {"bytes": Column.of("bytes", "B", "low", [cut.bytes for cut in cuts], "measured")})
    return Advice(
        "This model has no legal cut.",
        None,
        False,
        ("Every layer reads the input.",),
        (),
        (),
        (),
        (),
        profile,
        Budgets(),
    )


def unmeasured() -> Advice:
    """Accuracy, memory and score of the plan are NaN, and so are whole columns."""
    advice = digits()
    n, why = len(advice.profile.cuts), "the attack needs two samples"
    gone = {
        name: Column.of(name, "1", "low", [math.nan] * n, "estimated", why=(why,) * n)
        for name in ("score", "ka_nmse", "latency")
    }
    profile = Profile(advice.profile.cuts, {**advice.profile.columns, **gone})
    assert advice.best is not None
    nothing = {
        name: Estimate(math.nan) for name in ("accuracy_drop", "edge_memory", "score", "edge_latency", "link_latency")
    }
    best = dataclasses.replace(advice.best, predicted={"bytes": Estimate.exact(640, "B"), **nothing}, verified={})
    return dataclasses.replace(
        advice, profile=profile, best=best, pareto=(), zone=(), gallery=Gallery(), headline="Leakage is unknown."
    )


def hostile() -> Advice:
    """Every string that a model, a file or a catalog may supply tries to break out."""
    names = ["input", *HOSTILE, "output"]
    advice = advice_of(names, Budgets(max_latency=0.04), 1)
    evil = "".join(HOSTILE)
    row = {"key": evil, "stands_for": evil, "loads": evil}
    provenance = {"command": f"advisor {evil}", "device": row, "link": evil, "model": {"path": evil}, evil: evil}
    pictures = ('x" onerror="alert(3)', "https://evil.example/p.png", "data:text/html,<script>alert(4)</script>")
    fake = Gallery(pictures, {names[1]: pictures}, evil)
    columns = {
        **advice.profile.columns,
        evil: Column.of(evil, evil, "low", [math.nan] * len(names), "measured", method=evil, why=[evil] * len(names)),
    }
    return dataclasses.replace(
        advice, evidence=(evidence_of(evil, evil, pictures[0]),), headline=evil,
        reasons=(evil,), unmeasured=(evil,), assumptions=(evil,), provenance=provenance,
        gallery=fake, profile=Profile(advice.profile.cuts, columns),
    )  # fmt: skip


DEMOS = {kind.__name__: kind for kind in (digits, resnet, long_model, infeasible, no_split, unmeasured, hostile)}
