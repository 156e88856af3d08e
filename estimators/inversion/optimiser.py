"""Muon: momentum whose update is orthogonalised (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

On inversion networks it reaches AdamW's error in about half the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from advisor.support.threads import Spread

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
LARGE = 256
"""A kernel that makes a matrix with more rows and more columns is orthogonalised place by place: the iteration takes
the cube of the lesser of the two. So it is where a map of 2×2 cells is read as 32×32 pixels: an attack with 1,000
images took 14.5 s instead of 40.5 there (NMSE 0.280 and 0.276), with 4,000 25 s instead of 51 (0.242 and 0.241)."""

ADAM_RATE = 0.1  # of the matrices' rate, for biases: one rate is then enough to set


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; convolutions are matrices of one row a filter.

    Args:
        parameters: of two or more dimensions.
        lr: learning rate; an update has spectral norm of about `lr`, times √(rows/columns) of a tall matrix.
        momentum: of the gradient's moving sum.
        spread: how the updates of all matrices are gone through.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, spread: Spread = map
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.spread = spread

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients in place."""
        for group in self.param_groups:
            moving = [p for p in group["params"] if p.grad is not None]
            list(self.spread(partial(self._update, rate=group["lr"], momentum=group["momentum"]), moving))

    def _update(self, parameter: Tensor, rate: float, momentum: float) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "sum" not in state:
            state["sum"] = torch.zeros_like(parameter)
        running = state["sum"].mul_(momentum).add_(gradient)
        rows, columns = parameter.flatten(1).shape
        direction = orthogonal_kernel(gradient + momentum * running)
        parameter.add_(direction, alpha=-rate * math.sqrt(max(1.0, rows / columns)))


def orthogonal_kernel(kernel: Tensor) -> Tensor:
    """A layer's `[out, in]` or `[out, in, height, width]` orthogonalised: as one matrix of one row a filter, or, where
    that is `LARGE`, the matrix of each place of the filters by itself.
    """
    if kernel.dim() == 2 or min(kernel.flatten(1).shape) <= LARGE:
        return orthogonalised(kernel.flatten(1)).view_as(kernel)
    places = kernel.permute(2, 3, 0, 1).flatten(0, 1)
    each = torch.stack([orthogonalised(matrix) for matrix in places])
    return each.view(*kernel.shape[2:], *kernel.shape[:2]).permute(2, 3, 0, 1)


def update_products(outputs: int, inputs: int, places: int = 1, steps: int = 5) -> int:
    """Multiply-adds of orthogonalising a layer's kernel."""
    count, columns = (places, inputs) if min(outputs, inputs * places) > LARGE else (1, inputs * places)
    small, large = sorted((outputs, columns))
    return count * (2 * small**2 * large + (4 * steps - 3) * small**3)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix of the same singular vectors with singular values near 1, by quintic Newton–Schulz iteration.

    Zero stays zero. The coefficients trade exactness for speed: values end between about 0.7 and 1.2.

    Args:
        matrix: `[rows, columns]`.
        steps: of the iteration.
    """
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix / (torch.linalg.matrix_norm(matrix) + 1e-12)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    # All iterates are polynomials of the Gram matrix times x: iterate in its smaller space.
    gram, eye = x @ x.T, torch.eye(x.shape[0])
    whole = factor = a * eye + b * gram + c * gram @ gram
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = a * eye + b * gram + c * gram @ gram
        whole = factor @ whole
    x = whole @ x
    return x.T if tall else x


class OneCycle:
    """Muon for matrices and Adam for the rest, with one linear rise and one cosine fall of their rates.

    Args:
        network: what is trained.
        rate: peak learning rate of the matrices.
        steps: in all.
        rise: share of them in which the rate rises.
        spread: how matrices, and parts of a batch, are gone through.
    """

    def __init__(self, network: nn.Module, rate: float, steps: int, rise: float = 0.2, spread: Spread = map) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        matrices = [p for p in self.parameters if p.dim() in (2, 4)]
        others = [p for p in self.parameters if p.dim() not in (2, 4)]
        self.optimisers = [Muon(matrices, rate, spread=spread), torch.optim.Adam(others, ADAM_RATE * rate)]
        self.peaks, self.spread = [rate, ADAM_RATE * rate], spread
        self.steps, self.rise, self.taken = steps, max(1.0, rise * steps), 0

    def step(self, loss: Tensor, at: float | None = None) -> None:
        """Differentiate the loss and update; `at`: how many steps of the cycle are done, where not those taken."""
        self._follow(torch.autograd.grad(loss, self.parameters, allow_unused=True), at)

    def step_in_parts(self, loss_of: Callable[[Tensor], Tensor], batch: Tensor, parts: int) -> None:
        """The step that `loss_of(batch)` asks for, a mean over samples; parts of the batch are differentiated apart."""

        def gradients(part: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                loss = loss_of(part) * (len(part) / len(batch))
            return torch.autograd.grad(loss, self.parameters)

        each = zip(*self.spread(gradients, batch.chunk(parts)), strict=True)
        self._follow([sum(of[1:], of[0]) for of in each])

    def _follow(self, gradients: Sequence[Tensor | None], at: float | None = None) -> None:
        share = self._share(self.taken if at is None else at)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * share
            optimiser.step()
        self.taken += 1

    def _share(self, taken: float) -> float:
        step = taken + 0.5
        if step < self.rise:
            return step / self.rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - self.rise) / (self.steps - self.rise + 1e-9))))


class Plateau(OneCycle):
    """A short rise, a constant rate until the curve is flat, then a linear fall (Hägele et al. 2024, section 3).

    Unlike a cycle whose length is set beforehand it may end early and still end well: the fall is where most of the
    error goes that a high rate leaves.

    Args:
        network: what is trained.
        rate: learning rate of the matrices.
        steps: in all, at most.
        tail: length of the fall, as a share of the steps before it.
        spread: see `OneCycle`.
    """

    RISE = 60

    def __init__(self, network: nn.Module, rate: float, steps: int, tail: float = 0.6, spread: Spread = map) -> None:
        super().__init__(network, rate, steps, spread=spread)
        self.tail = tail
        self.turn = math.ceil(steps / (1 + tail))

    @property
    def risen(self) -> bool:
        """Whether the rate has been up for twice as long as it rose: a curve may look flat before."""
        return self.taken >= 3 * self.RISE

    @property
    def falling(self) -> bool:
        """Whether the rate falls by now."""
        return self.taken >= self.turn

    def fall(self) -> None:
        """Begin the fall now; it ends the training sooner than planned."""
        if not self.falling:
            self.turn_at(self.taken)

    def turn_at(self, step: int) -> None:
        """Begin the fall after this many steps."""
        self.turn = step
        self.steps = min(self.steps, step + max(1, math.ceil(self.tail * step)))

    def _share(self, taken: float) -> float:
        if self.falling:
            return (self.steps - taken - 0.5) / max(1, self.steps - self.turn)
        return min(1.0, (taken + 0.5) / min(self.RISE, max(1, self.turn)))
