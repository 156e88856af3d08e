"""What every payload defense must do, for any activation."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from advisor import wire
from advisor.cuts import Cut, TensorSpec
from advisor.defenses import CutFacts, Defense, defense_to_json, parse_defense
from advisor.defenses.payload.base import STAGES
from advisor.payload import Payload
from advisor.testing.small_models import digits, trained
from advisor.tracing.tracer import trace

SHAPES = ((5, 7), (5, 3, 4, 4), (1, 2, 6), (4,))
SEED = 7


def made_up(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An activation of standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def seeded() -> torch.Generator:
    """The same generator each time."""
    return torch.Generator().manual_seed(SEED)


class DefenseContract:
    """Inherit it and give the defense as the fixture `member`."""

    @pytest.fixture
    def member(self) -> Defense:
        """The defense under test."""
        raise NotImplementedError("give the defense as a fixture")

    def activation(self, z: Tensor) -> tuple[Tensor, ...]:
        """What the defense takes: one tensor; override it where it takes several."""
        return (z,)

    def payload(self, member: Defense) -> Payload:
        """It in a small net; override it where its payload is of another kind."""
        x, _ = digits(2)
        return Payload.of(trace(trained(), x), "conv1", member)

    @pytest.fixture(params=SHAPES, ids=str)
    def z(self, request: pytest.FixtureRequest) -> Tensor:
        """An activation `[N, ...]`."""
        return made_up(*request.param)

    def test_the_cloud_gets_the_shape_that_left(self, member: Defense, z: Tensor) -> None:
        """And the dtype that its half takes."""
        for dtype in (torch.float32, torch.float16):
            for received in member.transmit(self.activation(z.to(dtype)), seeded()):
                assert received.shape == z.shape
                assert received.dtype == dtype

    def test_rows_stay_apart(self, member: Defense, z: Tensor) -> None:
        """What is sent of a sample does not depend on which others are in its batch."""
        together, alone = (member.transmit(self.activation(rows), seeded())[0][:1] for rows in (z, z[:1]))
        assert together.shape == alone.shape
        assert member.random or torch.equal(together, alone)

    def test_the_activation_is_not_written_to(self, member: Defense, z: Tensor) -> None:
        """It stays the edge half's own."""
        given = self.activation(z)
        before = [t.clone() for t in given]
        member.transmit(given, seeded())
        assert all(map(torch.equal, given, before))

    def test_wire_bytes_are_those_of_what_is_sent(self, member: Defense, z: Tensor) -> None:
        """In every dtype."""
        for dtype in (torch.float32, torch.float16):
            given, spec = (
                self.activation(z.to(dtype)),
                TensorSpec(tuple(z.shape[1:]), str(dtype).removeprefix("torch.")),
            )
            cut = Cut(1, "here", (spec,) * len(given))
            sent = sum(t.numel() * t.element_size() for t in member.message(given, seeded()))
            assert member.wire_bytes(cut) * len(z) == sent
            assert member.message_bytes(cut) == len(wire.pack(member.message([t[:1] for t in given], seeded())))

    def test_as_many_tensors_are_sent_as_it_has_roles_for(self, member: Defense, z: Tensor) -> None:
        """Exports name them by their roles."""
        assert len(member.message(self.activation(z), seeded())) == len(member.wire_roles)

    def test_same_seed_same_message_and_fresh_otherwise(self, member: Defense) -> None:
        """Randomness comes from the generator, and what is random says so."""
        given = self.activation(made_up(5, 3, 4, 4))
        first, second = (member.message(given, seeded()) for _ in range(2))
        assert all(map(torch.equal, first, second))
        other = member.message(given, torch.Generator().manual_seed(SEED + 1))
        assert member.random != all(map(torch.equal, first, other))

    def test_a_generator_leaves_torch_s_own_alone(self, member: Defense, z: Tensor) -> None:
        """Same seed, same answer, whatever else draws."""
        before = torch.get_rng_state()
        member.transmit(self.activation(z), seeded())
        assert torch.equal(torch.get_rng_state(), before)

    def test_masks_and_integers_pass(self, member: Defense) -> None:
        """Nothing lies between their values."""
        mask, ids = torch.tensor([[True, False]]), torch.tensor([[3, 4]])
        received = member.transmit((*self.activation(made_up(1, 4)), mask, ids), seeded())
        assert received[-2] is mask
        assert received[-1] is ids

    def test_the_wire_step_is_positive(self, member: Defense, z: Tensor) -> None:
        """It is the least noise that any message carries."""
        assert z.shape[1:] == () or 0 < member.wire_step(z) < math.inf

    def test_what_the_search_chooses_makes_a_member(self, member: Defense) -> None:
        """At a cut whose Fisher information is known."""
        facts = CutFacts(Cut(1, "here", (TensorSpec((4,), "float32"),)), fisher=2.0)
        middle = {name: getattr(span, "low", None) or span.options[0] for name, span in type(member).space.items()}  # type: ignore[union-attr]
        for values in (middle, *type(member).initial_trials(facts)):
            made = type(member).at(facts, **values)
            assert isinstance(made, type(member))

    def test_it_says_what_the_rest_must_know(self, member: Defense) -> None:
        """Its stage, what breaks it, whether it exports."""
        assert member.stage in STAGES
        assert member.broken_by
        assert isinstance(member.exportable, bool)
        assert member.noise >= 0
        assert member.guaranteed_variance >= 0

    def test_it_survives_text_and_data(self, member: Defense) -> None:
        """Its data are plain JSON; its text makes it again."""
        row = json.loads(json.dumps(defense_to_json(member)))
        assert type(member).of_parameters(row["parameters"]) == member
        assert hash(member) == hash(type(member).of_parameters(row["parameters"]))
        if member.name in _names():
            assert parse_defense(member.spec) == member

    def test_a_split_with_it_runs(self, member: Defense) -> None:
        """Edge and cloud of a small net, the defense between."""
        x, _ = digits(3)
        edge, cloud = self.payload(member).halves()
        assert cloud(edge(x)).shape == (3, 10)


def _names() -> set[str]:
    from advisor.defenses import DEFENSES

    return set(DEFENSES)
