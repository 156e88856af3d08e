"""Which cheap estimator predicts, cut by cut, what a strong inversion attack recovers? Trains, attacks, ranks.

Nine networks on CIFAR-10, digits and breast-cancer records, and two more on which nothing was ever chosen; every row is
kept as it ends, so it can be stopped and started again. On one core at the reduced size: seconds for a perceptron, up
to 20 minutes for a network.

    python examples/04_which_score_predicts_the_attack.py --nets mlp-digits cnn-digits --out out/headline
    python examples/04_which_score_predicts_the_attack.py --nets convmixer-cifar10 resnext-cifar10 --out out/fresh
    python examples/04_which_score_predicts_the_attack.py --show benchmarks/headline/results
    python examples/04_which_score_predicts_the_attack.py --show benchmarks/headline/fresh
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.headline.cases import CASES, FRESH
from benchmarks.headline.estimates import Estimated
from benchmarks.headline.rows import read
from benchmarks.headline.run import ESTIMATES, TRUTH, attack_all, estimate_all
from benchmarks.headline.table import accuracy, ranked, scored
from benchmarks.headline.truth import NOISES, REDUCED, Attacked


def show(folder: Path) -> None:
    """The table, the score's errors, and where the zones start."""
    truth, estimates = read(folder / TRUTH, Attacked), read(folder / ESTIMATES, Estimated)
    rows = scored(truth, estimates)
    levels = sorted({row.noise for row in rows})
    print(f"{len(rows)} attacks on {len({row.net for row in rows})} networks, noise {', '.join(map(str, levels))}")
    print(f"\n{'':18}{'within a net, bare':>22}{'all together':>14}{'CPU':>8}")
    print(f"{'estimator':18}{'Spearman':>11}{'Kendall':>11}{'Spearman':>14}{'s':>8}")
    for line in ranked(rows, estimates):
        print(f"{line.name:18}{line.spearman:>11.2f}{line.kendall:>11.2f}{line.pooled:>14.2f}{line.seconds:>8.1f}")
    found = accuracy(truth, estimates, rows)
    print(
        f"\n|score - truth|: median {found.median:.3f} (target 0.08), 90 % below {found.p90:.3f} (target 0.2); "
        f"{found.coverage:.0%} of the 90 % intervals hold it (target 85 to 95 %); their widths from the other networks "
        f"alone: {found.bare_left_out:.0%} without noise, {found.noisy_left_out:.0%} with\n"
    )
    print(f"{'zone starts at':20}{'by the score':>24}{'by the attack':>24}{'within a block':>16}")
    for net, (guess, real, near) in found.edges.items():
        print(f"{net:20}{guess or 'nowhere':>24}{real or 'nowhere':>24}{'yes' if near else 'no':>16}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=[*CASES], default=[n for n in CASES if n not in FRESH])
    parser.add_argument("--noises", nargs="+", type=float, choices=NOISES, default=NOISES)
    parser.add_argument("--budget", type=float, default=1200, help="seconds of attacks on one net in this run")
    parser.add_argument("--steps", type=int, default=REDUCED.steps, help="of one attack")
    parser.add_argument("--out", type=Path, default=Path("out/headline"))
    parser.add_argument("--show", type=Path, help="a folder of results to print, nothing is run")
    options = parser.parse_args(arguments)
    if options.show is None:
        budget = replace(REDUCED, steps=options.steps)
        attack_all(options.nets, options.out, budget, options.budget, options.noises)
        estimate_all(options.nets, options.out, options.noises)
    show(options.show or options.out)


if __name__ == "__main__":
    main()
