"""How long `recommend` says each stage will take, and how long it takes, on five models of different kind.

    python benchmarks/real_size/told_and_taken.py [--only digits-cnn,gru] [--effort quick]

Weights are random but for the digits CNN, and so are the samples of the 224-pixel net, of ResNet-18 and of the GRU:
only time is looked at, and an attack that learns nothing takes all of its steps. A model's rows are kept as its run
ends, and a second start goes on with those that have none. `cpu_s` is processor time: on a machine that others use,
wall time is longer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import advisor
from advisor.testing.small_models import digits, trained

sys.path.insert(0, str(Path(__file__).parents[1]))
from kept_rows import append, rows_of

FIELDS = ("model", "inputs", "samples", "effort", "stage", "told_s", "taken_s", "ratio", "cpu_s", "threads")
STAGES = ("leakage", "search", "verify", "answer")
Case = tuple[nn.Module, Tensor, Tensor | None]


def main() -> None:
    """Run what has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--effort", choices=("quick", "standard", "thorough"), default="quick")
    given = parser.parse_args()
    done = {(row["model"], row["effort"]) for row in rows_of(given.out)}
    for name in given.only.split(","):
        if (name, given.effort) in done:
            continue
        torch.manual_seed(0)
        for row in measured(name, *CASES[name](), given.effort):
            append(given.out, FIELDS, row)


def measured(name: str, model: nn.Module, x: Tensor, y: Tensor | None, effort: str) -> list[dict[str, Any]]:
    """One run: a row a stage, and one for all of it."""
    watch = Watch()
    advice = advisor.recommend(
        model.eval(), x[:2], device="jetson", data=(x, y), effort=effort, min_nmse=0.3, progress=watch
    )
    ended = watch.ended()
    told = advice.provenance["told"]
    about = {
        "model": name, "inputs": "x".join(map(str, x.shape[1:])), "samples": len(x), "effort": effort,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    rows = [(stage, told[stage], *ended.get(stage, (0.0, 0.0))) for stage in STAGES]
    rows.append(("all", sum(told.values()), *ended["all"]))
    return [
        about | {
            "stage": stage, "told_s": f"{said:.1f}", "taken_s": f"{wall:.1f}", "ratio": f"{wall / max(said, 0.05):.2f}",
            "cpu_s": f"{cpu:.1f}",
        }
        for stage, said, wall, cpu in rows
    ]  # fmt: skip


class Watch:
    """Wall and processor time at which each stage is first and last heard of."""

    def __init__(self) -> None:
        self.times = {"start": [now(), now()]}

    def __call__(self, stage: str, share: float, what: str = "") -> None:
        """As `recommend` calls it."""
        self.times.setdefault(stage, [now(), now()])[1] = now()

    def ended(self) -> dict[str, tuple[float, float]]:
        """Seconds of wall and of processor time by stage; the answer is what comes after the last."""
        last, end = max(pair[1] for pair in self.times.values()), now()
        spans = self.times | {"answer": [last, end], "all": [self.times["start"][0], end]}
        return {name: (b[0] - a[0], b[1] - a[1]) for name, (a, b) in spans.items()}


def now() -> tuple[float, float]:
    """Wall and processor time, s."""
    return time.perf_counter(), time.process_time()


# ---- the models ----------------------------------------------------------------------------------------------------


def digits_cnn() -> Case:
    """Some 20,000 weights, trained on scikit-learn's digits."""
    x, y = digits(1797)
    return trained(), x, y


def resnet18() -> Case:
    """torchvision's, at 32 pixels."""
    from torchvision.models import resnet18 as made

    return made(num_classes=10), smooth(500, 32), None


def mobilenet() -> Case:
    """torchvision's MobileNetV3-small at 224 pixels, and few samples."""
    from torchvision.models import mobilenet_v3_small as made

    return made(), smooth(120, 224), None


class Words(nn.Module):
    """Embeddings, two GRU layers, the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(1000, 64), nn.Linear(128, 5)
        self.read = nn.GRU(64, 128, 2, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """`[n, 40]` ids to `[n, 5]`."""
        return self.head(self.read(self.embed(ids))[0][:, -1])  # type: ignore[no-any-return]


def gru() -> Case:
    """A text model."""
    return Words(), torch.randint(1000, (600, 40)), None


def mlp() -> Case:
    """A table of 64 columns, five layers."""
    sides = (64, 256, 256, 128, 64)
    layers = [part for a, b in pairwise(sides) for part in (nn.Linear(a, b), nn.ReLU())]
    x, y = digits(1797)
    return nn.Sequential(*layers, nn.Linear(sides[-1], 10)), x.flatten(1), y


def smooth(count: int, side: int) -> Tensor:
    """Random colours at 8×8 places and what lies between, `[count, 3, side, side]` in [0, 1]."""
    return nn.functional.interpolate(torch.rand(count, 3, 8, 8), size=side, mode="bilinear", align_corners=False)


CASES: dict[str, Callable[[], Case]] = {
    "digits-cnn": digits_cnn, "mlp": mlp, "gru": gru, "resnet18-32": resnet18, "mobilenetv3-224": mobilenet,
}  # fmt: skip


if __name__ == "__main__":
    main()
