"""How little of the input stays unknown at least: H(x|z) from above, by the errors of a decoder (Barber and Agakov)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from advisor.cut_view import ColumnSpec, CutView, Need
from advisor.errors import NotMeasurableError
from advisor.estimate import NORMAL_90, Estimate
from advisor.estimators.linear import linear_weights
from advisor.estimators.mutual import leading_pixels
from advisor.measures.gram_matrices import roles
from advisor.measures.information import residual_entropy


@dataclass(frozen=True)
class Variational:
    """Upper bound of H(x|z) an element from linear inversion; higher is more private.

    A low value proves leakage; a high one only says that this decoder found nothing.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    columns: ClassVar[tuple[ColumnSpec, ...]] = (
        ColumnSpec(
            "decoder_entropy", "nat", "high", "estimated",
            "upper bound of H(x|z) an element of x, from the held-out errors of linear inversion",
        ),
    )  # fmt: skip

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: too few samples, or inputs that do not vary.
        """
        train, test = roles(view.targets)
        centred, basis = leading_pixels(view.targets)
        basis = basis[:, : max(1, len(test) // 2)]
        if not basis.shape[1]:
            raise NotMeasurableError("the inputs are all the same: their entropy is that of a point")
        errors = centred[test] - linear_weights(view).to(centred.dtype) @ centred[train]
        value, error = residual_entropy(errors.double(), basis.double())
        half, words = NORMAL_90 * error, f"linear ridge, {len(train)} samples to learn from, {len(test)} held out"
        return {"decoder_entropy": Estimate(value, error, value - half, value + half, "nat", "estimated", words)}
