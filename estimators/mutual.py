"""Mutual information of input and z, from above (CLUB) and from below (InfoNCE), by one linear critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advisor.cut_view import ColumnSpec, CutView, Need, Targets
from advisor.errors import NotMeasurableError
from advisor.estimate import Estimate
from advisor.estimators.linear import linear_weights
from advisor.measures.decoders.vector_decoder import principal_components
from advisor.measures.gram_matrices import flat_pixels, remembered, roles
from advisor.measures.information import GaussianCritic, club, info_nce

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
