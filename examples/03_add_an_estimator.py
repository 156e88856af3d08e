"""One more estimator is one class: how often an input keeps its nearest neighbour on the way to a cut.

`advisor leakage MODEL --only score,my_file:KeptNeighbours` measures it from a file `my_file.py` in the current folder;
a distribution lists it as an entry point of `partition_advisor.estimators`; to build it in, move the class into a file
of `estimators/` and name it in `estimators/__init__.py`. Reports and JSON need nothing: a column describes itself.

    python examples/03_add_an_estimator.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import advisor
from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.study.study_samples import targets_for
from advisor.reports.content.quantities import show_estimate
from advisor.sweep import sweep


@dataclass(frozen=True)
class KeptNeighbours:
    """Share of inputs whose nearest neighbour among the inputs is also the nearest at the cut; 1 keeps all geometry."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec("kept_neighbours", "1", "low", "measured", "nearest neighbours in Euclidean distance"),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: with fewer than three samples, where a neighbour says nothing.
        """
        pixels = view.targets.pixels.flatten(1).double()
        if len(pixels) < 3:
            raise NotMeasurableError("fewer than three samples")
        same = nearest(torch.cdist(pixels, pixels)) == nearest(view.distances)
        return {"kept_neighbours": Estimate.of_mean(same.double().numpy(), "1", "nearest neighbours kept")}


def nearest(distances: Tensor) -> Tensor:
    """`[n]` the other sample that is nearest to each."""
    return distances.clone().fill_diagonal_(torch.inf).argmin(1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400)
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)).eval()
    x = torch.tensor(load_digits().images[: options.samples], dtype=torch.float32).unsqueeze(1) / 16
    graph = advisor.trace(net, x[:2])
    column = sweep(graph, (x,), targets_for(graph, (x,), None, seed=0), [KeptNeighbours()])["kept_neighbours"]
    for cut in graph.cuts:
        print(f"{cut.name:<8} {show_estimate(column.at(cut.index))}")


if __name__ == "__main__":
    main()
