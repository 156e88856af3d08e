"""Linear minimum mean-square reconstruction: each principal component of the inputs by a ridge of its own.

For jointly Gaussian inputs and activations it is the best there is, E[x|z] (Wiener 1949; Kay 1993, section 12.3). A
component is shrunk by what the noise leaves of it, whatever the others need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advisor.measures.gram_matrices import Kernel, centred_blocks

COMPONENTS = 512
CHOOSING = 1536
"""Samples that the penalties are chosen on: a ridge's penalty over their number hardly depends on it."""

ELEMENTS = 4096
"""Of a payload whose inner products are taken at once."""

DECADES = (-13.0, 4.0)
"""In double precision: what all elements have in common may be far larger than what tells of the inputs."""
STEPS = 35


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of inputs.

    Attributes:
        mean: `[d]`.
        basis: `[d, k]`, orthonormal, of most variance first.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def of(cls, inputs: Tensor, most: int = COMPONENTS) -> Components:
        """Of inputs `[n, d]`; at most `most`, and no more than their rank."""
        mean = inputs.mean(0)
        centred = (inputs - mean).double()
        wide = centred.shape[1] > len(centred)
        values, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
        kept = torch.nonzero(values > 1e-9 * values[-1].clamp_min(1e-30)).flatten().flip(0)[:most]
        basis = centred.T @ vectors[:, kept] / values[kept].sqrt() if wide else vectors[:, kept]
        return cls(mean, basis.to(inputs.dtype))

    def __call__(self, inputs: Tensor) -> Tensor:
        """`[n, k]`."""
        return (inputs - self.mean) @ self.basis

    def undo(self, values: Tensor) -> Tensor:
        """`[n, d]`."""
        return self.mean + values @ self.basis.T


def wiener(learnt: Tensor, tried: Tensor, seen: Tensor, inputs: Tensor, wanted: Tensor) -> Tensor:
    """Inputs `[m, d]` of the payloads `seen`.

    Args:
        learnt: `[n, D]` payloads to learn from; the more of the noise is averaged away in them, the better.
        tried: `[k, D]` payloads of further samples, as noisy as those that are attacked: each component's penalty is
            the one of least error on them, which makes the filter of the noise that is in them.
        seen: `[m, D]`, attacked.
        inputs: `[n, d]` of `learnt`.
        wanted: `[k, d]` of `tried`.
    """
    components = Components.of(inputs)
    goal, right = components(inputs).double(), components(wanted).double()
    n = len(learnt)
    few = torch.arange(min(n, CHOOSING))
    gram = _products(torch.cat([learnt[few], tried]), learnt[few])
    inner, cross = centred_blocks(gram, few, torch.arange(len(few), len(gram)))
    chosen = [p * n / len(few) for p in component_penalties(inner, cross, goal[few], right)]
    gram = _products(torch.cat([learnt, seen]), learnt)
    inner, cross = centred_blocks(gram, torch.arange(n), torch.arange(n, len(gram)))
    kernel, mean = Kernel.of(inner, cross, exact=True), goal.mean(0)
    found = torch.zeros(len(seen), goal.shape[1], dtype=torch.float64)
    for penalty in sorted(set(chosen)):
        which = torch.tensor([p == penalty for p in chosen])
        found[:, which] = kernel.weights(penalty) @ (goal - mean)[:, which]
    return components.undo((mean + found).to(inputs.dtype))


def component_penalties(inner: Tensor, cross: Tensor, goal: Tensor, right: Tensor) -> Sequence[float]:
    """The penalty of least squared error for each component; infinite where none beats the mean.

    Args:
        inner: `[a, a]` centred inner products of samples to learn from.
        cross: `[b, a]` of samples to try on.
        goal: `[a, k]` components of the former.
        right: `[b, k]` of the latter.
    """
    kernel = Kernel.of(inner, cross, exact=True)
    scale, mean = float(kernel.values.mean()), goal.mean(0)
    turned, seen = kernel.vectors.T @ (goal - mean), cross @ kernel.vectors
    least, best = (right - mean).square().sum(0), [math.inf] * goal.shape[1]
    if scale <= 0:
        return best
    for penalty in (scale * torch.logspace(*DECADES, steps=STEPS, dtype=torch.float64)).tolist():
        found = seen @ (turned * kernel.shrunk(penalty)[:, None])
        error = (right - mean - found).square().sum(0)
        best = [penalty if better else before for better, before in zip((error < least).tolist(), best, strict=True)]
        least = torch.minimum(least, error)
    return best


def _products(rows: Tensor, columns: Tensor) -> Tensor:
    """Inner products, about the mean of `columns`, in double precision.

    Of more samples than elements they have no full rank: what float32 rounds would be divided by a small penalty.
    """
    mean, found = columns.mean(0), rows.new_zeros((len(rows), len(columns)), dtype=torch.float64)
    for some in torch.split(torch.arange(rows.shape[1]), ELEMENTS):
        part = slice(int(some[0]), int(some[-1]) + 1)
        left, right = ((t[:, part] - mean[part]).double() for t in (rows, columns))
        found += left @ right.T
    return found
