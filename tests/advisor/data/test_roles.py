"""No sample plays two roles, duplicates included; each keeps its role whatever the others are."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.data.roles import ORDER, SHARES, SHARES_TRAINED, Role, Roles, drawn, hashes, joined, named, shares, sides
from advisor.data.samples import Samples
from advisor.errors import DataError


def samples(values: torch.Tensor) -> Samples:
    return Samples(values, torch.arange(len(values)) % 3, "made", "").of(values, torch.arange(len(values)) % 3)


def disjoint(roles: Roles) -> bool:
    sets = [set(hashes(part)) for part in roles.samples.values()]
    return not any(a & b for a, b in combinations(sets, 2))


def of_values(roles: Roles) -> dict[float, Role]:
    return {float(v): role for role, part in roles.samples.items() for v in part.x.flatten()}


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-40, 40), min_size=120, max_size=200).filter(lambda v: len(set(v)) >= 8),
    seed=st.integers(-(2**63), 2**63),
    trained=st.booleans(),
)
def test_no_sample_plays_two_roles_duplicates_included(values: list[int], seed: int, trained: bool) -> None:
    found = samples(torch.tensor(values, dtype=torch.float32)[:, None])
    roles = drawn(found, seed, SHARES_TRAINED if trained else SHARES)
    assert disjoint(roles)
    assert sum(len(part) for part in roles.samples.values()) == len(values)  # nothing is lost
    by_value = of_values(roles)
    assert all(by_value[float(v)] == role for role, part in roles.samples.items() for v in part.x.flatten())


@settings(max_examples=40, deadline=None)
@given(
    pools=st.lists(st.lists(st.integers(0, 30), min_size=8, max_size=25), min_size=5, max_size=5),
)
def test_of_several_sources_an_earlier_role_keeps_what_both_hold(pools: list[list[int]]) -> None:
    sources = {role: samples(torch.tensor(pool)[:, None]) for role, pool in zip(ORDER, pools, strict=True)}
    try:
        roles = named(sources)
    except DataError as error:
        if "play an earlier role too" not in str(error):
            raise
        return
    assert disjoint(roles)
    earlier: set[int] = set()
    for role, pool in zip(ORDER, pools, strict=True):
        assert roles[role].x.flatten().tolist() == [v for v in pool if v not in earlier]
        earlier |= set(pool)


@pytest.mark.parametrize("wanted", [SHARES, SHARES_TRAINED])
def test_shares_are_as_wanted(wanted: dict[Role, float]) -> None:
    assert sum(wanted.values()) == pytest.approx(1)
    roles = drawn(samples(torch.arange(4000.0)[:, None]), 3, wanted)
    for role, share in wanted.items():
        spread = (share * (1 - share) / 4000) ** 0.5
        assert len(roles[role]) / 4000 == pytest.approx(share, abs=4 * spread)


def test_a_sample_keeps_its_role_whatever_the_others_and_their_order() -> None:
    values = torch.arange(300.0)[:, None]
    whole = of_values(drawn(samples(values)))
    shuffled = of_values(drawn(samples(values[torch.randperm(300, generator=torch.Generator().manual_seed(0))])))
    part = of_values(drawn(samples(values[:150])))
    assert shuffled == whole
    assert part == {v: role for v, role in whole.items() if v < 150}
    assert of_values(drawn(samples(values), seed=1)) != whole


@pytest.mark.parametrize("wanted", [SHARES, SHARES_TRAINED])
@pytest.mark.parametrize("count", [8, 9, 11, 16])
def test_few_samples_are_divided_by_rank_so_that_each_role_has_two(count: int, wanted: dict[Role, float]) -> None:
    values = torch.arange(float(count))[:, None]
    for seed in range(20):
        roles = drawn(samples(values), seed, wanted)
        assert disjoint(roles)
        assert min(len(part) for part in roles.samples.values()) >= 2
        assert of_values(drawn(samples(values.flip(0)), seed, wanted)) == of_values(roles)


def test_the_sides_of_one_attack_are_the_private_samples_of_a_recommendation() -> None:
    values = torch.rand(300, 4, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    learn, private = sides((values,), 5)
    assert sorted([*learn.tolist(), *private.tolist()]) == list(range(600))
    assert torch.equal(values[private], drawn(samples(values), 5)["private"].x)
    assert [i + 300 for i in private.tolist() if i < 300] == [i for i in private.tolist() if i >= 300]  # duplicates
    assert not torch.equal(sides((values,), 6)[1], private)
    assert [len(side) for side in sides((values[:2],))] == [1, 1]
    with pytest.raises(DataError, match=r"All 9 samples are equal; attacker and private need 2"):
        sides((torch.zeros(9, 3),))
    with pytest.raises(DataError, match=r"only 1 different sample\(s\); attacker and private need 2"):
        sides((torch.zeros(1, 3),))


def test_with_samples_of_its_own_the_attackers_share_is_the_test_part() -> None:
    values = samples(torch.arange(400.0)[:, None])
    alone, apart = drawn(values), drawn(values, 0, shares(False, ["attacker"]))
    assert set(apart.samples) == {"validation", "private", "test"}
    for role, same in (("validation", "validation"), ("private", "private"), ("test", "attacker")):
        assert torch.equal(apart[role].x, alone[same].x)  # type: ignore[index]
    assert shares(True) == SHARES_TRAINED
    assert shares(True, ["training"]) == shares(False) == SHARES
    assert set(shares(True, ["attacker"])) == {"training", "validation", "test", "private"}


def test_labels_go_with_their_samples_and_play_no_part() -> None:
    found = samples(torch.arange(100.0)[:, None])
    assert found.y is not None
    roles = drawn(found)
    for part in roles.samples.values():
        assert part.y is not None
        assert torch.equal(part.y, part.x[:, 0].long() % 3)
    other = of_values(drawn(found.of(found.x, 2 - found.y)))
    assert other == of_values(roles)


def test_equal_samples_are_told_by_value_not_by_memory() -> None:
    x = torch.rand(10, 3, 4)
    assert hashes(samples(x)) == hashes(samples(x.transpose(1, 2).contiguous().transpose(1, 2)))
    assert hashes(samples(torch.zeros(2, 1))) == hashes(samples(-torch.zeros(2, 1)))
    assert hashes(samples(x)) != hashes(samples(x.double()))
    pair = Samples((x, torch.arange(10)), None, "", "")
    assert len(set(hashes(pair))) == 10
    for dtype in (torch.bfloat16, torch.float16, torch.bool, torch.uint8):
        assert len(hashes(samples((x > 0.5).to(dtype)))) == 10


def test_sources_of_their_own_replace_roles() -> None:
    first = drawn(samples(torch.arange(200.0)[:, None]))
    private = first["private"].x
    own = torch.cat([torch.arange(1000.0, 1010.0)[:, None], private[:3]])
    roles = joined(first, {"attacker": samples(own), "training": None})
    assert disjoint(roles)
    assert len(roles["attacker"]) == 13  # the attacker's role comes first
    assert len(roles["private"]) == len(private) - 3
    assert roles.notes == ("3 private samples play an earlier role too, and were left out.",)


def test_too_few_samples_are_said() -> None:
    with pytest.raises(DataError, match=r"All 50 samples are equal; validation, attacker and private need 6"):
        drawn(samples(torch.zeros(50, 1)))
    with pytest.raises(DataError, match=r"only 7 different sample\(s\); training, .* and private need 8, 2 each"):
        drawn(samples(torch.arange(7.0)[:, None]), 0, SHARES_TRAINED)
    same = samples(torch.arange(5.0)[:, None])
    with pytest.raises(DataError, match="All but 0 of the private samples play an earlier role too"):
        named({"attacker": same, "private": same})
    with pytest.raises(DataError, match="no samples for the role test"):
        named({"private": same})["test"]


def test_repeats_are_said_and_roles_recorded() -> None:
    roles = drawn(samples(torch.arange(60.0).repeat(2)[:, None]))
    assert roles.notes == ("60 of 120 samples repeat another; equal samples share a role.",)
    recorded = json.loads(json.dumps(roles.to_json()))
    assert set(recorded) == set(SHARES)
    assert sum(row["samples"] for row in recorded.values()) == 120
    assert len({row["fingerprint"] for row in recorded.values()}) == 3
    assert "test" not in roles
