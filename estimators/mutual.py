"""Mutual information of input and z, from above (CLUB) and from below (InfoNCE), by one linear critic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advisor.estimate import Estimate
from advisor.estimators.inversion.decoders import principal_components
from advisor.estimators.linear import linear_weights
from advisor.measures.gram_matrices import flat_pixels, remembered, roles
from advisor.sweep import ColumnSpec, CutView, Need, NotMeasurableError, Targets

COMPONENTS = 8
"""Principal components of the input that information is counted in: all pixels together saturate InfoNCE."""

MOST_COMPONENTS = 128
_FLOOR = 1e-6


@remembered
def leading_pixels(targets: Targets) -> tuple[Tensor, Tensor]:
    """Targets `[n, d]` about the attacker's mean, and `[d, k]` their leading directions, the same at every cut."""
    pixels = flat_pixels(targets)
    centred = pixels - pixels[targets.train].mean(0)
    return centred, principal_components(centred[targets.train], MOST_COMPONENTS)


@dataclass(frozen=True, eq=False)
class GaussianCritic:
    """ln q(x|z) up to a constant: independent normals about a prediction.

    Attributes:
        means: `[m, c]` predicted targets of each z.
        variances: `[c]` of the prediction error.
    """

    means: Tensor
    variances: Tensor

    def scores(self, targets: Tensor) -> Tensor:
        """`[m, m]`: row i holds ln q(x_j | z_i) for every j."""
        scale = self.variances.sqrt()
        return -0.5 * torch.cdist(self.means / scale, targets / scale).square()


def club(scores: Tensor) -> Tensor:
    """`[m]` terms whose mean is the CLUB estimate (Cheng et al. 2020, eq. 12), nats.

    ln q(x_i|z_i) less its mean over all other x_j: an upper bound of the information where q is close to the truth.
    """
    m = len(scores)
    others = (scores.sum(1) - scores.diagonal()) / (m - 1)
    return scores.diagonal() - others


def info_nce(scores: Tensor) -> Tensor:
    """`[m]` terms whose mean is the InfoNCE estimate (van den Oord et al. 2018), nats: a lower bound, at most ln m.

    Each x_i against all z_j: q(x_i|z_j) is then the best critic up to p(x_i), which cancels.
    """
    return scores.diagonal() - scores.logsumexp(0) + math.log(len(scores))


def linear_critic(view: CutView) -> tuple[GaussianCritic, Tensor]:
    """The critic of ridge inversion on held-out samples, and their true components `[m, c]`.

    Raises:
        NotMeasurableError: too few samples, or an input that does not vary.
    """
    train, test = roles(view.targets)
    if len(test) < 4:
        raise NotMeasurableError(f"mutual information needs at least 4 held-out samples, not {len(test)}")
    centred, basis = leading_pixels(view.targets)
    basis = basis[:, :COMPONENTS]
    if not basis.shape[1]:
        raise NotMeasurableError("the inputs are all the same: there is no information in them")
    wanted = (centred @ basis).double()
    spread = wanted[train].std(0).clamp_min(1e-30)
    means = (linear_weights(view) @ wanted[train]) / spread
    truth = wanted[test] / spread
    variances = (truth - means).square().mean(0).clamp_min(_FLOOR)
    return GaussianCritic(means, variances), truth


@dataclass(frozen=True)
class MutualInformation:
    """CLUB and InfoNCE between the input's leading components and z; lower is more private.

    For a deterministic network the information between continuous x and z is infinite: what is estimated is what a
    linear critic with Gaussian errors finds.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "club", "nat", "low", "estimated",
            "CLUB upper estimate of I(x; z), leading components of x, linear-Gaussian q(x|z)",
        ),
        ColumnSpec(
            "info_nce", "nat", "low", "estimated",
            "InfoNCE lower bound of I(x; z), leading components of x, linear-Gaussian critic; at most ln of the "
            "held-out samples",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: too few samples, or an input that does not vary.
        """
        critic, truth = linear_critic(view)
        scores = critic.scores(truth)
        words = f"{truth.shape[1]} components, {len(truth)} held-out samples, linear critic"
        found = {"club": club(scores), "info_nce": info_nce(scores)}
        return {name: Estimate.of_mean(terms.numpy(), "nat", f"{name}; {words}") for name, terms in found.items()}
