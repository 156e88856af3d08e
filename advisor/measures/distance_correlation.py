"""Distance correlation without the bias of many dimensions (Székely and Rizzo 2014), from two distance matrices."""

from __future__ import annotations

from torch import Tensor

from advisor.errors import NotMeasurableError

_MIN_SAMPLES = 5  # the U-statistic needs four, leaving one out needs one more
_TINY = 1e-12


def u_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Inner product of U-centred distance matrices, with one sample left out each time as well.

    Székely and Rizzo (2014), eq. 2.1 to 2.3, expanded so that neither matrix is centred:
    (Ã·B̃) = [Σ a_ij b_ij - 2/(n-2) Σ a_i. b_i. + a.. b../((n-1)(n-2))] / (n (n-3)).

    Args:
        a, b: `[n, n]` symmetric distances with a zero diagonal; n of at least 5.

    Returns:
        The product, and `[n]` the product without sample k.
    """
    n, mixed = a.shape[0], a * b
    rows_a, rows_b = a.sum(1), b.sum(1)
    whole = _u_sum(mixed.sum(), (rows_a * rows_b).sum(), rows_a.sum() * rows_b.sum(), n)
    # Without k: row sums lose a_ik, totals lose row and column k.
    pairs = mixed.sum() - 2 * mixed.sum(1)
    rows = (rows_a * rows_b).sum() - rows_a * rows_b - b @ rows_a - a @ rows_b + mixed.sum(1)
    return whole, _u_sum(pairs, rows, (rows_a.sum() - 2 * rows_a) * (rows_b.sum() - 2 * rows_b), n - 1)


def _u_sum(pairs: Tensor, rows: Tensor, totals: Tensor, n: int) -> Tensor:
    return (pairs - 2 * rows / (n - 2) + totals / ((n - 1) * (n - 2))) / (n * (n - 3))


def distance_correlation(a: Tensor, b: Tensor) -> tuple[float, Tensor]:
    """Bias-corrected distance correlation R*_n (Székely and Rizzo 2014, eq. 3.4).

    It estimates the squared distance correlation: 1 for the same up to scale and rotation, 0 on average for independent
    samples of any dimension, and may be slightly negative.

    Args:
        a, b: `[n, n]` distances between the same n samples, n of at least 5.

    Returns:
        The correlation, and `[n]` the correlation with one sample left out.

    Raises:
        NotMeasurableError: too few samples, or samples that do not differ.
    """
    if a.shape[0] < _MIN_SAMPLES:
        raise NotMeasurableError(f"distance correlation needs at least {_MIN_SAMPLES} samples, not {a.shape[0]}")
    (ab, ab_without), (aa, aa_without), (bb, bb_without) = u_product(a, b), u_product(a, a), u_product(b, b)
    for product, distances, what in ((aa, a, "the input"), (bb, b, "the activation")):
        if product <= _TINY * distances.square().mean():
            raise NotMeasurableError(f"{what} has no variation that distance correlation could follow")
    return float(ab / (aa * bb).sqrt()), ab_without / (aa_without * bb_without).sqrt()
