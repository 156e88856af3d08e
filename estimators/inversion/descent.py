"""The state of one training: its best network so far, and all that a killed run needs to go on as if nothing was."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advisor.estimators.inversion.optimiser import OneCycle, Plateau
from advisor.support.checkpoint import Checkpoint

GAIN = 0.998
"""An error above this share of the best is no improvement."""


class Batches:
    """Positions, shuffled anew each epoch by torch's current seed, without end.

    Args:
        count: of samples.
        size: of a batch.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.left: list[Tensor] = []

    def next(self) -> Tensor:
        """The next batch of positions."""
        if not self.left:
            self.left = list(torch.split(torch.randperm(self.count), self.size))
        return self.left.pop(0)


class Descent:
    """Keeps the best state of a network, and saves and restores the whole training where a file is given.

    Args:
        network: what is trained; its current state is the first best, of error 1.
        cycle: its optimiser.
        batches: the order of samples.
        file: where the state is kept; one that is there is gone on from.
        patience: checks without gain after which the curve is flat.
        gain: share of the best error by which one must be less to count while a `Plateau` holds its rate.

    Attributes:
        best: least error so far.
        worse: checks since the last gain.
        held: error at the last gain.
        turned: whether a plateau's fall began because the curve was flat.

    Raises:
        AdvisorError: when the file is of another training.
    """

    def __init__(
        self, network: nn.Module, cycle: OneCycle, batches: Batches, file: Path | None, patience: int = 10**9,
        gain: float | None = None,
    ) -> None:  # fmt: skip
        self.network, self.cycle, self.batches = network, cycle, batches
        self.patience, self.gain = patience, gain
        weights = (p.numel() for p in network.parameters())
        self.checkpoint = Checkpoint(file, [cycle.steps, batches.count, batches.size, *weights])
        self.best, self.worse, self.held, self.turned = 1.0, 0, 1.0, False
        self.state = copy.deepcopy(network.state_dict())
        if (kept := self.checkpoint.load()) is not None:
            self._resume(kept)

    def checked(self, error: float) -> None:
        """Record the error of the current state on samples held back."""
        holding = isinstance(self.cycle, Plateau) and not self.cycle.falling
        needed = (1 - self.gain) * self.held if holding and self.gain is not None else GAIN * self.best
        self.worse = 0 if error < needed else self.worse + 1
        self.held = self.held if self.worse else error
        if error < self.best:
            self.best, self.state = error, copy.deepcopy(self.network.state_dict())
        if isinstance(self.cycle, Plateau) and holding and self.cycle.risen and self.worse >= self.patience:
            self._turn()
        self.checkpoint.save(self._snapshot())

    @property
    def flat(self) -> bool:
        """Whether training may end: no gain for long, and no fall of the rate to come."""
        over = not isinstance(self.cycle, Plateau) or self.cycle.falling
        return over and self.worse >= self.patience

    def _turn(self) -> None:
        assert isinstance(self.cycle, Plateau)
        self.cycle.fall()
        self.worse, self.turned = 0, True

    def _snapshot(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "best_network": self.state,
            "best": self.best,
            "worse": self.worse,
            "held": self.held,
            "turn": self.cycle.turn if self.turned and isinstance(self.cycle, Plateau) else None,
            "taken": self.cycle.taken,
            "optimisers": [o.state_dict() for o in self.cycle.optimisers],
            "left": self.batches.left,
        }

    def _resume(self, kept: dict[str, Any]) -> None:
        self.network.load_state_dict(kept["network"])
        self.state, self.best, self.worse = kept["best_network"], kept["best"], kept["worse"]
        self.held, self.turned = kept["held"], kept["turn"] is not None
        if isinstance(self.cycle, Plateau) and kept["turn"] is not None:
            self.cycle.turn_at(kept["turn"])
        self.cycle.taken, self.batches.left = kept["taken"], kept["left"]
        for optimiser, state in zip(self.cycle.optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
