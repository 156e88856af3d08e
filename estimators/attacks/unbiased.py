"""`unbiased`: the white-box attacker of dFIL (Maeng et al. 2022, section 5.1): least squares, no prior, no clipping.

Where the edge half is affine this is one closed-form solution, whose error is σ²Tr((WᵀW)⁻¹)/d exactly; elsewhere
Gauss-Newton steps, unbiased as the noise goes to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from advisor.errors import NotMeasurableError
from advisor.estimators.attacks.base import AttackContext, Recovered, ThreatModel
from advisor.estimators.attacks.rmle import one_float_input
from advisor.estimators.attacks.support.matching import features
from advisor.measures.flat_rows import flat, side_by_side

ELEMENTS = 2**26
"""Of one Jacobian."""

STEPS = 12
RANK = 1e-7
"""Smallest singular value, as a share of the largest, of a Jacobian that can be inverted."""

TOLERANCE = 1e-4
ROWS = 4
"""Samples that are inverted before what was found is kept."""


@dataclass(frozen=True)
class Unbiased:
    """White box, no prior: exists only where at least as many numbers cross as were in the input."""

    name: ClassVar[str] = "unbiased"
    about: ClassVar[str] = "unbiased least squares, the attacker that 1/dFIL bounds (Maeng et al. 2022)"
    verifies: ClassVar[bool] = False
    threat: ClassVar[ThreatModel] = ThreatModel(("cut and defense", "edge weights"), ("nothing",), ("ask nothing",))

    def run(self, context: AttackContext) -> Recovered:
        """Invert the edge half, sample by sample where it is not affine."""
        one_float_input(context)
        edge, z = context.edge(), side_by_side(t.double() for t in context.sent)
        shape = context.graph.inputs.tensors[0].shape
        start = context.values.from_unit(torch.full((1, *shape), 0.5)) if context.images else torch.zeros(1, *shape)
        elements = start.numel()
        if z.shape[1] < elements:
            raise NotMeasurableError("fewer numbers cross than the input has: no unbiased attacker exists")
        if z.shape[1] * elements > ELEMENTS:
            raise NotMeasurableError("the Jacobian of this edge half is too large for least squares")
        straight = is_affine(edge, shape, context.seed)
        found = solved(edge, z, start) if straight else self._inverted(context, edge, z, start)
        evidence = {"affine": float(straight)}
        return Recovered(context.shrink((found.float().reshape(-1, *shape),)), clip=False, evidence=evidence)

    def _inverted(self, context: AttackContext, edge: nn.Module, z: Tensor, start: Tensor) -> Tensor:
        found = []
        for some, part in context.batches(len(z), ROWS):
            rows = part.kept(f"rows{some.start}", partial(_newton_each, edge, z[some], start))
            found.append(rows["x"])
            part.tick(1.0)
        return torch.cat(found)


def flat_output(edge: nn.Module, x: Tensor) -> Tensor:
    """`[n, D]`: all that crosses."""
    return side_by_side(features(edge, (x,)))


def is_affine(edge: nn.Module, shape: tuple[int, ...], seed: int) -> bool:
    """Whether f(a + b) + f(0) equals f(a) + f(b) on random inputs, up to rounding."""
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 8, *shape, generator=draw)
    with torch.no_grad():
        left = flat_output(edge, a + b) + flat_output(edge, torch.zeros_like(a))
        right = flat_output(edge, a) + flat_output(edge, b)
    return bool((left - right).abs().max() <= TOLERANCE * right.abs().max().clamp_min(1e-12))


def jacobian(edge: nn.Module, x: Tensor) -> Tensor:
    """`[D, d]` float64 at one input `[1, ...]`."""
    basis = torch.eye(x.numel()).reshape(-1, *x.shape)
    columns = torch.func.vmap(lambda v: torch.func.jvp(lambda u: flat_output(edge, u), (x,), (v,))[1], chunk_size=64)
    found: Tensor = columns(basis).reshape(x.numel(), -1).T.double()
    return found


def solved(edge: nn.Module, z: Tensor, start: Tensor) -> Tensor:
    """`[n, d]` least squares solutions for an affine edge half: x₀ + (JᵀJ)⁻¹Jᵀ(z − f(x₀))."""
    with torch.no_grad():
        J, base = jacobian(edge, start), flat_output(edge, start).double()
    return start.flatten().double() + (z - base) @ _left_inverse(J).T


def newton(edge: nn.Module, z: Tensor, start: Tensor) -> Tensor:
    """`[1, d]`: Gauss-Newton steps, halved until they help, for one sample `[D]`."""
    x, error = start.clone(), float("inf")
    for _ in range(STEPS):
        with torch.no_grad():
            step = (z - flat_output(edge, x).double()) @ _left_inverse(jacobian(edge, x)).T
            x, less = _better(edge, z, x, step.reshape(x.shape).float())
        if not less < error * (1 - TOLERANCE):
            break
        error = less
    return flat(x).double()


def _newton_each(edge: nn.Module, z: Tensor, start: Tensor) -> dict[str, Any]:
    return {"x": torch.cat([newton(edge, row, start) for row in z])}


def _better(edge: nn.Module, z: Tensor, x: Tensor, step: Tensor) -> tuple[Tensor, float]:
    here = float((flat_output(edge, x).double() - z).square().sum())
    for halvings in range(8):
        tried = x + step / 2**halvings
        error = float((flat_output(edge, tried).double() - z).square().sum())
        if error < here:
            return tried, error
    return x, here


def _left_inverse(J: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(J.T @ J)
    if not float(values[0]) > RANK**2 * float(values[-1]):
        raise NotMeasurableError("the edge half drops a direction of the input: no unbiased attacker exists")
    inverse: Tensor = torch.linalg.solve(J.T @ J, J.T)
    return inverse
