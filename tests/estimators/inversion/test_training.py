from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advisor.errors import NotMeasurableError
from advisor.estimators.inversion.training import Budget, Trained, recover, train, train_all
from advisor.testing.made_up_views import normal

BUDGET = Budget(width=8, depth=1, steps=40, epochs=40, batch=16, rate=0.05, checks=8, patience=4, settled=0.0)
FIT, CHECK = torch.arange(60), torch.arange(60, 100)


class Toy:
    """Predicts `share` of the goal by its linear part; its network is a plain layer that starts at zero."""

    def __init__(self, goal: Tensor, features: Tensor, linear: Tensor | None = None) -> None:
        self.goal, self.features = goal, features
        self.linear = torch.zeros_like(goal) if linear is None else linear
        self.network: nn.Module = nn.Linear(features.shape[1], goal.shape[1])
        nn.init.zeros_(self.network.weight)
        nn.init.zeros_(self.network.bias)
        self.solved: list[Tensor] = []

    def solve(self, fit: Tensor, check: Tensor) -> None:
        self.solved.append(fit)

    def solve_again(self, train: Tensor) -> None:
        self.solved.append(train)

    def left(self, index: Tensor) -> tuple[Tensor, float]:
        return self.goal[index] - self.linear[index], 0.0

    def picture(self, index: Tensor, correction: Tensor | None = None) -> Tensor:
        return self.linear[index] if correction is None else self.linear[index] + correction


def made(*toys: Toy) -> list[Callable[[], Toy]]:
    return [lambda toy=toy: toy for toy in toys]  # type: ignore[misc]


def held_out(decoder: Toy, found: Tensor) -> float:
    return float((found - decoder.goal[CHECK]).square().sum() / decoder.goal[CHECK].square().sum())


def test_a_learnable_rest_is_learnt_and_said() -> None:
    z = normal(100, 4).float()
    toy = Toy(100 * z @ normal(4, 3, seed=1).float(), z)
    trained = train(toy, FIT, CHECK, replace(BUDGET, steps=200, rate=0.1))
    assert trained.nmse < 0.05
    assert trained.nmse == pytest.approx(held_out(toy, trained.recover(CHECK)), rel=1e-4)


def test_noise_leaves_the_start() -> None:
    toy = Toy(normal(100, 3).float(), normal(100, 20, seed=1).float())
    trained = train(toy, FIT, CHECK, replace(BUDGET, steps=200, batch=8))
    assert 0.97 < trained.nmse <= 1
    assert trained.nmse == pytest.approx(held_out(toy, trained.recover(CHECK)), rel=1e-4)


def test_training_stops_when_the_question_is_settled_or_patience_ends() -> None:
    z = normal(100, 4).float()
    goal = z @ normal(4, 3, seed=1).float()

    def ticks(toy: Toy, budget: Budget) -> list[float]:
        seen: list[float] = []
        train(toy, FIT, CHECK, budget, seen.append)
        return seen

    assert ticks(Toy(goal, z, 0.9 * goal), replace(BUDGET, settled=0.02)) == []
    assert len(ticks(Toy(goal, z), replace(BUDGET, settled=0.9, steps=200, rate=0.1))) < 8
    assert len(ticks(Toy(goal, torch.zeros_like(z)), BUDGET)) <= 8
    assert ticks(Toy(goal, z), BUDGET)[-1] == 1.0
    hopeless = Toy(normal(100, 3, seed=5).float(), normal(100, 60, seed=6).float())
    assert len(ticks(hopeless, replace(BUDGET, rate=0.5, steps=80))) < 8


def test_nothing_left_to_learn_needs_no_training() -> None:
    z = normal(100, 4).float()
    trained = train(Toy(z, z, z), FIT, CHECK, BUDGET)
    assert (trained.nmse, trained.scale) == (0.0, 0.0)


def test_training_that_diverges_is_an_error_and_never_private() -> None:
    z = normal(100, 4).float()
    with pytest.raises(NotMeasurableError, match="diverged: this says nothing about privacy"):
        train(Toy(z, z), FIT, CHECK, replace(BUDGET, rate=1e30))


def test_blend_shares_are_those_of_least_squares() -> None:
    """Two decoders that nothing is left to learn for: the best mix of their errors has a closed form."""
    goal = normal(100, 6).float()
    one, two = (goal + s * normal(100, 6, seed=k).float() for k, s in ((1, 0.5), (2, 0.8)))
    nothing = torch.zeros(100, 1)
    blend = train_all(
        made(Toy(goal, nothing, one), Toy(goal, nothing, two)), goal, FIT, CHECK, replace(BUDGET, rate=1e-9)
    )
    apart, wanted = (two - one)[CHECK], (goal - one)[CHECK]
    share = float((apart * wanted).sum() / apart.square().sum())
    assert [b.share for b in blend] == pytest.approx([1 - share, share], rel=1e-3)
    assert 0.1 < share < 0.4
    mixed = held_out(Toy(goal, nothing), recover(blend, CHECK))
    assert mixed < min(b.nmse for b in blend)


def test_a_settled_question_needs_no_second_decoder() -> None:
    z = normal(100, 4).float()
    second = Toy(z, z)
    blend = train_all(made(Toy(z, z, 0.9 * z), second), z, FIT, CHECK, replace(BUDGET, settled=0.05))
    assert len(blend) == 1
    assert second.solved == []


def test_a_useless_second_decoder_gets_no_share() -> None:
    goal, nothing = normal(100, 4).float(), torch.zeros(100, 1)
    blend = train_all(
        made(Toy(goal, nothing, 0.9 * goal), Toy(goal, nothing, -goal)), goal, FIT, CHECK, replace(BUDGET, rate=1e-9)
    )
    assert [b.share for b in blend] == pytest.approx([1, 0], abs=0.06)
    assert math.isclose(sum(b.share for b in blend), 1)


HOLD = Budget(
    width=8, depth=1, steps=2000, epochs=10**6, batch=16, rate=0.02, checks=40, patience=2, settled=0.0, flat=0.01
)


def noisy_goal() -> tuple[Tensor, Tensor]:
    z = normal(100, 4).float()
    return z @ normal(4, 3, seed=1).float() + 0.5 * normal(100, 3, seed=2).float(), z


def test_training_ends_soon_after_the_curve_is_flat_and_says_so() -> None:
    """Least squares on noise: flat once the line is found, at what least squares itself leaves."""
    torch.manual_seed(0)  # of the order of batches
    goal, z = noisy_goal()
    trained = train(Toy(goal, z), FIT, CHECK, HOLD)
    assert trained.stopped == "when its error fell no more"
    assert 180 * 1.6 <= trained.steps < 1000
    exact = torch.linalg.lstsq(torch.cat([z[FIT], torch.ones(60, 1)], 1), goal[FIT]).solution
    left = goal[CHECK] - torch.cat([z[CHECK], torch.ones(40, 1)], 1) @ exact
    assert trained.nmse == pytest.approx(float(left.square().sum() / goal[CHECK].square().sum()), rel=0.05)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (replace(HOLD, settled=0.5), "when its error was small enough"),
        (replace(HOLD, settled=0.999999), "when its error was small enough"),
        (replace(HOLD, steps=120, patience=99), "after the most steps it may take"),
        (replace(HOLD, flat=None, steps=120, patience=99), "after the most steps it may take"),
    ],
)
def test_each_reason_to_stop_is_said(budget: Budget, reason: str) -> None:
    goal, z = noisy_goal()
    assert train(Toy(goal, z), FIT, CHECK, budget).stopped == reason
    assert train(Toy(goal, z, goal), FIT, CHECK, budget).stopped == "before it began, as its linear part was exact"


@pytest.mark.slow
@pytest.mark.parametrize("kill", [1, 4, 7])
def test_a_killed_training_goes_on_through_its_fall(kill: int, tmp_path: Path) -> None:
    goal, z = noisy_goal()

    def run(file: Path | None, stop: int | None = None) -> Trained:
        torch.manual_seed(0)
        ticks = [0]

        def tick(share: float) -> None:
            ticks[0] += 1
            if ticks[0] == stop:
                raise KeyboardInterrupt

        return train(Toy(goal, z), FIT, CHECK, HOLD, tick, file)

    whole = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "state.pt", kill)
    again = run(tmp_path / "state.pt")
    assert (again.nmse, again.steps, again.stopped) == (whole.nmse, whole.steps, whole.stopped)
    assert torch.equal(again.recover(CHECK), whole.recover(CHECK))


class ToyMap(Toy):
    """A toy whose goal is a map."""

    def __init__(self, goal: Tensor, features: Tensor, linear: Tensor | None = None) -> None:
        super().__init__(goal, features, linear)
        self.network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 1))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def trained_map(parts: int) -> Trained:
    z = normal(100, 4, 6, 6).float()
    torch.manual_seed(0)
    return train(ToyMap(z[:, :3].roll(1, -1), z), FIT, CHECK, replace(HOLD, steps=200, batch=17, parts=parts))


@pytest.mark.slow
def test_cores_change_no_bit_of_a_network_learnt_in_parts(threads: Callable[[int], None]) -> None:
    threads(1)
    alone = trained_map(parts=3)
    threads(3)
    together = trained_map(parts=3)
    assert alone.nmse == together.nmse
    assert torch.equal(alone.recover(CHECK), together.recover(CHECK))


def test_where_the_linear_part_settles_it_the_network_is_not_asked() -> None:
    z = normal(100, 4).float()
    trained = replace(train(Toy(z, z, z), FIT, CHECK, BUDGET), network=nn.Linear(1, 1))  # would fail
    assert torch.equal(trained.recover(CHECK), z[CHECK])
