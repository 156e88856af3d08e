"""Every trained defense fulfils the contract, and so does one that is made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from advisor.defenses.methods import METHODS
from advisor.defenses.training.base import TrainedDefense
from advisor.testing.method_contract import MethodContract
from tests.advisor.defenses.test_fitting import Projection

ONE_EPOCH: Mapping[str, Any] = {"epochs": 1, "batch": 48}


class TestMadeUp(MethodContract):
    """A bottleneck of principal directions, in one file."""

    @pytest.fixture
    def method(self) -> TrainedDefense:
        return Projection()


class Member(MethodContract):
    recipe: ClassVar[Mapping[str, Any]] = ONE_EPOCH
    name: ClassVar[str]

    @pytest.fixture
    def method(self) -> TrainedDefense:
        return METHODS[self.name]


class TestTuned(Member):
    name = "tuned"


class TestBottleneck(Member):
    name = "bottleneck"


@pytest.mark.slow
class TestTunedBare(Member):
    name = "tuned-bare"


@pytest.mark.slow
class TestRefil(Member):
    name = "refil"


@pytest.mark.slow
class TestInfoScissors(Member):
    name = "infoscissors"


@pytest.mark.slow
class TestAdversarial(Member):
    name = "adversarial"


@pytest.mark.slow
class TestRidge(Member):
    name = "ridge"


@pytest.mark.slow
class TestMid(Member):
    name = "mid"


@pytest.mark.slow
class TestLocalHead(Member):
    name = "local-head"


def test_every_method_is_here() -> None:
    assert {member.name for member in Member.__subclasses__()} == set(METHODS)
