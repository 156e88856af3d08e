"""Intra-class variance R_c² of the activation at a cut (Golden Partition Zone, arXiv 2506.15412)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need, Targets
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.statistics.spread import jackknife
from advisor.measures.gram_matrices import sample_gram

NO_CLASS = "no class has two samples, so none has a radius: give more samples"


@dataclass(frozen=True, eq=False)
class ClassScatter:
    """Squared distances to the class means and to the mean of all, from inner products alone.

    Attributes:
        counts: `[C]` samples n_c of each class present, float64.
        member: `[n]` the class of each sample, 0 to C - 1.
        own: `[n]` squared distance of each sample to its class mean.
        all: `[n]` squared distance of each sample to the mean of all.
    """

    counts: Tensor
    member: Tensor
    own: Tensor
    all: Tensor

    @property
    def within(self) -> Tensor:
        """`[C]` sum of squared distances to the class mean."""
        return torch.zeros_like(self.counts).index_add_(0, self.member, self.own)

    @property
    def variances(self) -> Tensor:
        """`[C]` R_c² = within / (n_c - 1), unbiased; NaN for a class of one sample."""
        return torch.where(self.counts > 1, self.within / (self.counts - 1), torch.nan)

    @property
    def variances_without(self) -> Tensor:
        """`[n]` R_c² of each sample's class when the sample is left out; not finite in classes of one or two."""
        n = self.counts[self.member]
        return (self.within[self.member] - n / (n - 1) * self.own) / (n - 2)

    @property
    def total(self) -> float:
        """Total variance, summed over dimensions, unbiased."""
        return float(self.all.sum()) / (len(self.all) - 1)

    @property
    def total_without(self) -> Tensor:
        """`[n]` total variance when one sample is left out."""
        n = len(self.all)
        return (self.all.sum() - n / (n - 1) * self.all) / (n - 2)


def class_scatter(gram: Tensor, labels: Tensor) -> ClassScatter:
    """Scatter within classes, without class means in z's own space.

    Args:
        gram: `[n, n]` inner products of the samples about any one point.
        labels: `[n]` integers.
    """
    _, member, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    counts, diagonal = counts.double(), gram.diagonal()
    mates = (gram * (member[:, None] == member[None, :])).sum(1)
    square = torch.zeros_like(counts).index_add_(0, member, mates)
    own = diagonal - 2 * mates / counts[member] + (square / counts.square())[member]
    rows = gram.mean(1)
    return ClassScatter(counts, member, own.clamp_min(0), (diagonal - 2 * rows + rows.mean()).clamp_min(0))


def class_radius(scatter: ClassScatter) -> tuple[float, Tensor]:
    """Unweighted mean of R_c² over the classes of two samples or more; in squared units of z, summed over dimensions.

    Returns:
        The radius, and `[n]` the radius with one sample left out.

    Raises:
        NotMeasurableError: when every class has one sample.
    """
    counted = scatter.counts > 1
    if not counted.any():
        raise NotMeasurableError(NO_CLASS)
    variances, classes = scatter.variances, int(counted.sum())
    radius = float(variances[counted].mean())
    n, mine = scatter.counts[scatter.member], variances[scatter.member]
    # A class of two that loses one sample drops out of the mean, as a class of one does.
    dropped = (classes * radius - mine) / (classes - 1)
    shrunk = radius + (scatter.variances_without - mine) / classes
    without = torch.where(n >= 3, shrunk, torch.where(n == 2, dropped, radius))
    return radius, without


def label_words(targets: Targets) -> str:
    """Which labels the classes come from."""
    return "true labels" if targets.labels_are_true else "the model's own predictions as labels"


@dataclass(frozen=True)
class ClassRadius:
    """R_c² raw, per dimension, and over the total variance.

    A smaller radius at a fixed class leaves a larger H(x|z) in the paper's bound, so lower is more private. The raw
    radius falls with the number of dimensions alone (a stage of a CNN that halves D halves it), hence the other two;
    `rc2_ratio` is 1 where classes explain nothing and 0 at neural collapse (NC1, Papyan, Han and Donoho 2020).
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "rc2", "z²", "low", "estimated", "GPZ R_c²: mean over classes of the unbiased variance, summed over z"
        ),
        ColumnSpec("rc2_per_dim", "z²", "low", "estimated", "R_c² / elements of z"),
        ColumnSpec("rc2_ratio", "1", "low", "estimated", "R_c² / total variance of z (NC1-like)"),
    )

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: when no class has two samples.
        """
        scatter = class_scatter(sample_gram(view), view.targets.labels)
        radius, without = class_radius(scatter)
        elements, words = view.z.shape[1], f"delete-one jackknife; {label_words(view.targets)}"
        return {
            "rc2": jackknife(radius, without, "z²", f"R_c²; {words}", 0.0),
            "rc2_per_dim": jackknife(radius / elements, without / elements, "z²", f"R_c² / D; {words}", 0.0),
            "rc2_ratio": self._ratio(scatter, radius, without, words),
        }

    @staticmethod
    def _ratio(scatter: ClassScatter, radius: float, without: Tensor, words: str) -> Estimate:
        if scatter.total <= 0:
            return Estimate(torch.nan, method="the activation is the same for every sample: no variance to divide by")
        method = f"R_c² / total variance; {words}"
        return jackknife(radius / scatter.total, without / scatter.total_without, "1", method, 0.0)
