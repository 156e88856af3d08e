"""Duan et al. 2024 (InfoScissors), table 1: few labels complete a model; training from scratch on them does not.

    nice -n 19 python benchmarks/papers/completion.py     # a few minutes; writes completion.csv

Theirs: ResNet-18 whose last block and classifier stay on the device, CIFAR-10, 40 labels: 69.31 % against 15.34 %, the
device's own classifier 77.20 %. Ours: the ResNet-20 at hand, cut before its last block, 40 labels, 1,000 images more
without a label, 1,000 test images attacked. The activation is given: the attacker's own layers are not fine-tuned.
Limits: completion is above scratch by at least 30 points and below the model itself.
"""

from __future__ import annotations

import sys

import torch
from common import Table, accuracy, cifar, resnet20, train

import advisor
from advisor.estimators.attacks.support.data_split import few_labels

CUT = "stage3.1"
LABELS, POOL, PRIVATE = 40, 1000, 1000


def measured(who: str) -> dict[str, str]:
    """One attacker's accuracy."""
    own, own_y = cifar("train", POOL)
    private, truth = cifar("test", PRIVATE)
    if who == "model":
        share, note = accuracy(resnet20(), private, truth), "the whole model"
    elif who == "scratch":
        few = few_labels(own_y, LABELS, 0)
        torch.manual_seed(0)
        model = train(resnet20(pretrained=False), own[few >= 0], own_y[few >= 0], 60, 1e-3, 0)
        share, note = accuracy(model, private, truth), "ResNet-20 trained on the labelled images alone, 60 epochs"
    else:
        graph = advisor.trace(resnet20(), private[:2])
        cut = next(c for c in reversed(graph.cuts) if c.block == CUT or c.name.startswith(f"{CUT}/"))
        found = advisor.attack(graph, cut, private, own, y=truth, aux_y=own_y, labels=LABELS, name=who)
        share, note = found.top1.value, f"cut {cut.name}"
    return {
        "attacker": who, "accuracy": f"{share:.4f}", "labels": str(LABELS), "private": str(PRIVATE), "note": note,
        "theirs": {"model": "0.7720", "pmc": "0.6931", "scratch": "0.1534"}.get(who, ""),
    }  # fmt: skip


def main() -> int:
    """Fill the table, and hold it against the limits."""
    table = Table("completion", 1)
    who = ("model", "scratch", "mlp-sim", "mlp", "pmc")
    share = {w: float(table.row(w, compute=lambda w=w: measured(w))["accuracy"]) for w in who}
    inside = share["scratch"] + 0.3 <= share["pmc"] <= share["model"] + 0.02
    print("inside the limits" if inside else "outside the limits")
    return int(not inside)


if __name__ == "__main__":
    sys.exit(main())
