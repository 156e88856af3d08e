"""Work to seconds by non-negative least squares in relative error, and its error on groups that were left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def solve(features: np.ndarray, seconds: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Non-negative parameters `[3]` that minimise Σ w²·(estimated/measured − 1)².

    Args:
        features: `[points, 3]`.
        seconds: `[points]`, measured.
        weights: `[points]`, or None for equal ones.
    """
    from scipy.optimize import nnls

    w = np.ones(len(seconds)) if weights is None else weights
    relative = features / seconds[:, None] * w[:, None]
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    result: np.ndarray = nnls(relative / scale, w)[0] / scale
    return result


def left_out(
    features: np.ndarray, seconds: np.ndarray, groups: Sequence[str], weights: np.ndarray | None = None
) -> np.ndarray:
    """Estimated seconds `[points]` of each group, by a fit on all other groups."""
    estimated = np.empty(len(seconds))
    names = np.asarray(groups)
    for group in dict.fromkeys(groups):
        out = names == group
        kept = None if weights is None else weights[~out]
        estimated[out] = features[out] @ solve(features[~out], seconds[~out], kept)
    return estimated


def log_rms(estimated: np.ndarray, seconds: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Root mean square of ln(measured/estimated); an estimate of zero counts as one of a hundredth of the time."""
    errors = np.log(np.maximum(estimated / seconds, 0.01))
    return float(np.sqrt(np.average(errors**2, weights=None if weights is None else weights**2)))
