"""Speed and memory of the leakage estimators: ratios of CPU time within one run, on one thread.

python benchmarks/leakage.py probe|jacobian|cheap|memory|quick|cost|score   (several may be named; none runs all)

Limits. probe: one Fisher probe for all cuts, in forward passes, at 8 probes a walk: (1 + 8)/8 = 1.125, since the primal
counts and tangents go through the same affine maps; target 1.5. jacobian: error against the exact Jacobian on the same
64 samples at most 5 % on every cut of ResNet-20, in at most a hundredth of its time. cheap: estimators 1 (trace), 2, 3,
5 and distance correlation for all cuts of ResNet-18 at 224 pixels with 64 samples in at most 40 forward passes of the
same samples (one pass is the forward pass itself, 4 probes on 8 samples are 0.6), and memory of at most twice one pass
plus 500 MB. quick: the quick inversion network at all cuts of ResNet-20 in at most 180 s, and how far its NMSE lies
above the strong attack's (`attacks.csv`) at the end of each block: at most 0.1. cost: CPU time of every estimator at
all cuts of ResNet-20 against the strong attack's seconds there: 1 to 5 a fiftieth, the quick network a tenth. score:
its error on the rows of `attacks.csv`, full size; its widths come from reduced attacks on this and other networks.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import advisor
from advisor.columns import Column
from advisor.cut_view import CutView, Estimator
from advisor.derivatives.cotangents import with_exact_ends
from advisor.derivatives.exact_tangents import exact_energies
from advisor.derivatives.tangents import tangent_energies
from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators import ESTIMATORS
from advisor.estimators.class_radius import ClassRadius
from advisor.estimators.dependence import DistanceCorrelation
from advisor.estimators.entropy import Entropy
from advisor.estimators.fisher import Fisher
from advisor.estimators.inversion.alignment import QuickAlignment, mirrored_activations
from advisor.estimators.linear import LinearInversion
from advisor.estimators.study.gpz import block_cuts
from advisor.estimators.study.leakage_study import study
from advisor.estimators.study.study_derivatives import probes_for, tangent_samples
from advisor.estimators.study.study_samples import targets_for
from advisor.graph import PartitionGraph
from advisor.panel import PANEL_SAMPLES
from advisor.sweep import sweep
from benchmarks.headline.cases import CASES, resnet20
from benchmarks.headline.estimates import Derivatives

MODELS = (
    ("resnet18", 32, 64), ("resnet18", 224, 8), ("mobilenet_v2", 224, 8), ("densenet121", 224, 4), ("vit_b_16", 224, 4),
)  # fmt: skip
WALK_PROBES = 8
JACOBIANS = Path(tempfile.gettempdir()) / "partition-advisor-jacobians"
"""Where exact Jacobian traces are kept, four samples a file: a killed run goes on where it was."""


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def forward(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)


def probe(rounds: int, _: int) -> None:
    """Median over rounds of a walk's time over that of forward passes just before and after it."""
    print(f"{'model':14}{'pixels':>7}{'samples':>8}{'pass s':>9}{'one probe, passes':>19}   (target 1.5, limit 1.125)")
    for name, side, samples in MODELS:
        model = torchvision.models.get_model(name, weights=None).eval()
        x = torch.rand(samples, 3, side, side)
        one, ratio = probe_ratio(model, x, rounds)
        print(f"{name:14}{side:>7}{samples:>8}{one:>9.2f}{ratio:>19.2f}", flush=True)


def probe_ratio(model: nn.Module, x: Tensor, rounds: int) -> tuple[float, float]:
    """Least seconds of a forward pass, and passes a probe."""
    graph = advisor.trace(model, x[:2])
    forward(model, x)
    ratios, passes = [], []
    for number in range(rounds):
        before = seconds(lambda: forward(model, x))
        took = seconds(partial(tangent_energies, graph, [x], WALK_PROBES, number))
        passes.append((before + seconds(lambda: forward(model, x))) / 2)
        ratios.append(took / WALK_PROBES / passes[-1])
    return min(passes), statistics.median(ratios)


def jacobian(_: int, samples: int) -> None:
    """The trace as a study takes it against all 3,072 directions of the input, at every cut."""
    x = CASES["resnet20-cifar10"].data().unseen[0][:samples]
    graph = advisor.trace(resnet20(), x[:2])
    traces, took = kept_traces(graph, x)
    exact = traces.mean(0)
    started = time.process_time()
    probes = probes_for(x[0].numel(), samples)
    found = with_exact_ends(graph, [x], tangent_energies(graph, [x], probes, 0))
    probing = time.process_time() - started
    errors = [abs(float(found[i].energy.mean()) / float(exact[i]) - 1) for i in range(len(exact))]
    worst = max(range(len(errors)), key=errors.__getitem__)
    print(f"ResNet-20, {samples} samples, {probes} probes, {len(graph.cuts)} cuts")
    print(
        f"worst error {max(errors):.1%} at {graph.cuts[worst].name} (target 5 %), "
        f"median {statistics.median(errors):.1%}"
    )
    print(f"exact {took:.0f} s, probes {probing:.2f} s: {took / probing:.0f} times faster (target 100)")


def kept_traces(graph: PartitionGraph, x: Tensor, piece: int = 4) -> tuple[Tensor, float]:
    """`[samples, cuts]` exact Tr(JᵀJ) and the seconds they took; each piece is kept in `JACOBIANS` as it ends."""
    JACOBIANS.mkdir(parents=True, exist_ok=True)
    traces, took = [], 0.0
    for start in range(0, len(x), piece):
        file = JACOBIANS / f"{start}.pt"
        if not file.exists():
            started = time.process_time()
            found = exact_energies(graph, [x[start : start + piece]], chunk=128)
            exact = torch.stack([found[i].energy[0] for i in range(len(graph.cuts))], 1)
            torch.save((exact, time.process_time() - started), file.with_suffix(".part"))
            file.with_suffix(".part").replace(file)
        exact, spent = torch.load(file, weights_only=True)
        traces.append(exact[: len(x) - start])
        took += spent
    return torch.cat(traces), took


def cheap(rounds: int, samples: int) -> None:
    """Estimators for all cuts at 224 pixels, in forward passes."""
    model = torchvision.models.resnet18(weights=None).eval()
    x = torch.rand(samples, 3, 224, 224)
    graph = advisor.trace(model, x[:2])
    forward(model, x)
    passes = [seconds(lambda: forward(model, x)) for _ in range(rounds)]
    took = [seconds(lambda: measure(graph, x)) for _ in range(rounds)]
    passes += [seconds(lambda: forward(model, x)) for _ in range(rounds)]
    ratio = min(took) / min(passes)
    print(f"ResNet-18 at 224, {samples} samples, {len(graph.cuts)} cuts: {ratio:.1f} forward passes (target 40)")


def memory(_: int, samples: int) -> None:
    """Peak of one forward pass and of the estimators, each in a process of its own."""
    one, all_ = (_peak(work, samples) for work in ("forward", "measure"))
    print(f"peak memory: one pass {one:.0f} MB, estimators {all_:.0f} MB (target {2 * one + 500:.0f})", flush=True)


def measure(graph: PartitionGraph, x: Tensor) -> None:
    targets = targets_for(graph, (x,), torch.arange(len(x)) % 4, 0)
    count = min(len(x), tangent_samples(x[0].numel()))
    energies = tangent_energies(graph, [x[:count]], probes_for(x[0].numel(), count), 0)
    members = [Fisher(), ClassRadius(), Entropy(), LinearInversion(), DistanceCorrelation()]
    sweep(graph, (x,), targets, members, energies=energies)


def _peak(work: str, samples: int) -> float:
    """Highest resident memory in MB of a fresh process that does one thing."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_resident, (work, samples))


def _resident(work: str, samples: int) -> float:
    torch.set_num_threads(1)
    model, x = torchvision.models.resnet18(weights=None).eval(), torch.rand(samples, 3, 224, 224)
    if work == "forward":
        forward(model, x)
    else:
        measure(advisor.trace(model, x[:2]), x)
    # getrusage hands down the parent's peak: ask for this address space's own
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def quick(_: int, __: int) -> None:
    """The quick inversion network alone, at every cut."""
    x, y = CASES["resnet20-cifar10"].data().unseen
    graph = advisor.trace(resnet20(), x[:2])
    found: list[Column] = []
    took = seconds(lambda: found.append(study(graph, x, y, only=["ka_nmse"]).profile["ka_nmse"]))
    print(f"quick inversion at {len(graph.cuts)} cuts of ResNet-20: {took:.0f} s (target 180)")
    strong = {row["cut"]: float(row["nmse"]) for row in strong_rows()}
    ends = [graph.cuts[i] for i in block_cuts(graph.cuts, 3)]
    above = {c.name: float(found[0].values[c.index]) - strong[c.name] for c in ends if c.name in strong}
    print(", ".join(f"{name} {gap:+.3f}" for name, gap in above.items()))
    print(f"most above the strong attack at the end of a block: {max(above.values()):.3f} (target 0.1)", flush=True)


def score(_: int, __: int) -> None:
    """The predicted NMSE of the strong attack against the strong attack's own, here or at any later cut."""
    x, y = CASES["resnet20-cifar10"].data().unseen
    graph = advisor.trace(resnet20(), x[:2])
    found = study(graph, x, y, only=["score"]).profile["score"]
    strong = {row["cut"]: (float(row["nmse"]), float(row["stderr"])) for row in strong_rows()}
    rows = [(cut, *strong[cut.name]) for cut in graph.cuts if cut.name in strong]
    errors, inside = [], 0
    print(f"{'cut':22}{'score':>8}{'90 % interval':>18}{'strong':>8}{'lowest after':>15}")
    for place, (cut, nmse, error) in enumerate(rows):
        truth, i = min(n for _, n, _ in rows[place:]), cut.index
        low, high = float(found.low[i]), float(found.high[i])
        errors.append(abs(float(found.values[i]) - truth))
        inside += low - NORMAL_90 * error <= truth <= high + NORMAL_90 * error
        print(f"{cut.name:22}{found.values[i]:8.3f}{low:10.3f}{high:8.3f}{nmse:8.3f}{truth:15.3f}")
    worst = sorted(errors)[math.ceil(0.9 * len(errors)) - 1]
    print(f"|score - truth|: median {statistics.median(errors):.3f} (target 0.08), 90 % below {worst:.3f} (target 0.2)")
    print(f"90 % intervals that hold it: {inside} of {len(rows)}", flush=True)


def strong_rows() -> list[dict[str, str]]:
    """Rows of `benchmarks/attacks.py`."""
    with Path(__file__).with_name("attacks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cost(_: int, __: int) -> None:
    """Every estimator on the panel of a study, at all cuts that the strong attack has a row for."""
    x, y = CASES["resnet20-cifar10"].data().unseen
    graph, panel = advisor.trace(resnet20(), x[:2]), slice(0, PANEL_SAMPLES)
    inputs, targets = (x[panel],), targets_for(graph, (x[panel],), y[panel], 0)
    derivatives: list[Derivatives] = []
    walk = seconds(lambda: derivatives.append(Derivatives.of(graph, inputs, 0)))
    quick = QuickAlignment(mirrored=mirrored_activations(graph, inputs, targets))
    members = [Timed(member) for member in [*ESTIMATORS.values(), quick]]
    energies, grams = derivatives[0].energies, derivatives[0].grams
    whole = seconds(lambda: sweep(graph, inputs, targets, members, energies=energies, grams=grams))
    spent = {type(m.member).__name__: m.spent for m in members}
    spent["Fisher"] += derivatives[0].probing
    spent["Spectrum"] += derivatives[0].directing
    strong = sum(float(row["cpu_s"]) for row in strong_rows())
    print(f"strong attack, {len(strong_rows())} of {len(graph.cuts)} cuts: {strong:.0f} s of one core")
    print(f"walk of {PANEL_SAMPLES} samples {whole - sum(m.spent for m in members):.1f} s; derivatives {walk:.1f} s")
    for name, took in spent.items():
        print(f"{name:22}{took:8.1f} s  1/{strong / max(took, 1e-3):.0f}")
    for label, names, target in (("estimators 1 to 5", CHEAP, 50), ("quick network", ("QuickAlignment",), 10)):
        took = sum(spent[name] for name in names)
        print(f"{label}: {took:.1f} s, a {strong / took:.0f}th of the strong attack (target {target})", flush=True)


CHEAP = (
    "Fisher", "ClassRadius", "Entropy", "Mixture", "Variational", "DistanceCorrelation", "MutualInformation",
    "Spectrum", "LinearInversion",
)  # fmt: skip
"""Estimators 1 to 5: Fisher information, class radius, entropies, dependence and information, linear inversion."""


class Timed:
    """An estimator that counts its CPU seconds."""

    def __init__(self, member: Estimator) -> None:
        self.member, self.columns, self.spent = member, member.columns, 0.0

    def at(self, view: CutView) -> dict[str, Estimate]:
        """As the estimator."""
        started = time.process_time()
        try:
            return self.member.at(view)
        finally:
            self.spent += time.process_time() - started


PARTS: dict[str, Callable[[int, int], None]] = {
    "probe": probe,
    "jacobian": jacobian,
    "cheap": cheap,
    "memory": memory,
    "quick": quick,
    "cost": cost,
    "score": score,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=64, help="of jacobian and cheap")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for part in options.parts or PARTS:
        PARTS[part](options.rounds, options.samples)


if __name__ == "__main__":
    main()
