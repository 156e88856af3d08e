"""The loop of an attack that takes steps: it shows its progress, outlives a kill, and ends where its curve is flat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from advisor.errors import NotMeasurableError
from advisor.progress import Progress, silence
from advisor.support.checkpoint import Checkpoint

LOOKS, LONGEST = 16, 50
"""Looks at the curve in all, at least; and steps between two of them, at most."""

PATIENCE = 4
GAIN = 0.998
"""The curve is flat where the mean of the last `PATIENCE` looks is above this share of that of as many before them."""

TAIL = 0.4
"""Of the steps taken until then, in which the rest of the plan is gone through."""


class Loop:
    """Steps along a plan, as long as they bring something.

    A plan that lets its rate fall is not cut off where the curve is flat, as a high rate leaves what its fall would
    gain: what is left of it is gone through at a faster pace. What a step needs to know of the plan is `at`.

    Args:
        steps: planned.
        tensors: what the steps change, in place.
        optimisers: theirs.
        draws: random generators that they use beside torch's own.
        file: where the state is kept at each look; one that is there is gone on from.
        tick: called with the fraction done.
        pace: `turn` and `end` of another loop, to go through the plan as that one did; None: by the curve.

    Attributes:
        taken: steps taken.
        turn: how many had been when the curve was flat, or None.
        end: how many will have been.
        curve: the error at each look.

    Raises:
        AdvisorError: when the file is of another loop.
    """

    def __init__(
        self, steps: int, tensors: Sequence[Tensor], optimisers: Sequence[torch.optim.Optimizer] = (),
        draws: Sequence[torch.Generator] = (), *, file: Path | None = None, tick: Progress = silence,
        pace: tuple[int | None, int] | None = None,
    ) -> None:  # fmt: skip
        self.steps, self.tensors, self.optimisers, self.draws = steps, tensors, optimisers, draws
        self.tick, self.paced = tick, pace is not None
        self.turn, self.end = pace or (None, steps)
        self.every = max(1, min(LONGEST, steps // LOOKS))
        self.taken, self.curve = 0, list[float]()
        self.checkpoint = Checkpoint(file, [steps, *(t.numel() for t in tensors)])
        self._resume()

    @property
    def at(self) -> float:
        """How many of the planned steps are done: those taken, until the curve is flat."""
        if self.turn is None or self.taken <= self.turn:
            return self.taken
        left = _tail(self.turn, self.steps) - self.turn
        return self.turn + (self.taken - self.turn) * (self.steps - self.turn) / left

    @property
    def best(self) -> int:
        """How many steps had been taken at the look of least error."""
        return min(self.taken, self.every * (1 + self.curve.index(min(self.curve))))

    def run(
        self, step: Callable[[float], Tensor], error: Callable[[], float] | None = None, enough: float = 0.0
    ) -> None:  # fmt: skip
        """Take the steps that are left.

        Args:
            step: takes one, given `at`, and returns its loss: a number, or one for each row.
            error: what the curve shows; None: the loss, its geometric mean over rows.
            enough: an error at which nothing more is worth gaining.

        Raises:
            NotMeasurableError: when the error is not finite.
        """
        while self.taken < self.end:
            losses = []
            for _ in range(min(self.every, self.end - self.taken)):
                losses.append(_level(step(self.at)))
                self.taken += 1
                self.tick(self.taken / self.end)
            self._look(math.fsum(losses) / len(losses) if error is None else error(), enough)

    def _look(self, error: float, enough: float) -> None:
        if not math.isfinite(error):
            raise NotMeasurableError("the descent diverged: this says nothing about privacy")
        self.curve.append(error)
        if error <= enough:
            self.end = self.taken
        elif not self.paced and self.turn is None and flat(self.curve):
            self.turn, self.end = self.taken, _tail(self.taken, self.steps)
        self._save()

    def _save(self) -> None:
        self.checkpoint.save({
            "tensors": [t.detach() for t in self.tensors],
            "optimisers": [o.state_dict() for o in self.optimisers],
            "draws": [d.get_state() for d in self.draws],
            "taken": self.taken, "turn": self.turn, "end": self.end, "curve": self.curve,
        })  # fmt: skip

    def _resume(self) -> None:
        kept = self.checkpoint.load()
        if kept is None:
            return
        with torch.no_grad():
            for tensor, value in zip(self.tensors, kept["tensors"], strict=True):
                tensor.copy_(value)
        for optimiser, state in zip(self.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        for draw, state in zip(self.draws, kept["draws"], strict=True):
            draw.set_state(state.cpu())
        self.taken, self.turn, self.end, self.curve = kept["taken"], kept["turn"], kept["end"], kept["curve"]


def flat(curve: Sequence[float]) -> bool:
    """Whether the last looks gained next to nothing over those before them."""
    if len(curve) < 2 * PATIENCE:
        return False
    return sum(curve[-PATIENCE:]) > GAIN * sum(curve[-2 * PATIENCE : -PATIENCE])


def _tail(turn: int, steps: int) -> int:
    """The last step of a plan whose rest is gone through at a faster pace; never a slower one."""
    return min(steps, turn + math.ceil(TAIL * turn))


def _level(loss: Tensor) -> float:
    """A loss as one number, in which each row that it is of counts by its own measure."""
    return float(loss.detach().double().clamp_min(1e-12).log().mean().exp())
