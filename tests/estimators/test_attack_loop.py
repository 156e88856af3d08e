"""The loop that attacks share: the same answer after a kill, the end of the plan where the curve is flat."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from advisor.errors import AdvisorError, NotMeasurableError
from advisor.estimators.attacks.support.loop import GAIN, LONGEST, LOOKS, PATIENCE, TAIL, Loop, flat
from advisor.estimators.attacks.support.matching import Descent, descend
from advisor.progress import Progress, silence
from advisor.testing.made_up_views import normal

GOAL = normal(5, 4, seed=2).float()


def falling(at: float) -> Tensor:
    return torch.tensor(0.9**at)


def settling(floor: float, pace: float = 0.2) -> Callable[[float], Tensor]:
    return lambda at: torch.tensor(floor + math.exp(-pace * at))


def test_a_curve_that_falls_is_followed_to_the_last_planned_step() -> None:
    seen: list[float] = []
    loop = Loop(96, [])
    loop.run(lambda at: seen.append(at) or falling(at))  # type: ignore[func-returns-value]
    assert seen == list(range(96))
    assert (loop.taken, loop.turn, loop.end, loop.every) == (96, None, 96, 6)
    assert len(loop.curve) == LOOKS


def test_a_flat_curve_is_seen_soon_and_the_rest_of_the_plan_is_still_gone_through() -> None:
    seen: list[float] = []
    loop = Loop(3000, [])
    loop.run(lambda at: seen.append(at) or settling(1.0)(at))  # type: ignore[func-returns-value]
    assert loop.every == LONGEST
    assert loop.turn is not None
    assert 2 * PATIENCE * LONGEST <= loop.turn <= (2 * PATIENCE + 2) * LONGEST
    assert loop.taken == loop.end == loop.turn + math.ceil(TAIL * loop.turn)
    assert seen[: loop.turn + 1] == list(range(loop.turn + 1))
    paces = torch.tensor(seen[loop.turn :], dtype=torch.float64).diff()
    assert float(paces.max() - paces.min()) < 1e-6
    assert seen[-1] + float(paces[0]) == pytest.approx(3000)
    assert float(paces[0]) > 1


def test_the_rest_of_a_plan_is_never_slowed_down() -> None:
    seen: list[float] = []
    loop = Loop(48, [])
    loop.run(lambda at: seen.append(at) or torch.tensor(1.0 if at < 20 else 2.0))  # type: ignore[func-returns-value]
    assert loop.taken <= 48
    assert float(torch.tensor(seen).diff().min()) >= 1


@pytest.mark.parametrize(
    ("curve", "is_flat"),
    [
        ([1.0] * (2 * PATIENCE - 1), False),
        ([1.0] * 2 * PATIENCE, True),
        ([1.0] * PATIENCE + [0.9 * GAIN] * PATIENCE, False),
        ([1.0] * PATIENCE + [1.1] * PATIENCE, True),
        ([5.0] * PATIENCE + [1.0] * PATIENCE + [0.9999] * PATIENCE, True),
    ],
)
def test_what_is_flat(curve: list[float], is_flat: bool) -> None:
    assert flat(curve) is is_flat


def test_each_row_counts_by_its_own_measure() -> None:
    """A row that has come to rest at a large error does not hide another that still falls by a tenth a step."""
    loop = Loop(160, [])
    loop.run(lambda at: torch.tensor([1e3, 0.9**at]))
    assert loop.turn is None
    assert loop.curve[0] == pytest.approx(sum((1e3 * 0.9**k) ** 0.5 for k in range(10)) / 10, rel=1e-5)
    rested = Loop(160, [])
    rested.run(lambda at: torch.tensor([1e3, 1.0]))
    assert rested.turn is not None


def test_an_error_of_ones_own_is_the_curve_and_ends_it_where_it_is_enough() -> None:
    loop, errors = Loop(160, []), iter([3.0, 2.0, 0.5, 0.4])
    loop.run(lambda at: torch.tensor(1.0), lambda: next(errors), enough=0.5)
    assert loop.curve == [3.0, 2.0, 0.5]
    assert loop.taken == loop.end == loop.best == 30
    rising, errors = Loop(25, []), iter([3.0, 1.0, *([2.0] * 23)])
    rising.run(falling, lambda: next(errors))
    assert rising.best == 2


def test_another_pace_is_kept_whatever_the_curve() -> None:
    first, seen = Loop(800, []), list[float]()
    first.run(lambda at: torch.tensor(1.0))
    again = Loop(800, [], pace=(first.turn, first.end - 7))
    again.run(lambda at: seen.append(at) or falling(at))  # type: ignore[func-returns-value]
    assert again.taken == first.end - 7
    whole = Loop(800, [], pace=(first.turn, first.end))
    paced: list[float] = []
    whole.run(lambda at: paced.append(at) or falling(at))  # type: ignore[func-returns-value]
    assert paced[:-7] == seen
    early = Loop(800, [], pace=(first.turn, 11))
    early.run(falling)
    assert (early.taken, early.at) == (11, 11)


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_a_curve_that_is_not_finite_is_a_failure_and_never_private(worst: float) -> None:
    with pytest.raises(NotMeasurableError, match="diverged: this says nothing about privacy"):
        Loop(40, []).run(lambda at: torch.tensor([1.0, worst if at > 20 else 1.0]))


def noisy_descent(file: Path | None, tick: Progress = silence) -> tuple[Loop, Tensor]:
    """Adam on what is drawn from torch's own generator and from another."""
    torch.manual_seed(0)
    x, draw = torch.zeros_like(GOAL).requires_grad_(), torch.Generator().manual_seed(4)
    optimiser = torch.optim.Adam([x], 0.1)
    loop = Loop(1000, [x], [optimiser], [draw], file=file, tick=tick)

    def step(at: float) -> Tensor:
        spread = torch.rand(()) + torch.rand((), generator=draw)
        loss = (x - GOAL + spread * torch.randn_like(x)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - at / 1000)
        optimiser.step()
        return loss

    loop.run(step)
    return loop, x.detach()


class Killed:
    """Ends the process, as it were, at the first tick past a share of the whole."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self, share: float) -> None:
        if share > self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kills", [[0.0], [0.1], [0.1, 0.4, 0.7], [0.8], [0.99]])
def test_a_killed_loop_goes_on_as_if_nothing_had_been(kills: list[float], tmp_path: Path) -> None:
    whole, exact = noisy_descent(None)
    assert whole.turn is not None
    file, told = tmp_path / "loop.pt", list[float]()
    for kill in kills:
        with pytest.raises(KeyboardInterrupt):
            noisy_descent(file, Killed(kill))
    again, found = noisy_descent(file, told.append)
    assert torch.equal(found, exact)
    assert (again.curve, again.turn, again.taken) == (whole.curve, whole.turn, whole.taken)
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) <= whole.taken - (kills[-1] * whole.turn // LONGEST - 1) * LONGEST


def test_a_loop_that_has_ended_is_not_gone_through_again(tmp_path: Path) -> None:
    _, exact = noisy_descent(tmp_path / "loop.pt")
    state = torch.get_rng_state()
    told: list[float] = []
    _, found = noisy_descent(tmp_path / "loop.pt", told.append)
    assert told == []
    assert torch.equal(found, exact)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_of_another_loop_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loop.pt"
    noisy_descent(file)
    for steps, tensor in ((999, torch.zeros(5, 4)), (1000, torch.zeros(5, 3))):
        with pytest.raises(AdvisorError, match=r"loop.pt is not of this attack.*Name another folder, or remove it"):
            Loop(steps, [tensor], file=file)
    file.write_bytes(b"spoilt")
    with pytest.raises(AdvisorError, match=r"loop.pt is not of this attack"):
        noisy_descent(file)


def test_descent_reaches_least_squares_and_refuses_to_end_above_its_start() -> None:
    A, b = normal(6, 3, seed=5).float(), normal(4, 6, seed=6).float()
    exact = torch.linalg.lstsq(A, b.T).solution.T
    x = torch.zeros(4, 3).requires_grad_()
    loop = descend([x], lambda: (x @ A.T - b).square().sum(1), Descent(2000, 0.1))
    assert torch.allclose(x.detach(), exact, atol=1e-4)
    assert loop.turn is not None
    wild = torch.full((4, 3), 1e-3).requires_grad_()
    with pytest.raises(NotMeasurableError, match="ended above its start"):
        descend([wild], lambda: wild.square().sum(1), Descent(20, 50.0))
