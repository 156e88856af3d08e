"""The strong attack over the cuts of ResNet-20 on CIFAR-10: seconds, error, why it stopped, and what arithmetic allows.

    python benchmarks/attacks.py                                # all cuts, one after the other; writes attacks.csv
    python benchmarks/attacks.py --out one.csv --cut 'stage3.2.relu#2'

8,000 auxiliary images, and 1,000 others to be scored on: of the 12,000 at hand. Each row is kept as it ends, and a
second start goes on where the first was stopped. Targets on two cores: all cuts in 40 minutes, one cut of the last
stage in 5.

What arithmetic allows (`limit_s`): multiply-adds of the inversion network on one image × 3 for training × samples × the
passes over them that were taken, over the rate of this machine's own convolutions of that shape, measured beside it on
one core (`gflops`), and over the cores. Where the linear part settles the question it is zero. `cpu_s` are the seconds
of all cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn

import advisor
from advisor.cuts import Cut
from advisor.errors import AdvisorError
from advisor.estimators.inversion.alignment import STRONG
from advisor.estimators.inversion.fast_products import Fast
from advisor.graph import PartitionGraph
from advisor.measures.decoders.activation_layouts import arrange
from advisor.measures.decoders.usual_decoders import decoders_for
from advisor.support.threads import one_thread

sys.path.insert(0, str(Path(__file__).parent / "papers"))
from common import cifar, resnet20
from kept_rows import append, rows_of

AUXILIARY, PRIVATE = 8000, 1000
FIELDS = (
    "cut", "elements", "nmse", "stderr", "psnr_db", "ssim", "steps", "stopped", "seconds", "cpu_s", "limit_s", "gflops",
)  # fmt: skip
TARGET_ALL, TARGET_CUT = 2400.0, 300.0


def main() -> int:
    """Attack the cuts that have no row yet, then print the table and the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--cut", action="append", help="only these; may be repeated")
    parser.add_argument("--auxiliary", type=int, default=AUXILIARY)
    parser.add_argument("--private", type=int, default=PRIVATE)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.cores)
    graph = advisor.trace(resnet20(), cifar("test", 2)[0])
    wanted = [graph.cut(name) for name in given.cut] if given.cut else list(graph.cuts)
    known = {row["cut"] for row in rows_of(given.out)}
    left = [cut.name for cut in wanted if cut.name not in known]
    attacked(graph, left, given.out, given.auxiliary, given.private)
    return summary([r for r in rows_of(given.out) if r["cut"] in {c.name for c in wanted}], len(wanted))


def attacked(graph: PartitionGraph, names: list[str], out: Path, auxiliary: int, private: int) -> None:
    """Attack these cuts over one forward pass; a row each."""
    aux, x = cifar("train", auxiliary)[0], cifar("train", private, auxiliary)[0]
    started, busy = time.perf_counter(), time.process_time()
    results = advisor.attack_cuts(graph, names, x, aux, budget="strong", folder=out.parent / f"{out.stem}-state")
    for cut, found in results:
        seconds, spent = time.perf_counter() - started, time.process_time() - busy
        if isinstance(found, AdvisorError):
            raise found
        gflops, macs = measured(graph, cut, x[:64])
        steps = int(found.evidence["steps"])
        stopped = next(note for note in found.notes if "steps" in note).partition(": ")[2]
        values = (
            cut.name, cut.elements, f"{found.nmse.value:.4f}", f"{found.nmse.stderr:.4f}", f"{found.psnr.value:.2f}",
            f"{found.ssim.value:.3f}", steps, stopped, f"{seconds:.0f}", f"{spent:.0f}",
            f"{6 * macs * STRONG.batch * steps / gflops / 1e9 / torch.get_num_threads():.0f}", f"{gflops:.0f}",
        )  # fmt: skip
        append(out, FIELDS, dict(zip(FIELDS, map(str, values), strict=True)))
        print(", ".join(f"{k} {v}" for k, v in zip(FIELDS, values, strict=True)), flush=True)
        started, busy = time.perf_counter(), time.process_time()


def measured(graph: PartitionGraph, cut: Cut, x: torch.Tensor) -> tuple[float, float]:
    """GFLOP/s of one core, there and back with a batch through this cut's inversion network, and its MACs an image."""
    with torch.no_grad():
        z = graph.piece(cut.index, 0)(x) if cut.index else x
        z = z if isinstance(z, torch.Tensor) else z[0]
        features, layout = arrange((z,), x, True)
        decoder = decoders_for(features, layout, x, torch.arange(len(x)), STRONG.width, STRONG.depth)[0]()
    network, batch = Fast(decoder.network, STRONG.fast), decoder.features[torch.arange(len(x))]
    macs = macs_of(decoder.network, batch)
    times = []
    with one_thread():
        for _ in range(4):
            started = time.perf_counter()
            network(batch).square().mean().backward()
            times.append(time.perf_counter() - started)
    return 6 * macs * len(x) / min(times[1:]) / 1e9, macs


def macs_of(network: nn.Module, batch: torch.Tensor) -> float:
    """Multiply-adds of its convolutions and products on one sample."""
    counted = [0.0]

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            places = out[0].numel() / out.shape[1]
            counted[0] += places * module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()
    return counted[0]


def summary(rows: list[dict[str, str]], wanted: int) -> int:
    """Print how long it took against the targets; 1 where one is missed."""
    spent, last = sum(float(r["seconds"]) for r in rows), [r for r in rows if r["cut"].startswith("stage3")]
    slowest = max((float(r["seconds"]) for r in last), default=float("nan"))
    limit = sum(float(r["limit_s"]) for r in rows)
    print(f"{len(rows)} of {wanted} cuts: {spent:.0f} s, of which arithmetic takes {limit:.0f}")
    print(f"slowest of the last stage: {slowest:.0f} s")
    inside = spent <= TARGET_ALL and not slowest > TARGET_CUT
    print("inside the targets" if inside else "outside the targets")
    return int(not inside)


if __name__ == "__main__":
    sys.exit(main())
