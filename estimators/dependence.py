"""Distance correlation between the private input and the activation, without the bias of many dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.estimate import Estimate
from advisor.estimators.statistics.spread import jackknife
from advisor.measures.distance_correlation import distance_correlation
from advisor.measures.gram_matrices import pixel_gram, sample_gram, squared_distances


@dataclass(frozen=True)
class DistanceCorrelation:
    """Bias-corrected distance correlation between pixels and z; lower is more private.

    The plain (V-statistic) form tends to 1 for independent samples of many dimensions, so it cannot rank cuts.

    Attributes:
        samples: at most this many, drawn with the view's seed: the cost grows with their square.
    """

    samples: int = 500
    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "dcor", "1", "low", "estimated", "bias-corrected distance correlation R* (squared scale), pixels and z"
        ),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: too few samples, or an input or a z that does not vary.
        """
        chosen = self._chosen(view)
        inputs, sent = (
            squared_distances(gram[chosen][:, chosen]).sqrt() for gram in (pixel_gram(view.targets), sample_gram(view))
        )
        value, without = distance_correlation(inputs, sent)
        return {"dcor": jackknife(value, without, "1", f"R* on {len(chosen)} samples; delete-one jackknife")}

    def _chosen(self, view: CutView) -> Tensor:
        n = len(view.targets.labels)
        if n <= self.samples:
            return torch.arange(n)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(view.seed))
        return order[: self.samples].sort().values
